"""Knows what a folder of definitions holds, and how that is kept in it as JSON."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

from migration.errors import InvalidInput
from private_cloud.platforms import Platform
from private_cloud.virtual_machine import VirtualMachine

VERSION = 1
INDEX = "definitions.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """The machine of one platform, and the names of the files that define it."""

    platform: Platform
    machine: VirtualMachine
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Definitions:
    """All that a folder holds. In the file the paths of the images are relative to that folder."""

    version: int = VERSION
    definitions: tuple[Definition, ...]

    def of(self, platform: Platform) -> VirtualMachine:
        """Return the machine of a platform. Raises `InvalidInput` where it is not defined."""
        for definition in self.definitions:
            if definition.platform is platform:
                return definition.machine
        raise InvalidInput(f"there is no definition for {platform} here", f"ferry define --format {platform}")


def to_json(definitions: Definitions) -> str:
    """Return what `read_definitions` reads."""
    from pydantic import TypeAdapter  # noqa: PLC0415

    return json.dumps(TypeAdapter(Definitions).dump_python(definitions, mode="json"), indent=1) + "\n"


def read_definitions(folder: Path) -> Definitions:
    """Return what `write_definitions` wrote, the images' paths as they are from here. Raises `InvalidInput`."""
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415  # 0.1 s that --help need not pay

    folder = folder.absolute()
    try:
        definitions = TypeAdapter(Definitions).validate_json((folder / INDEX).read_bytes())
    except FileNotFoundError:
        raise InvalidInput(f"{folder}: there are no definitions here", "ferry define makes them") from None
    except (OSError, ValidationError) as error:
        raise InvalidInput(f"{folder / INDEX}: cannot be read", "ferry define makes it anew") from error
    if definitions.version != VERSION:
        raise InvalidInput(
            f"{folder / INDEX}: version {definitions.version}, this Ferry reads version {VERSION}",
            "ferry define makes it anew",
        )
    return replace(
        definitions,
        definitions=tuple(
            replace(found, machine=_relocated(found.machine, folder)) for found in definitions.definitions
        ),
    )


def _relocated(machine: VirtualMachine, folder: Path) -> VirtualMachine:
    def here(path: Path) -> Path:
        return Path(os.path.normpath(folder / path))

    return replace(machine, disks=tuple(replace(disk, path=here(disk.path)) for disk in machine.disks))
