"""What happens at boot when a line's mount fails, as systemd does it.

It waits 90 seconds for a missing device; then local-fs.target fails and the boot ends in emergency mode.
`nofail`, swap and network mounts are only wanted, so that the boot goes on; `noauto` is not even tried.
(Read in systemd's `fstab-generator.c`; the wait and the emergency mode seen in Debian and CentOS guests.)
"""

from __future__ import annotations

from collections.abc import Callable

from fstab_check.fstab import Entry
from fstab_check.sources import waits_for_network
from migration.verdict import Severity

_RANK = [Severity.INFO, Severity.WARNING, Severity.ERROR]


# The first that applies: whether it does, how bad the loss is, and what comes of it.
_EFFECTS: tuple[tuple[Callable[[Entry], bool], Severity, str], ...] = (
    (lambda entry: entry.is_root, Severity.ERROR, "the root file system cannot be checked and remounted"),
    (
        lambda entry: entry.is_automount,
        Severity.WARNING,
        "the boot goes on, and whoever looks into it gets an error",
    ),
    (lambda entry: entry.is_noauto, Severity.INFO, "the boot goes on, as nothing mounts it then (noauto)"),
    (lambda entry: entry.is_nofail, Severity.WARNING, "the boot goes on without it (nofail)"),
    (lambda entry: entry.is_swap, Severity.WARNING, "the boot waits 90 seconds, then goes on without this swap"),
    (waits_for_network, Severity.WARNING, "the boot goes on without it (network mount)"),
    (lambda _entry: True, Severity.ERROR, "the boot ends in emergency mode"),
)


def severity_of_loss(entry: Entry) -> Severity:
    """Return how bad it is that what `entry` mounts is not there or cannot be mounted."""
    return next(severity for applies, severity, _ in _EFFECTS if applies(entry))


def effect_of_loss(entry: Entry) -> str:
    """Say the same in a clause."""
    return next(effect for applies, _, effect in _EFFECTS if applies(entry))


def at_most(severity: Severity, limit: Severity) -> Severity:
    return min(severity, limit, key=_RANK.index)


def at_least(severity: Severity, limit: Severity) -> Severity:
    return max(severity, limit, key=_RANK.index)
