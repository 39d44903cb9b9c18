"""The one sentence at the top: what a boot has shown before what the check foretells, and never good for unknown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from migration.target import Target
from migration.verdict import Finding, Forecast, LineForecast, Outcome, Severity, Verdict
from private_cloud.console import Outcome as BootOutcome
from report.headline import Tone, find_headline
from report.report import Report
from tests.report_fixtures import finished_report

CLEAN = Verdict(root="xvda1", operating_system="", findings=(), chain=())
EMPTY = Report(title="t", workspace=Path("/w"))
BOOT = finished_report().boot
assert BOOT is not None


def foretold(**outcomes: Outcome) -> Verdict:
    """Return a verdict whose forecast for each target is the outcome given for it."""
    forecasts = tuple(
        Forecast(
            target=Target(target),
            lines=(LineForecast(line=1, source="s", mountpoint="/", outcome=outcome, reason="r"),),
        )
        for target, outcome in outcomes.items()
    )
    return replace(CLEAN, forecasts=forecasts)


def found(severity: Severity) -> Verdict:
    return replace(CLEAN, findings=(Finding(code="c", severity=severity, message="m", evidence="e", remedy="r"),))


PANIC = BootOutcome.KERNEL_PANIC
GOOD, BAD, WAIT = Outcome.MOUNTED, Outcome.EMERGENCY, Outcome.DELAYED


@pytest.mark.parametrize(
    ("report", "tone", "sentence"),
    [
        pytest.param(EMPTY, Tone.UNKNOWN, "unknown: it has not been examined yet.", id="nothing"),
        pytest.param(replace(EMPTY, not_examined="x"), Tone.UNKNOWN, "it could not be looked into.", id="no look"),
        pytest.param(replace(EMPTY, verdict=CLEAN), Tone.GOOD, "Nothing in /etc/fstab keeps the guest", id="clean"),
        pytest.param(
            replace(EMPTY, verdict=found(Severity.ERROR)), Tone.BAD, "will not come up as it is", id="error"
        ),
        pytest.param(replace(EMPTY, verdict=found(Severity.WARNING)), Tone.MIXED, "but not with all", id="warning"),
        pytest.param(
            replace(EMPTY, verdict=foretold(virtio=GOOD, xen=GOOD)), Tone.GOOD,
            "By the check, the guest will come up on virtio and xen. No boot has shown it yet.", id="good everywhere",
        ),
        pytest.param(
            replace(EMPTY, verdict=foretold(virtio=GOOD, scsi=BAD, ide=BAD, sata=WAIT)), Tone.MIXED,
            "on virtio; the guest will come up on sata after a wait, without all its disks; "
            "the guest will not come up on scsi and ide.", id="some",
        ),
        pytest.param(
            replace(EMPTY, verdict=foretold(scsi=BAD, nvme=Outcome.WRONG_DISK)), Tone.BAD,
            "come up on nvme with a wrong disk mounted; the guest will not come up on scsi.", id="nowhere",
        ),
        pytest.param(
            replace(EMPTY, verdict=foretold(virtio=Outcome.UNKNOWN)), Tone.UNKNOWN,
            "whether the guest comes up on virtio is unknown.", id="nobody knows",
        ),
        pytest.param(
            replace(EMPTY, verdict=foretold(virtio=GOOD), boot=replace(BOOT, unknown="w"), boot_unknown="w"), Tone.GOOD,
            "will come up on virtio. The boot test did not decide.", id="silent boot",
        ),
        pytest.param(
            replace(EMPTY, verdict=foretold(virtio=GOOD, scsi=BAD), boot=BOOT), Tone.MIXED,
            "comes up on virtio with all that it mounts: it was booted and has shown it. "
            "By the check, the guest will not come up on scsi.", id="booted, and not elsewhere",
        ),
        pytest.param(
            replace(EMPTY, verdict=foretold(virtio=GOOD), boot=replace(BOOT, outcome=PANIC, summary="panics")),
            Tone.BAD, "In the boot test on virtio the guest panics.", id="panic against the forecast",
        ),
    ],
)  # fmt: skip
def test_headline(report: Report, tone: Tone, sentence: str) -> None:
    headline = find_headline(report)
    assert headline.tone is tone
    assert sentence in headline.sentence
