"""Says in one plain sentence whether the guest will come up and where: what whoever reads no further has to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from migration.str_enum import StrEnum
from migration.target import Target
from migration.verdict import Forecast, Outcome
from private_cloud.boot_in_workspace import BootProof
from report.report import Report


class Tone(StrEnum):
    """How good the news is. UNKNOWN is never shown as good."""

    GOOD = "good"
    MIXED = "mixed"
    BAD = "bad"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Headline:
    """The sentence, and how it is meant."""

    tone: Tone
    sentence: str


def find_headline(report: Report) -> Headline:
    """Return what a boot has shown, else what the check foretells, else that nothing is known."""
    if report.boot is not None and not report.boot.unknown:
        return _of_boot(report, report.boot)
    unproven = " No boot has shown it yet." if report.verdict is not None and report.boot is None else ""
    if report.boot_unknown:
        unproven = " The boot test did not decide."
    if report.verdict is None:
        why = "it could not be looked into" if report.not_examined else "it has not been examined yet"
        return Headline(Tone.UNKNOWN, f"Whether the guest will come up is unknown: {why}.")
    if not report.verdict.forecasts:
        return _of_findings(report, unproven)
    told = _foretold(report.verdict.forecasts)
    worst = _tone_of(report.verdict.forecasts)
    return Headline(worst, f"By the check, {told}.{unproven}")


def _of_boot(report: Report, proof: BootProof) -> Headline:
    forecasts = [one for one in _forecasts(report) if one.target is not proof.target]
    others = f" By the check, {_foretold(forecasts)}." if forecasts else ""
    if not proof.outcome.is_good:
        return Headline(Tone.BAD, f"In the boot test on {proof.target} the guest {proof.summary}.{others}")
    is_good_elsewhere = not forecasts or _tone_of(forecasts) is Tone.GOOD
    sentence = f"The guest comes up on {proof.target} with all that it mounts: it was booted and has shown it.{others}"
    return Headline(Tone.GOOD if is_good_elsewhere else Tone.MIXED, sentence)


def _of_findings(report: Report, unproven: str) -> Headline:
    assert report.verdict is not None  # noqa: S101  # the caller has looked
    if report.verdict.errors:
        return Headline(
            Tone.BAD, f"The guest will not come up as it is: /etc/fstab does not match its disks.{unproven}"
        )
    if not report.verdict.is_clean:
        return Headline(Tone.MIXED, f"The guest will come up, but not with all that it should mount.{unproven}")
    return Headline(Tone.GOOD, f"Nothing in /etc/fstab keeps the guest from coming up.{unproven}")


def _forecasts(report: Report) -> tuple[Forecast, ...]:
    return report.verdict.forecasts if report.verdict is not None else ()


_GOOD_FIRST = (Outcome.BOOTS, Outcome.DELAYED, Outcome.WRONG_DISK, Outcome.EMERGENCY, Outcome.UNKNOWN)


def _foretold(forecasts: Sequence[Forecast]) -> str:
    """Return a clause: `the guest will come up on virtio and xen; the guest will not come up on scsi`."""
    clauses = []
    for outcome in _GOOD_FIRST:
        targets = [one.target for one in forecasts if one.outcome is outcome]
        if targets:
            clauses.append(_clause(outcome, targets))
    return "; ".join(clauses)


def _clause(outcome: Outcome, targets: Sequence[Target]) -> str:
    where = listed([str(target) for target in targets])
    if outcome is Outcome.UNKNOWN:
        return f"whether the guest comes up on {where} is unknown"
    how = {
        Outcome.BOOTS: "will come up on {}",
        Outcome.DELAYED: "will come up on {} after a wait, without all its disks",
        Outcome.WRONG_DISK: "will come up on {} with a wrong disk mounted",
        Outcome.EMERGENCY: "will not come up on {}",
    }[outcome]
    return f"the guest {how.format(where)}"


def _tone_of(forecasts: Sequence[Forecast]) -> Tone:
    outcomes = {one.outcome for one in forecasts}
    if outcomes == {Outcome.BOOTS}:
        return Tone.GOOD
    if outcomes <= {Outcome.EMERGENCY, Outcome.WRONG_DISK}:
        return Tone.BAD
    return Tone.UNKNOWN if Outcome.UNKNOWN in outcomes and Outcome.BOOTS not in outcomes else Tone.MIXED


def listed(words: Sequence[str]) -> str:
    """Return words as one says them: `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
