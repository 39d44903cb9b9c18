"""The preflight: one outcome for every rule, all rules every time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from image_export.bucket import BucketInfo
from image_export.limits import LIMITS
from image_export.outcome import Outcome
from image_export.preflight import (
    PreflightFacts,
    PreflightFinding,
    check_preflight,
    refuse_if_needed,
    render_preflight,
)
from image_export.request import ExportRequest
from migration.errors import CloudUnavailable, InvalidInput, PreflightRefused
from migration.image import GIB
from migration.oss import OssRefused
from tests.image_export_fixtures import make_image

PASS, WARN, REFUSE, UNKNOWN = Outcome.PASS, Outcome.WARN, Outcome.REFUSE, Outcome.UNKNOWN

GOOD = PreflightFacts(
    request=ExportRequest(image_id="m-bp1image", bucket="exports"),
    region_id="cn-hangzhou",
    image=make_image("xvdb", "xvdc"),
    bucket=BucketInfo(name="exports", region_id="cn-hangzhou", storage_class="Standard"),
    free_space=1000 * GIB,
    existing_keys=(),
    server_check=PreflightFinding(rule="server-check", outcome=PASS, message="fine"),
)
GONE, DENIED = OssRefused("gone", code="NoSuchBucket"), OssRefused("no", code="AccessDenied")
RULES = [finding.rule for finding in check_preflight(GOOD)]


def image(*data_disks: str, **changes: Any) -> PreflightFacts:
    return replace(GOOD, image=make_image(*(data_disks or ("xvdb",)), **changes))


def asked(**changes: Any) -> PreflightFacts:
    return replace(GOOD, request=replace(GOOD.request, **changes))


def bucket(**changes: Any) -> PreflightFacts:
    assert GOOD.bucket is not None
    return replace(GOOD, bucket=replace(GOOD.bucket, **changes))


def no_bucket(problem: Any) -> PreflightFacts:
    return replace(GOOD, bucket=None, bucket_problem=problem)


def disk_of(size: int, *, encrypted: bool = False) -> PreflightFacts:
    base = make_image("xvdb")
    return replace(
        GOOD, image=replace(base, disks=(base.disks[0], replace(base.disks[1], size=size, encrypted=encrypted)))
    )


def finding_of(facts: PreflightFacts, rule: str) -> PreflightFinding:
    return next(finding for finding in check_preflight(facts) if finding.rule == rule)


@pytest.mark.parametrize(
    ("facts", "rule", "outcome", "words"),
    [
        pytest.param(replace(GOOD, image=None), "image", REFUSE, "no image m-bp1image in cn-hangzhou", id="no-image"),
        pytest.param(replace(GOOD, image=None), "image-status", UNKNOWN, "no image", id="no-image-no-status"),
        pytest.param(image(status="Creating"), "image-status", REFUSE, "wait", id="creating"),
        pytest.param(image(status="CreateFailed"), "image-status", REFUSE, "CreateFailed", id="broken"),
        pytest.param(image(status=""), "image-status", UNKNOWN, "", id="status-not-told"),
        pytest.param(image(owner_alias="others"), "image-owner", REFUSE, "CopyImage", id="shared"),
        pytest.param(image(owner_alias="system"), "image-owner", REFUSE, "CopyImage", id="public"),
        pytest.param(image(product_code="cmjj010"), "marketplace", REFUSE, "cmjj010", id="marketplace"),
        pytest.param(disk_of(GIB, encrypted=True), "encryption", REFUSE, "xvdb", id="encrypted"),
        pytest.param(image(os_type="windows"), "operating-system", REFUSE, "Windows", id="windows"),
        pytest.param(image(os_type=""), "operating-system", UNKNOWN, "", id="os-not-told"),
        pytest.param(image(architecture="arm64"), "architecture", WARN, "aarch64", id="arm64"),
        pytest.param(image(architecture="i386"), "architecture", PASS, "x86_64", id="i386"),
        pytest.param(image(architecture=""), "architecture", UNKNOWN, "not told", id="architecture-not-told"),
        pytest.param(image(*(f"xvd{x}" for x in "bcde")), "data-disk-count", PASS, "4 data disks", id="4-disks"),
        pytest.param(image(*(f"xvd{x}" for x in "bcdef")), "data-disk-count", WARN, "limit is 4", id="5-disks"),
        pytest.param(disk_of(500 * GIB), "data-disk-size", PASS, "", id="500-gib"),
        pytest.param(disk_of(501 * GIB), "data-disk-size", WARN, "500.0 GiB", id="501-gib"),
        pytest.param(disk_of(2048 * GIB), "data-disk-size", WARN, "500.0 GiB", id="2048-gib"),
        pytest.param(disk_of(2049 * GIB), "data-disk-size", REFUSE, "2.0 TiB", id="2049-gib"),
        pytest.param(disk_of(0), "data-disk-size", UNKNOWN, "", id="size-not-told"),
        pytest.param(no_bucket(GONE), "bucket", REFUSE, "gone", id="no-bucket"),
        pytest.param(no_bucket(DENIED), "bucket", UNKNOWN, "no", id="bucket-not-readable"),
        pytest.param(
            no_bucket(OssRefused("far", code="AccessDenied", endpoint="oss-x.aliyuncs.com")), "bucket", REFUSE, "",
            id="bucket-behind-another-endpoint",
        ),
        pytest.param(no_bucket(CloudUnavailable("silence")), "bucket", UNKNOWN, "silence", id="oss-silent"),
        pytest.param(no_bucket(InvalidInput("bad name")), "bucket", REFUSE, "bad name", id="bucket-name-impossible"),
        pytest.param(no_bucket(None), "bucket-region", UNKNOWN, "", id="bucket-region-not-seen"),
        pytest.param(bucket(region_id="cn-shanghai"), "bucket-region", REFUSE, "cn-shanghai", id="bucket-elsewhere"),
        pytest.param(bucket(storage_class="IA"), "storage-class", WARN, "extra", id="infrequent-access"),
        pytest.param(bucket(storage_class="Archive"), "storage-class", WARN, "restored", id="archive"),
        pytest.param(bucket(storage_class="ColdArchive"), "storage-class", WARN, "restored", id="cold-archive"),
        pytest.param(asked(prefix="Web2024"), "prefix", PASS, "Web2024", id="prefix"),
        pytest.param(asked(prefix=""), "prefix", PASS, "no prefix", id="prefix-none-at-all"),
        pytest.param(asked(prefix="a" * 30), "prefix", PASS, "", id="prefix-30"),
        pytest.param(asked(prefix="a" * 31), "prefix", REFUSE, "30", id="prefix-31"),
        pytest.param(asked(prefix="web/2024"), "prefix", REFUSE, "no folder", id="prefix-folder"),
        pytest.param(asked(prefix="web_1"), "prefix", REFUSE, "letters and digits", id="prefix-underscore"),
        pytest.param(asked(prefix="wéb"), "prefix", REFUSE, "letters and digits", id="prefix-accent"),
        pytest.param(asked(image_format="qcow3"), "image-format", REFUSE, "qcow2", id="format-unknown"),
        pytest.param(asked(image_format="qcow2"), "image-format", WARN, "probably RAW", id="format-not-in-this-region"),
        pytest.param(replace(asked(image_format="vhd"), region_id="us-west-1"), "image-format", PASS, "", id="format"),
        pytest.param(asked(role_name="MyRole"), "role", WARN, "invalid", id="role-of-another-name"),
        pytest.param(GOOD, "role", UNKNOWN, "known when it answers", id="role"),
        pytest.param(
            replace(asked(prefix="web"), existing_keys=("web_m-bp1image_system.raw.tar.gz",)),
            "name-collision", WARN, "web_m-bp1image_system.raw.tar.gz", id="objects-in-the-way",
        ),
        pytest.param(replace(asked(prefix="web"), existing_keys=None), "name-collision", UNKNOWN, "", id="not-listed"),
        # 240 GiB of disks: 720 GiB at worst, 72 GiB if they are 10 % full.
        pytest.param(replace(GOOD, free_space=720 * GIB), "free-space", PASS, "at most 720.0 GiB", id="room-for-all"),
        pytest.param(replace(GOOD, free_space=719 * GIB), "free-space", WARN, "over 99 % full", id="room-for-most"),
        pytest.param(replace(GOOD, free_space=71 * GIB), "free-space", REFUSE, "72.0 GiB needed", id="no-room"),
        pytest.param(replace(GOOD, free_space=None), "free-space", UNKNOWN, "", id="room-not-known"),
        pytest.param(
            replace(GOOD, free_space=GIB, limits=LIMITS.override(least_fill=0)), "free-space", WARN, "",
            id="no-room-overridden",
        ),
        pytest.param(
            replace(disk_of(4096 * GIB), limits=LIMITS.override(data_disk_size=8192 * GIB)), "data-disk-size", WARN, "",
            id="size-overridden",
        ),
        pytest.param(replace(GOOD, server_check=None), "server-check", UNKNOWN, "dry run", id="no-dry-run"),
    ],
)  # fmt: skip
def test_rule_gives_the_outcome(facts: PreflightFacts, rule: str, outcome: Outcome, words: str) -> None:
    finding = finding_of(facts, rule)
    assert finding.outcome is outcome, finding
    assert words in f"{finding.message} {finding.remedy}"


def test_good_image_breaks_no_rule() -> None:
    assert {finding.outcome for finding in check_preflight(GOOD) if finding.rule != "role"} == {PASS}
    refuse_if_needed(check_preflight(GOOD))


def test_every_rule_is_reported_when_nothing_is_known() -> None:
    nothing = PreflightFacts(request=GOOD.request, region_id="cn-hangzhou", image=None, bucket=None)
    assert [finding.rule for finding in check_preflight(nothing)] == RULES


def test_refusal_names_every_broken_rule_and_its_remedy() -> None:
    facts = replace(image(owner_alias="others", product_code="cmjj"), free_space=0, region_id="cn-shanghai")
    with pytest.raises(PreflightRefused) as caught:
        refuse_if_needed(check_preflight(facts))
    for rule in ("image-owner", "marketplace", "bucket-region", "free-space"):
        assert f"{rule}:" in caught.value.message
    for finding in check_preflight(facts):
        if finding.outcome is REFUSE:
            assert finding.remedy in caught.value.remedy


def test_unknown_and_warnings_do_not_refuse() -> None:
    refuse_if_needed(check_preflight(replace(bucket(storage_class="Archive"), free_space=None)))


def test_rendering_shows_every_rule_with_its_outcome_and_what_to_do() -> None:
    text = render_preflight(check_preflight(image(product_code="cmjj")))
    assert [line.split()[1] for line in text.splitlines() if not line.startswith(" ")] == RULES
    assert "refuse  marketplace" in text
    assert "→ such an image cannot be exported" in text


def test_rendering_shows_no_control_characters_of_the_cloud() -> None:
    text = render_preflight(
        check_preflight(image(name="\x1b[31mred", status="\x07", owner_alias="\x1b", os_name="\r\nok"))
    )
    assert not any(ord(character) < 32 and character != "\n" for character in text)


def test_image_finding_shows_the_disks() -> None:
    assert "xvda 40.0 GiB, xvdb 100.0 GiB" in finding_of(image("xvdb"), "image").message
