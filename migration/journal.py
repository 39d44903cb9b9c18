"""Remembers what a migration has finished, so that the same command goes on after anything but a lost disk.

One JSON file, replaced whole: a reader sees the state before a step or after it, never between. A
step is recorded after its result is flushed and has its final name.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any, TypeVar

from migration.errors import WorkspaceMismatch
from migration.storage import write_atomically

VERSION = 1

T = TypeVar("T")


class Journal:
    """The steps of one workspace: a mapping from a step's name to its result, on disk. Thread-safe."""

    def __init__(self, path: Path) -> None:
        """Open the journal at `path`, empty if there is none. Raises `WorkspaceMismatch` if unreadable."""
        self.path = path
        self._mutex = threading.Lock()
        self._steps: dict[str, Any] = _read_steps(path)

    def get(self, step: str, kind: type[T]) -> T | None:
        """Return the recorded result of `step` as a `kind` (a dataclass, a dict, a str), or None."""
        from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415  # 0.1 s that --help need not pay

        with self._mutex:
            raw = self._steps.get(step)
        if raw is None:
            return None
        try:
            # Through JSON, as it was written: there a list may become a tuple and a string a Path.
            return TypeAdapter(kind).validate_json(json.dumps(raw))
        except ValidationError as error:
            raise _unreadable(self.path, f"step {step!r}: {error.error_count()} fields are not as expected") from error

    def record(self, step: str, result: object) -> None:
        """Remember `result` (JSON-able, or made of dataclasses) durably before returning."""
        from pydantic import TypeAdapter  # noqa: PLC0415

        raw = TypeAdapter(type(result)).dump_python(result, mode="json")
        with self._mutex:
            self._steps[step] = raw
            self._write()

    def forget(self, step: str) -> None:
        """Drop `step`, because its result turned out to be gone or changed."""
        with self._mutex:
            if self._steps.pop(step, None) is not None:
                self._write()

    def steps(self) -> list[str]:
        """Return the names of all recorded steps."""
        with self._mutex:
            return list(self._steps)

    def _write(self) -> None:
        write_atomically(self.path, json.dumps({"version": VERSION, "steps": self._steps}, indent=1) + "\n")


def _read_steps(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, str(error)) from error
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise _unreadable(path, f"not JSON, {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("steps"), dict):
        raise _unreadable(path, "not a journal")
    if document.get("version") != VERSION:
        raise _unreadable(path, f"version {document.get('version')!r}, this Ferry writes version {VERSION}")
    return dict(document["steps"])


def _unreadable(path: Path, why: str) -> WorkspaceMismatch:
    return WorkspaceMismatch(
        f"{path}: the journal cannot be read: {why}",
        "move the journal away to start this workspace afresh; finished files are then made again",
    )
