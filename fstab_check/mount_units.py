"""Knows which mount units count, beside the lines of fstab or in their place.

The fstab generator makes a unit of each line, between /etc/systemd/system, which counts before it, and /usr/lib, which
counts after it; drop-ins count wherever they lie. The generator's `local-fs.target.requires` stays in force whoever
makes the unit, and so do `nofail` and `noauto` of the line. (Sources: man 5 systemd.unit, man 5 systemd.mount.)

A masked unit that is only wanted is passed over. One that is required makes its target impossible, and as the boot only
wants local-fs.target, it goes on without that: of the other mounts, and of the root's remounting, what was queued
before is done, in no order that one could know. (Seen in boots with version 252: a root left read-only, or emergency
mode. Source: `transaction_add_job_and_dependencies` in transaction.c.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from fstab_check.arrival import follow
from fstab_check.facts import Guest, Line
from fstab_check.fstab import Entry
from fstab_check.mountpoint_check import normal_path, real_path
from fstab_check.sources import SourceKind, parse_source, waits_for_network
from fstab_check.unit_files import Unit, Units, escape_path, unescape_path

REQUIRING = frozenset({"local-fs.target.requires", "sysinit.target.requires", "basic.target.requires"})
_FROM_THE_LINE = frozenset({"noauto", "auto", "nofail", "fail", "x-systemd.automount", "_netdev"})


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeMount:
    """A mount or swap unit that systemd acts on, put as the line of fstab that would do the same.

    `file` and `line.entry.line` say where its What= stands. `problem` says why it cannot be followed, "" if it can.
    """

    unit: Unit
    file: str
    line: Line
    is_required: bool  # the boot ends in emergency mode without it
    problem: str = ""


def unit_of(entry: Entry, guest: Guest) -> Unit | None:
    """Return what the guest's own files say of the unit that the fstab generator makes of `entry`."""
    if entry.is_swap:
        return guest.config.units.get(f"{escape_path(_node_of(entry.source))}.swap")
    if not entry.mountpoint.startswith("/"):
        return None
    return guest.config.units.get(f"{escape_path(real_path(entry.mountpoint, guest))}.mount")


def masking_unit(entry: Entry, guest: Guest) -> Unit | None:
    """Return the unit that keeps systemd from acting on `entry` at all."""
    unit = unit_of(entry, guest)
    return unit if unit is not None and unit.is_masked and unit.is_by_administrator and not entry.is_root else None


def impossible_targets(lines: Sequence[Line], guest: Guest) -> dict[str, Unit]:
    """Return the targets that cannot be started, each with the masked unit that it requires."""
    found: dict[str, Unit] = {}
    for line in lines:
        entry, unit = line.entry, masking_unit(line.entry, guest)
        is_required = not (entry.is_nofail or entry.is_noauto or entry.is_automount)
        if unit is not None and is_required:
            found.setdefault(target_of(entry), unit)
    return found


def target_of(entry: Entry) -> str:
    """Return the unit that pulls in the mount of `entry` at boot."""
    if entry.is_swap:
        return "swap.target"
    return "remote-fs.target" if waits_for_network(entry) and not entry.is_root else "local-fs.target"


def overriding_mount(line: Line, guest: Guest) -> NativeMount | None:
    """Return what systemd mounts in the place of `line`, None where the line itself counts."""
    unit = unit_of(line.entry, guest)
    if unit is None or line.entry.is_root or masking_unit(line.entry, guest) is not None:
        return None
    if not unit.is_by_administrator:
        section = _section(unit)
        says_something = any(setting.section == section for file in unit.drop_ins for setting in file.settings)
        if not says_something and not any(file.path in guest.config.unread for file in unit.drop_ins):
            return None
        unit = replace(unit, file=None)  # the generator's file counts before one in /usr/lib
    return _instead_of(line.entry, unit, guest)


def native_mounts(lines: Sequence[Line], guest: Guest) -> Iterator[NativeMount]:
    """Yield the units beside those of fstab that something pulls in at boot, or that an automount waits for."""
    taken = {unit.name for line in lines if (unit := unit_of(line.entry, guest)) is not None}
    units = guest.config.units
    for name, unit in units.by_name.items():
        if not name.endswith((".mount", ".swap")) or name in taken or unit.file is None or unit.is_masked:
            continue
        if not unit.is_by_administrator and parse_source(_entry_of(unit)).kind is SourceKind.UNKNOWN:
            continue  # a package's own, as open-vm-tools has one for its FUSE: it hangs on no disk
        automount = units.get(f"{name.rpartition('.')[0]}.automount")
        by_automount = automount is not None and automount.is_enabled and not automount.is_masked
        if unit.is_enabled or by_automount:
            yield _beside(unit, guest, by_automount=by_automount)


