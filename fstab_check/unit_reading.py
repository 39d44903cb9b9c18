"""Finds and reads the units of the mounted guest that have to do with mounts, in the order in which systemd looks."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field

from fstab_check.guest_files import GuestFiles
from fstab_check.unit_files import Unit, UnitFile, Units, drop_in_folders, parse_unit

MAX_SERVICES = 80  # enabled ones that are read; each costs about 40 ms under emulation
MAX_DROP_INS = 8  # of one unit and folder

# In the order in which they count; what the generators make counts after the first. /lib is another folder only
# where it was never merged into /usr.
FOLDERS = (
    "/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system",
)  # fmt: skip
MOUNT_KINDS = (".mount", ".swap", ".automount")
_DROP_INS = tuple(f"{kind}.d" for kind in MOUNT_KINDS)
_PULLED_IN = (".wants", ".requires")


def read_units(files: GuestFiles) -> Units:
    """Read the mount units, their drop-ins, and the services that are enabled by a symlink in /etc."""
    is_merged = bool(files.links("/", ["lib"]))
    folders = [folder for folder in FOLDERS if not (is_merged and folder.startswith("/lib/"))]
    return _Reader(files, {folder: files.names(folder) for folder in folders}).read()


@dataclass(slots=True)
class _Reader:
    """`listed` are the names in each folder of units. Nothing is looked at twice: a drop-in may be for many units."""

    files: GuestFiles
    listed: Mapping[str, list[str]]
    masked: dict[str, set[str]] = field(default_factory=dict)  # names in a folder that lead to /dev/null
    confs: dict[str, list[str]] = field(default_factory=dict)  # drop-ins in a folder
    texts: dict[str, UnitFile] = field(default_factory=dict)

    def read(self) -> Units:
        pulled_in, services = self._symlinks()
        if len(services) > MAX_SERVICES:
            reason = f"{len(services)} services are enabled, of which {MAX_SERVICES} were read"
            self.files.unread[FOLDERS[0]] = reason
        everything = frozenset(name for names in self.listed.values() for name in names)
        wanted = {name for name in everything if name.endswith(MOUNT_KINDS)}
        wanted |= {name.removesuffix(".d") for name in everything if name.endswith(_DROP_INS)}
        for folder, names in self.listed.items():
            mounts = [name for name in names if name.endswith((*MOUNT_KINDS, ".service"))]
            links = self.files.links(folder, mounts)
            self.masked[folder] = {name for name, target in links.items() if target == "/dev/null"}
        units = [self._unit(name, pulled_in) for name in [*sorted(wanted), *services[:MAX_SERVICES]]]
        return Units(by_name={unit.name: unit for unit in units}, all_names=everything)

    def _symlinks(self) -> tuple[dict[str, set[str]], list[str]]:
        """Return which folders pull in each unit, and the services that those in /etc do."""
        pulled_in: dict[str, set[str]] = {}
        services: dict[str, None] = {}
        for folder, names in self.listed.items():
            for pulling in (name for name in names if name.endswith(_PULLED_IN)):
                for name in self.files.names(posixpath.join(folder, pulling)):
                    pulled_in.setdefault(name, set()).add(pulling)
                    if folder == FOLDERS[0] and name.endswith(".service"):
                        services[name] = None
        return pulled_in, list(services)

    def _unit(self, name: str, pulled_in: Mapping[str, set[str]]) -> Unit:
        stem, at, rest = name.partition("@")
        template = f"{stem}@.{rest.rpartition('.')[2]}" if at else name
        places = (
            (folder, found) for folder, names in self.listed.items() for found in (name, template) if found in names
        )
        place = next(places, None)
        file = None if place is None else self._unit_file(*place)
        drop_ins = [drop_in for folder in drop_in_folders(name) for drop_in in self._drop_ins(folder)]
        return Unit(name=name, file=file, drop_ins=tuple(drop_ins), pulled_in_by=frozenset(pulled_in.get(name, ())))

    def _drop_ins(self, name: str) -> list[UnitFile]:
        by_name: dict[str, str] = {}  # of two with one name, the folder that comes first counts
        for path in (posixpath.join(folder, name) for folder, names in self.listed.items() if name in names):
            if path not in self.confs:
                self.confs[path] = [conf for conf in self.files.names(path) if conf.endswith(".conf")][:MAX_DROP_INS]
                links = self.files.links(path, self.confs[path])
                self.masked[path] = {conf for conf, target in links.items() if target == "/dev/null"}
            for conf in self.confs[path]:
                by_name.setdefault(conf, path)
        return [self._unit_file(by_name[conf], conf) for conf in sorted(by_name)]

    def _unit_file(self, folder: str, name: str) -> UnitFile:
        path = posixpath.join(folder, name)
        if path not in self.texts:
            if name in self.masked.get(folder, ()):
                self.texts[path] = UnitFile(path=path, is_masked=True)
            else:
                text = self.files.read(path)  # None: it is among `unread`, or a symlink that leads nowhere
                settings = parse_unit(text.text) if text is not None else ()
                self.texts[path] = UnitFile(
                    path=path, settings=settings, is_masked=text is not None and not text.text
                )  # fmt: skip
        return self.texts[path]
