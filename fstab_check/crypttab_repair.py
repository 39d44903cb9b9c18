"""Plans what becomes of /etc/crypttab, whose second fields name encrypted disks. Pure."""

from __future__ import annotations

from fstab_check.facts import Guest
from fstab_check.layout import Volume
from fstab_check.line_edit import fields_of, replace_fields
from fstab_check.patch import Change, FilePatch, Left
from fstab_check.resolve import resolve
from fstab_check.sources import SourceKind, parse_source
from fstab_check.stable_name import entry_naming, uuid_tag

CRYPTTAB = "/etc/crypttab"
DEVICE = 1  # the second field; the first is the name of the mapping


def plan_crypttab(guest: Guest, content: bytes) -> tuple[FilePatch | None, tuple[Left, ...]]:
    """Return what becomes of the file: kernel names of LUKS disks become `UUID=`; None where nothing changes."""
    lines = content.split(b"\n")
    changes, left = [], []
    for number, line in enumerate(lines, start=1):
        fields = fields_of(line)
        if len(fields) < 2 or fields[0].startswith(b"#"):
            continue
        name = fields[DEVICE].decode("utf-8", "surrogateescape")
        volume, problem = _follow(name, guest)
        tag = uuid_tag(volume, guest.layout) if volume is not None else None
        if volume is not None and tag is not None:
            after = replace_fields(line, {DEVICE: tag.encode()})
            reason = f"{name} is {volume.place} here, and may be another disk elsewhere"
            changes.append(Change(line=number, before=line, after=after, reasons=(reason,)))
        elif problem or volume is not None:
            left.append(
                Left(path=CRYPTTAB, line=number, why=problem or f"{name} has no UUID that leads to it alone")
            )  # fmt: skip
    if not changes:
        return None, tuple(left)
    return FilePatch(path=CRYPTTAB, before=content, changes=tuple(changes)), tuple(left)


def _follow(name: str, guest: Guest) -> tuple[Volume | None, str]:
    """Return the LUKS disk that a kernel name means, or what is in the way; neither for other names."""
    source = parse_source(entry_naming(name))
    if source.kind in {SourceKind.DISK_ID, SourceKind.DISK_PATH}:
        return None, f"{name} is a link that the cloud's machine makes, and which disk it means is not known"
    if source.kind is not SourceKind.DEVICE:
        return None, ""
    resolution = resolve(source, guest.layout, None)
    volume = resolution.volume
    if volume is None:
        return None, f"{name} leads nowhere: {resolution.evidence}"
    if volume.type != "crypto_LUKS":
        # Opened with a fresh key at each boot, most likely: then what is on it is lost, so a mistake would be dear.
        return None, f"{name} is {volume.place} here, which holds no LUKS header: see what is meant"
    return volume, ""
