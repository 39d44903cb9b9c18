"""A report in which everything that a cloud, a guest or a disk says tries to be more than text, or too much of it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from migration.disk import DiskFormat
from migration.repair import ChangedLine, LeftLine, Repair
from migration.target import Target
from migration.verdict import EntryChain, Finding, Forecast, LineForecast, Outcome, Severity, Verdict
from report.report import Report
from tests.report_fixtures import artifact, disk, exported, finished_report

ATTACKS = (
    "</script><script>window.hacked = 1</script>",
    '"><img src=x onerror="window.hacked = 1">',
    "'><svg onload='window.hacked = 1'>",
    "</title></svg></style><script>window.hacked = 1</script>",
    "<!-- <base href=//evil.example> --><link rel=stylesheet href=//evil.example/x.css>",
    "{{ 7 * 7 }}{% raw %}${7*7}",
    "javascript:window.hacked=1",
)
CONTROLS = "\x00\x07\x1b[2J\x1b]0;t\x07\u202egnp.exe\u2066\ufeff\ud800\x85\x9b"
EVIL = "".join(ATTACKS) + CONTROLS
HUGE = EVIL + "A" * 1_000_000 + "<b>the end</b>"


@cache
def hostile_report() -> Report:
    """Return a report with 10,000 findings, texts of a megabyte, and markup wherever text goes."""
    report = finished_report()
    assert report.image is not None
    assert report.boot is not None
    findings = tuple(
        Finding(
            code=f"code-{number % 300}", severity=list(Severity)[number % 3], message=HUGE if number < 3 else EVIL,
            evidence=HUGE if number < 3 else EVIL, remedy=f"{EVIL}{number % 700}", file=EVIL, line=number, device=EVIL,
            targets=(Target.SCSI,),
        )
        for number in range(10_000)
    )  # fmt: skip
    chain = tuple(
        EntryChain(
            line=number, source=HUGE if number == 1 else EVIL, mountpoint=f"/{EVIL}", fstype=EVIL, options=EVIL,
            device="xvda" if number % 2 else None, partition=1, filesystem=EVIL, uuid=EVIL, resolved=f"{EVIL}{number}",
        )
        for number in range(1, 3_000)
    )  # fmt: skip
    told = tuple(
        LineForecast(line=entry.line, source=EVIL, mountpoint=EVIL, outcome=Outcome.EMERGENCY, reason=EVIL, device=EVIL)
        for entry in chain[:500]
    )
    forecasts = tuple(Forecast(target=target, lines=told) for target in Target)
    verdict = Verdict(root=EVIL, operating_system=EVIL, findings=findings, chain=chain, forecasts=forecasts)
    changed = tuple(
        ChangedLine(file=EVIL, line=number, before=EVIL, after=EVIL, reasons=(EVIL,)) for number in range(999)
    )
    repair = Repair(
        before=verdict, after=verdict, diff=f"--- {EVIL}\n+{HUGE}\n" + f"-{EVIL}\n" * 5_000, changed=changed,
        left=(LeftLine(file=EVIL, line=1, why=EVIL),) * 999, disks=(disk("xvda"),),
    )  # fmt: skip
    evil_disk = replace(disk("xvda"), path=disk("xvda").path.with_name("".join(ATTACKS).replace("/", "\\")), proof=HUGE)
    return replace(
        report, title=EVIL, verdict=verdict, repair=repair, stopped=f"{HUGE}\n" * 3, early_sight=HUGE,
        not_examined=HUGE,
        image=replace(report.image, image_id=EVIL, name=HUGE, region_id=EVIL, os_name=EVIL, boot_mode=EVIL),
        objects=(replace(exported("xvda"), key=HUGE, bucket=EVIL, etag=EVIL), exported("xvdb")),
        disks=(evil_disk, disk("xvdb")), boot_unknown=HUGE,
        artifacts=tuple(
            replace(artifact("xvda", DiskFormat.VMDK), sha256=EVIL, proof=EVIL if number else HUGE)
            for number in range(500)
        ),
        boot=replace(
            report.boot, summary=EVIL, evidence=HUGE, note=HUGE, mounted=(EVIL,) * 999, failed=(EVIL,) * 999,
            last_words=(EVIL,) * 999, files=(EVIL,) * 9,
        ),
        versions={"Ferry": EVIL, EVIL: EVIL},
    )  # fmt: skip
