"""Reads small text files out of the mounted guest, a bounded number of them, and remembers which could not be read.

Symlinks are resolved inside the guest's own tree; only regular files are opened, so that no pipe or device is.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from migration.appliance import Refused, refusals

if TYPE_CHECKING:
    import guestfs

MAX_FILE = 256 * 1024  # bytes of one file; lvm.conf with all its comments has 100 KiB
MAX_BYTES = 4 * 1024 * 1024  # of all files together
MAX_LOOKS = 1000  # into files and folders, at about 30 ms each under emulation
MAX_NAMES = 2000  # of one folder


@dataclass(frozen=True, slots=True)
class GuestText:
    """One file of the guest. Bytes that are no UTF-8 are kept as `surrogateescape` keeps them."""

    path: str
    text: str


@dataclass(slots=True)
class GuestFiles:
    """The files of the guest that is mounted in `g`. `unread` grows: path → why it is not known what stands there."""

    g: guestfs.GuestFS
    unread: dict[str, str] = field(default_factory=dict)
    looks_left: int = MAX_LOOKS
    bytes_left: int = MAX_BYTES

    def names(self, folder: str) -> list[str]:
        """Return the sorted names in `folder`, none where there is no such folder."""
        if not self._may_look(folder):
            return []
        try:
            with refusals(self.g):
                found = list(self.g.ls(folder)) if self.g.is_dir(folder, followsymlinks=True) else []
        except (Refused, UnicodeDecodeError) as reason:  # names of a guest may be any bytes
            self.unread[folder] = f"its names cannot be read: {reason}"
            return []
        names = sorted(name for name in found if name.isprintable())
        if len(names) > MAX_NAMES:
            self.unread[folder] = f"it holds {len(names)} names, of which {MAX_NAMES} were looked at"
        return names[:MAX_NAMES]

    def links(self, folder: str, names: Sequence[str]) -> dict[str, str]:
        """Return where those of `names` in `folder` lead that are symlinks, as the links say it."""
        if not names or not self._may_look(folder):
            return {}
        try:
            with refusals(self.g):
                targets = self.g.readlinklist(folder, list(names))
        except (Refused, UnicodeDecodeError) as reason:
            self.unread[folder] = f"its symlinks cannot be read: {reason}"
            return {}
        return {name: target for name, target in zip(names, targets, strict=True) if target}

    def read(self, path: str) -> GuestText | None:
        """Return the file at `path`; None where there is none, or where it is now among `unread`."""
        if not self._may_look(path):
            return None
        try:
            with refusals(self.g):
                if not self.g.is_file(path, followsymlinks=True):
                    if self.g.exists(path):
                        self.unread[path] = "it is no regular file"
                    return None
                content = bytes(self.g.pread(path, min(MAX_FILE, self.bytes_left) + 1, 0))
        except Refused as refusal:
            self.unread[path] = f"{refusal}"
            return None
        if len(content) > min(MAX_FILE, self.bytes_left):
            self.unread[path] = f"it is larger than {MAX_FILE // 1024} KiB, or there is too much before it"
            return None
        self.bytes_left -= len(content)
        return GuestText(path, content.decode("utf-8", "surrogateescape"))

    def read_folder(self, folder: str, *, suffix: str) -> list[GuestText]:
        """Return the files in `folder` whose names end so, in the order of their names."""
        paths = [posixpath.join(folder, name) for name in self.names(folder) if name.endswith(suffix)]
        return [text for path in paths if (text := self.read(path)) is not None]

    def is_there(self, *paths: str) -> bool:
        """Return whether anything is at one of `paths`; where that cannot be asked, the first is among `unread`."""
        if not self._may_look(paths[0]):
            return False
        try:
            with refusals(self.g):
                return any(self.g.exists(path) for path in paths)
        except Refused as refusal:
            self.unread[paths[0]] = f"{refusal}"
            return False

    def _may_look(self, path: str) -> bool:
        """Count one look more, and return whether it is still within bounds."""
        if self.looks_left <= 0 or self.bytes_left <= 0:
            if len(self.unread) < MAX_NAMES:
                self.unread[path] = "too much was read before it"
            return False
        self.looks_left -= 1
        return True
