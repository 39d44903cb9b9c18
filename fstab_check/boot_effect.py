"""What happens at boot when a line's mount fails, as systemd does it; how bad that is follows from it.

It waits for a missing device; then local-fs.target fails and the boot ends in emergency mode. `nofail`, swap and
network mounts are only wanted, so that the boot goes on; `noauto` is not even tried.
(Read in systemd's `fstab-generator.c`; the wait and the emergency mode seen in Debian and CentOS guests.)
"""

from __future__ import annotations

from collections.abc import Callable, Sized
from dataclasses import dataclass

from fstab_check.fstab import Entry
from fstab_check.sources import waits_for_network
from migration.verdict import Outcome, Severity

_RANK = [Severity.INFO, Severity.WARNING, Severity.ERROR]


@dataclass(frozen=True, slots=True)
class Loss:
    """What comes of a line that cannot be mounted: DELAYED where it is waited for first, and `effect`, in a clause."""

    outcome: Outcome
    effect: str


# The first that applies.
_LOSSES: tuple[tuple[Callable[[Entry], bool], Loss], ...] = (
    (
        lambda entry: entry.is_root,
        Loss(Outcome.EMERGENCY, "the root file system cannot be checked and remounted"),
    ),
    (
        lambda entry: entry.is_automount,
        Loss(Outcome.IGNORED, "the boot goes on, and whoever looks into it gets an error"),
    ),
    (
        lambda entry: entry.is_noauto,
        Loss(Outcome.IGNORED, "the boot goes on, as nothing mounts it then (noauto)"),
    ),
    (lambda entry: entry.is_nofail, Loss(Outcome.IGNORED, "the boot goes on without it (nofail)")),
    (lambda entry: entry.is_swap, Loss(Outcome.DELAYED, "the boot goes on without this swap")),
    (waits_for_network, Loss(Outcome.DELAYED, "the boot goes on without it (network mount)")),
    (lambda _entry: True, Loss(Outcome.EMERGENCY, "the boot ends in emergency mode")),
)

_SEVERITIES = {
    Outcome.EMERGENCY: Severity.ERROR,
    Outcome.DELAYED: Severity.WARNING,
    Outcome.IGNORED: Severity.WARNING,  # what was to be mounted is missed
}


def loss_of(entry: Entry) -> Loss:
    """Return what comes of `entry` where what it mounts is not there or cannot be mounted."""
    return next(loss for applies, loss in _LOSSES if applies(entry))


def severity_of_loss(entry: Entry) -> Severity:
    """Return how bad that is."""
    if entry.is_noauto and not entry.is_automount:
        return Severity.INFO  # the boot misses nothing
    return _SEVERITIES[loss_of(entry).outcome]


def effect_of_loss(entry: Entry) -> str:
    """Say what comes of it in a clause."""
    return loss_of(entry).effect


def severity_over(lost: Sized, targets: Sized, worst: Severity) -> Severity:
    """Return `worst` where it holds on all targets, of which the other side has one; else it is a note."""
    return worst if len(lost) == len(targets) else Severity.INFO


def at_most(severity: Severity, limit: Severity) -> Severity:
    return min(severity, limit, key=_RANK.index)


def at_least(severity: Severity, limit: Severity) -> Severity:
    return max(severity, limit, key=_RANK.index)
