"""Plans the repair of a guest: facts in, a patch over its files out. Pure; `fstab_check.apply_patch` makes it true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fstab_check.boot_repair import plan_boot_file
from fstab_check.boot_syntax import BootFileKind
from fstab_check.check import MAX_ENTRIES, follow_lines
from fstab_check.crypttab_repair import plan_crypttab
from fstab_check.facts import Guest
from fstab_check.fstab import FSTAB
from fstab_check.fstab_repair import plan_fstab
from fstab_check.patch import Left, Patch


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """A file beside /etc/fstab that names disks; `kind` None is /etc/crypttab. `failure` says why it is not here."""

    path: str
    kind: BootFileKind | None
    content: bytes = b""
    failure: str = ""


def plan_repair(guest: Guest, files: Sequence[ConfigFile] = ()) -> Patch:
    """Return what has to change so that `guest` boots on any bus, as far as that is certain."""
    fstab, left = plan_fstab(guest, follow_lines(guest))
    patches, unplanned = [fstab], [*left]
    if len(guest.fstab.entries) > MAX_ENTRIES:
        unplanned.append(Left(path=FSTAB, line=None, why=f"only its first {MAX_ENTRIES} lines were looked at"))
    for file in files:
        if file.failure:
            unplanned.append(Left(path=file.path, line=None, why=file.failure))
            continue
        if file.kind is None:
            patch, more = plan_crypttab(guest, file.content)
        else:
            patch, more = plan_boot_file(guest, file.path, file.kind, file.content)
        patches.append(patch)
        unplanned += more
    return Patch(files=tuple(patch for patch in patches if patch is not None), left=tuple(unplanned))
