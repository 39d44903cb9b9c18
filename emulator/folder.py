"""Knows how the emulator's JSON files are read and written: whole or not at all, with typos as errors."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, ValidationError

from migration.errors import InvalidInput


class FolderModel(BaseModel):
    """What all files of the folder have in common: an unknown field is an error, and values do not change."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Model = TypeVar("Model", bound=FolderModel)


def read_model(path: Path, model: type[Model]) -> Model:
    """Return what the JSON file at `path` holds, or raise `InvalidInput` if that is no `model`."""
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise InvalidInput(f"{path} does not exist", "check the name, or add it first") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(f"{path}: {where}: {first['msg']}", "correct the file or delete it") from error


def write_model(path: Path, model: FolderModel) -> None:
    """Write `model` to `path`, making its folder; a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(model.model_dump_json(indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def file_name(name: str) -> str:
    """Return a name that came over the network as one that stays inside its folder, and readable where it is short."""
    quoted = quote(name, safe="")
    if not quoted.strip("."):
        return quoted.replace(".", "%2E")
    if len(quoted) <= 180:  # of 255 bytes that a file's name may have; suffixes follow
        return quoted
    return f"{quoted[:100]}%{hashlib.sha256(name.encode()).hexdigest()}"
