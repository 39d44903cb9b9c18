"""Which objects in a bucket count as those of an export, when others of the image lie beside them."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from emulator.server import EmulatedCloud
from image_export.collect import collect_objects
from image_export.objects import ObjectsMismatch
from image_export.request import Attempt, ExportRequest
from image_export.session import Session
from image_export.task import ExportTask
from tests.conftest import BUCKET
from tests.image_export_fixtures import HURRIED, make_image

NOW = int(time.time())
KEY = "web_m-bp1image_system.raw.tar.gz"
ATTEMPT = Attempt(
    request=ExportRequest(image_id="m-bp1image", bucket=BUCKET), image=make_image(), prefix="web", started=NOW
)
GIVEN = replace(ATTEMPT, request=replace(ATTEMPT.request, prefix="web"))


def task_created(at: int | None) -> ExportTask:
    return ExportTask(task_id="t-1", action="ExportImage", status="Finished", created=at)


@pytest.fixture
def session(emulated_cloud: EmulatedCloud) -> Session:
    """Return access to a bucket that holds one object of the image, made now."""
    emulated_cloud.put_object(BUCKET, KEY, b"disk")
    return Session(cloud=emulated_cloud.cloud, credentials=emulated_cloud.credentials, policy=HURRIED)


@pytest.mark.parametrize(
    ("attempt", "task"),
    [
        pytest.param(GIVEN, task_created(NOW), id="made-after-the-task"),
        pytest.param(GIVEN, task_created(NOW + 60), id="clocks-of-the-cloud-differ"),
        pytest.param(GIVEN, task_created(None), id="creation-time-not-told"),
        pytest.param(GIVEN, None, id="task-forgotten"),
        # A prefix made for this export needs no clock to tell its objects from others.
        pytest.param(ATTEMPT, task_created(NOW + 7200), id="prefix-of-its-own"),
    ],
)
def test_object_counts(session: Session, attempt: Attempt, task: ExportTask | None) -> None:
    assert [one.key for one in collect_objects(session, attempt, task)] == [KEY]


@pytest.mark.parametrize(
    ("attempt", "task"),
    [
        pytest.param(GIVEN, task_created(NOW + 7200), id="given-prefix"),
        pytest.param(replace(GIVEN, started=NOW + 7200), None, id="given-prefix-task-forgotten"),
        pytest.param(replace(ATTEMPT, prefix=None), task_created(NOW + 7200), id="prefix-not-known"),
    ],
)
def test_object_of_an_earlier_export_does_not_count(
    session: Session, attempt: Attempt, task: ExportTask | None
) -> None:
    with pytest.raises(ObjectsMismatch, match="older than this export"):
        collect_objects(session, attempt, task)
