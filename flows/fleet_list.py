"""Reads the list of a fleet's images: ids alone, or with what is to be different for each, from CSV or YAML."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from flows.parameters import Bucket, ImageId
from migration.disk import DiskFormat
from migration.errors import InvalidInput
from migration.target import Target

LARGEST_FILE = 1 << 20  # bytes; a thousand images take a tenth of it
_LISTS = ("formats", "targets")
_IMAGE_ID = re.compile(r"m-[A-Za-z0-9]{3,64}")
_HOW = "one image id a line, or a CSV with a header (image_id,formats,…), or YAML: see docs/fleet.md"


class FleetImage(BaseModel):
    """One image of a fleet. What is None is as for all others; the names are those of the flow's parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_id: ImageId
    bucket: Bucket | None = None
    formats: tuple[DiskFormat, ...] | None = None
    targets: tuple[Target, ...] | None = None
    on_fstab_mismatch: Literal["fail", "warn", "repair"] | None = None
    compress: bool | None = None
    shrink: bool | None = None
    keep_raw: bool | None = None
    boot_test: bool | None = None

    @field_validator(*_LISTS, mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """Take `qcow2 vmdk` for a list, as a cell of a table can hold no other."""
        return value.split() if isinstance(value, str) else value

    @field_validator(*_LISTS)
    @classmethod
    def _not_empty(cls, value: Sequence[Any] | None) -> Sequence[Any] | None:
        if value is not None and not value:
            raise ValueError("names nothing; leave it out to have what all others have")
        return value

    def differences(self) -> dict[str, Any]:
        """Return the parameters that this image has of its own."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self
            if value is not None and name != "image_id"
        }


def read_fleet_file(path: Path) -> tuple[FleetImage, ...]:
    """Return the images that a `.csv`, `.txt`, `.yaml` or `.yml` file lists. Raises `InvalidInput`."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise InvalidInput(f"{path} is larger than a list of images can be", _HOW)
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets write a byte order mark
    except OSError as error:
        raise InvalidInput(
            f"{path}: {error.strerror}", "the file must lie on the worker that runs the fleet"
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not UTF-8", "save it as UTF-8") from error
    return parse_fleet(text, str(path), is_yaml=path.suffix.lower() in {".yaml", ".yml"})


def parse_fleet(text: str, name: str, *, is_yaml: bool) -> tuple[FleetImage, ...]:
    """Return the images that a text lists; `name` is what errors call it. Raises `InvalidInput`."""
    entries = _yaml_entries(text, name) if is_yaml else _csv_entries(text, name)
    return without_repeats((_check(entry, where) for where, entry in entries), name)


def list_of_ids(image_ids: Sequence[str]) -> tuple[FleetImage, ...]:
    """Return images that have nothing of their own."""
    return without_repeats((_check({"image_id": image_id}, "images") for image_id in image_ids), "images")


def without_repeats(images: Iterable[FleetImage], name: str) -> tuple[FleetImage, ...]:
    """Return every image once. Raises `InvalidInput` where there is none, or one is listed in two ways."""
    found: dict[str, FleetImage] = {}
    for image in images:
        if found.setdefault(image.image_id, image) != image:
            raise InvalidInput(f"{name}: {image.image_id} is listed twice, with different settings", "keep one of them")
    if not found:
        raise InvalidInput(f"{name} lists no image", _HOW)
    return tuple(found.values())


def _yaml_entries(text: str, name: str) -> list[tuple[str, dict[str, Any]]]:
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that is none
        mark = getattr(error, "problem_mark", None)
        where = f"{name}:{mark.line + 1}" if mark is not None else name
        raise InvalidInput(
            f"{where}: not YAML: {getattr(error, 'problem', None) or type(error).__name__}", _HOW
        ) from error
    if isinstance(document, dict) and set(document) == {"images"}:
        document = document["images"]
    if not isinstance(document, list):
        raise InvalidInput(f"{name}: not a list of images", _HOW)
    entries = []
    for number, entry in enumerate(document, start=1):
        where = f"{name}, image {number}"
        if isinstance(entry, str):
            entries.append((where, {"image_id": entry}))
        elif isinstance(entry, dict) and all(isinstance(key, str) for key in entry):
            entries.append((where, entry))
        else:
            raise InvalidInput(f"{where}: neither an image id nor settings with one", _HOW)
    return entries


def _csv_entries(text: str, name: str) -> list[tuple[str, dict[str, Any]]]:
    lines = [
        (number, line) for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]  # fmt: skip
    if not lines:
        return []
    delimiter = max(",;\t", key=lines[0][1].count)  # a spreadsheet of some countries writes semicolons
    try:
        rows = list(csv.reader((line for _, line in lines), delimiter=delimiter))
    except csv.Error as error:  # a cell of more than 128 KiB, a NUL
        raise InvalidInput(f"{name}: {error}", _HOW) from error
    if len(rows) != len(lines):
        raise InvalidInput(f"{name}: a quoted cell goes over more than one line", _HOW)
    head = [cell.strip() for cell in rows[0]]
    body = list(zip((number for number, _ in lines), rows, strict=True))
    if len(head) == 1 and _IMAGE_ID.fullmatch(head[0]):
        head = ["image_id"]
    else:
        del body[0]
    if "image_id" not in head or len(set(head)) != len(head):
        raise InvalidInput(f"{name}: its first line names no column image_id, or one twice", _HOW)
    entries = []
    for number, row in body:
        if len(row) > len(head):
            raise InvalidInput(f"{name}:{number}: more cells than the first line has columns", _HOW)
        entries.append(
            (f"{name}:{number}", {key: cell.strip() for key, cell in zip(head, row, strict=False) if cell.strip()})
        )
    return entries


def _check(entry: dict[str, Any], where: str) -> FleetImage:
    try:
        return FleetImage.model_validate(entry)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        )
        raise InvalidInput(f"{where}: {problems}", _HOW) from None
