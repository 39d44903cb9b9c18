"""Whose task it is, by what it says of itself."""

from __future__ import annotations

import pytest

from image_export.own_task import Likeness, judge_likeness
from image_export.request import Attempt, ExportRequest
from image_export.task import ExportTask, Operation
from tests.image_export_fixtures import make_image

ATTEMPT = Attempt(request=ExportRequest(image_id="m-bp1image", bucket="exports"), image=make_image(), prefix="ours")


def task(*items: tuple[str, str], resources: tuple[str, ...] = ()) -> ExportTask:
    operation = Operation(status="Processing", error_code="", error_message="", items=items)
    return ExportTask(
        task_id="t-1", action="ExportImage", status="Processing", resource_ids=resources, operations=(operation,)
    )


BUCKET, FAR = ("OSSBucket", "exports"), ("OSSBucket", "elsewhere")
OURS, THEIRS = ("OSSObject", "ours_m-bp1image_system.raw.tar.gz"), ("OSSObject", "x_m-bp1image_system.raw.tar.gz")
STRANGE = ("OSSObject", "ours_m-bp1other_system.raw.tar.gz")


@pytest.mark.parametrize(
    ("told", "prefix", "likeness"),
    [
        pytest.param(task(), "ours", Likeness.POSSIBLE, id="says-nothing"),
        pytest.param(task(BUCKET), "ours", Likeness.POSSIBLE, id="bucket-alone"),
        pytest.param(task(FAR), "ours", Likeness.OTHER, id="another-bucket"),
        pytest.param(task(BUCKET, OURS), "ours", Likeness.OURS, id="bucket-and-object"),
        pytest.param(task(OURS), "ours", Likeness.OURS, id="object-alone"),
        pytest.param(task(FAR, OURS), "ours", Likeness.OTHER, id="same-object-in-another-bucket"),
        pytest.param(task(BUCKET, THEIRS), "ours", Likeness.OTHER, id="another-prefix"),
        pytest.param(task(BUCKET, THEIRS), None, Likeness.OURS, id="another-prefix-where-any-will-do"),
        pytest.param(task(BUCKET, STRANGE), "ours", Likeness.OTHER, id="another-image"),
        pytest.param(task(("OSSObject", "a-b-c")), "ours", Likeness.POSSIBLE, id="object-of-no-known-name"),
        pytest.param(task(resources=("m-bp1image",)), "ours", Likeness.OURS, id="resource-is-the-image"),
        pytest.param(task(resources=("m-bp1other",)), "ours", Likeness.OTHER, id="resource-is-another-image"),
        pytest.param(task(resources=("i-bp1instance",)), "ours", Likeness.POSSIBLE, id="resource-is-no-image"),
    ],
)
def test_task_is_judged(told: ExportTask, prefix: str | None, likeness: Likeness) -> None:
    assert judge_likeness(told, ATTEMPT, prefix=prefix) is likeness
