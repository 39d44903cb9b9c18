"""The report as JSON: for programs, and to make the other two forms from it again; docs/report.md describes it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from migration.errors import InvalidInput
from migration.workspace import REPORT_DOCUMENT
from report.report import Report

VERSION = 1  # changes when a reader would have to; what is added does not change it

# One half of a surrogate pair is no character, and no reader of JSON takes it by itself. Whole pairs are one, and so is
# a backslash that stands for itself.
_ESCAPES = re.compile(r"(?P<whole>\\\\|\\ud[89ab]..\\ud[c-f]..)|\\ud[89a-f]..")


def report_document(report: Report) -> dict[str, Any]:
    """Return the report as JSON-able data."""
    document: dict[str, Any] = TypeAdapter(Report).dump_python(report, mode="json")
    return {"version": VERSION, **document}


def render_document(report: Report) -> str:
    """Return the document as text, ASCII only."""
    text = json.dumps(report_document(report), indent=1)
    return _ESCAPES.sub(lambda found: found[0] if found["whole"] else "?", text) + "\n"


def read_report(text: str, name: str) -> Report:
    """Return the report that `text`, the content of the file `name`, holds. Raises `InvalidInput`."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise _unreadable(name, f"not JSON, {error}") from error
    if not isinstance(document, dict) or document.pop("version", None) != VERSION:
        raise _unreadable(name, f"no report of version {VERSION}")
    try:
        return TypeAdapter(Report).validate_json(json.dumps(document))
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise _unreadable(name, f"{place}: {first['msg']}") from error


def find_report(workspace: Path) -> Report:
    """Return the report that the last run left in the folder of a workspace, which stays as it is.

    Raises `InvalidInput`.
    """
    path = workspace.expanduser().absolute() / REPORT_DOCUMENT
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InvalidInput(f"{path} is not there", "a run writes it: `ferry run`, or one of the flows") from error
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(str(path), str(error)) from error
    return read_report(text, str(path))


def _unreadable(name: str, why: str) -> InvalidInput:
    return InvalidInput(f"{name}: the report cannot be read: {why}", "run again: every run writes a new one")