def paths_of_units(units: Units) -> list[str]:
    """Return the paths in the guest that units mount: loop images, as snaps are, bind mounts, swap files."""
    entries = [_entry_of(unit) for name, unit in units.by_name.items() if name.endswith((".mount", ".swap"))]
    return [normal_path(entry.source) for entry in entries if parse_source(entry).kind is SourceKind.FILE]


def lines_in_force(lines: Sequence[Line], guest: Guest) -> list[Line]:
    """Return those of `lines` that systemd acts on as they are written."""
    return [line for line in unmasked(lines, guest) if overriding_mount(line, guest) is None]


def unmasked(lines: Sequence[Line], guest: Guest) -> list[Line]:
    """Return those of `lines` that systemd acts on, be it by a unit in their place."""
    return [line for line in lines if masking_unit(line.entry, guest) is None]


def _beside(unit: Unit, guest: Guest, *, by_automount: bool) -> NativeMount:
    entry = _entry_of(unit)
    if by_automount:
        entry = replace(entry, options=_joined([entry.options, "x-systemd.automount"]))
    return _native(unit, entry, guest)


def _instead_of(written: Entry, unit: Unit, guest: Guest) -> NativeMount:
    entry = _entry_of(unit)
    if unit.file is None:  # drop-ins alone: what they do not say is as the line has it
        has_options = unit.setting(_section(unit), "Options") is not None
        entry = replace(
            entry, source=entry.source or written.source,
            fstype=unit.value(_section(unit), "Type") or written.fstype,
            options=entry.options if has_options else written.options,
        )  # fmt: skip
    own = [word for word in entry.options.split(",") if word not in {"nofail", "noauto", "fail", "auto"}]
    kept = [word for word in written.options.split(",") if word.partition("=")[0] in _FROM_THE_LINE]
    if written.is_noauto and unit.is_enabled:
        kept = ["nofail"]
    return _native(unit, replace(entry, mountpoint=written.mountpoint, options=_joined([*own, *kept])), guest)


def _entry_of(unit: Unit) -> Entry:
    """Return the line of fstab that says what `unit` says. systemd reads no `x-systemd.…` in Options=."""
    section = _section(unit)
    what, is_swap = unit.setting(section, "What"), section == "Swap"
    options = [word for word in unit.value(section, "Options").split(",") if not word.startswith("x-systemd.")]
    return Entry(
        line=what.line if what else 1, source=what.value if what else "", freq=0, passno=0, raw="",
        mountpoint="none" if is_swap else unescape_path(unit.name.rpartition(".")[0]),
        fstype="swap" if is_swap else unit.value(section, "Type") or "auto", options=_joined(options),
    )  # fmt: skip


def _native(unit: Unit, entry: Entry, guest: Guest) -> NativeMount:
    what = unit.setting(_section(unit), "What")
    file = unit.file_of(what) if what else unit.files[0].path
    return NativeMount(
        unit=unit, file=file, line=follow(entry, guest), is_required=bool(unit.pulled_in_by & REQUIRING),
        problem=_problem(unit, entry, guest),
    )  # fmt: skip


def _problem(unit: Unit, entry: Entry, guest: Guest) -> str:
    for path in (part.path for part in unit.files):
        if path in guest.config.unread:
            return f"{path} could not be read: {guest.config.unread[path]}"
    if not entry.source:
        return "it has no What="
    if "%" in entry.source:
        return f"its What={entry.source} holds specifiers, which are not followed"
    written = unit.value(_section(unit), "Where")
    if unit.file is not None and unit.name.endswith(".mount") and f"{escape_path(written)}.mount" != unit.name:
        return f"its Where={written} does not go with its name, and systemd refuses it"
    return ""


def _section(unit: Unit) -> str:
    return "Swap" if unit.name.endswith(".swap") else "Mount"


def _joined(words: Sequence[str]) -> str:
    return ",".join(word for word in words if word)


def _node_of(source: str) -> str:
    r"""Return the path that systemd takes for a tag (`fstab_node_to_udev_node`): udev's link, escaped as udev does."""
    match = re.fullmatch(r"(UUID|LABEL|PARTUUID|PARTLABEL)=(.*)", source, re.DOTALL)
    if match is None:
        return source
    value = match[2].strip("\"'").encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    plain = re.sub(r"[^A-Za-z0-9#+\-.:=@_\u0080-\U0010ffff]", lambda char: f"\\x{ord(char[0]):02x}", value)
    return f"/dev/disk/by-{match[1].lower()}/{plain}"
