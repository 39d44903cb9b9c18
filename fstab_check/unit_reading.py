"""Finds and reads the units of the mounted guest that have to do with mounts, in the order in which systemd looks."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

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
    listed = {folder: files.names(folder) for folder in _different_folders(files)}
    pulled_in: dict[str, set[str]] = {}
    enabled: list[str] = []
    for folder, names in listed.items():
        for pulling in (name for name in names if name.endswith(_PULLED_IN)):
            for name in files.names(posixpath.join(folder, pulling)):
                pulled_in.setdefault(name, set()).add(pulling)
                if folder == FOLDERS[0] and name.endswith(".service"):
                    enabled.append(name)
    wanted = {name for names in listed.values() for name in names if name.endswith(MOUNT_KINDS)}
    for name in (name for names in listed.values() for name in names if name.endswith(_DROP_INS)):
        wanted.add(name.removesuffix(".d"))
    services = list(dict.fromkeys(enabled))
    if len(services) > MAX_SERVICES:
        files.unread[FOLDERS[0]] = f"{len(services)} services are enabled, of which {MAX_SERVICES} were read"
    units = {name: _read_unit(files, name, listed, pulled_in) for name in [*sorted(wanted), *services[:MAX_SERVICES]]}
    everything = frozenset(name for names in listed.values() for name in names)
    return Units(by_name=units, all_names=everything)


def _different_folders(files: GuestFiles) -> list[str]:
    is_merged = bool(files.links("/", ["lib"]))
    return [folder for folder in FOLDERS if not (is_merged and folder.startswith("/lib/"))]


def _read_unit(
    files: GuestFiles, name: str, listed: Mapping[str, list[str]], pulled_in: Mapping[str, set[str]]
) -> Unit:  # fmt: skip
    stem, at, rest = name.partition("@")
    template = f"{stem}@.{rest.rpartition('.')[2]}" if at else name
    file = None
    for folder, names in listed.items():
        found = next((candidate for candidate in (name, template) if candidate in names), None)
        if found is not None:
            file = _read_unit_file(files, folder, found)
            break
    drop_ins = []
    for drop_in_folder in drop_in_folders(name):
        by_name: dict[str, str] = {}  # of two with one name, the folder that comes first counts
        for folder, names in listed.items():
            if drop_in_folder in names:
                path = posixpath.join(folder, drop_in_folder)
                for conf in [conf for conf in files.names(path) if conf.endswith(".conf")][:MAX_DROP_INS]:
                    by_name.setdefault(conf, path)
        drop_ins += [_read_unit_file(files, by_name[conf], conf) for conf in sorted(by_name)]
    return Unit(name=name, file=file, drop_ins=tuple(drop_ins), pulled_in_by=frozenset(pulled_in.get(name, ())))


def _read_unit_file(files: GuestFiles, folder: str, name: str) -> UnitFile:
    path = posixpath.join(folder, name)
    if files.links(folder, [name]).get(name) == "/dev/null":
        return UnitFile(path=path, is_masked=True)
    text = files.read(path)
    if text is None:
        return UnitFile(path=path)  # it is among `unread`, or a symlink that leads nowhere
    return UnitFile(path=path, settings=parse_unit(text.text), is_masked=not text.text)
