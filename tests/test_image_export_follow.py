"""Following a task: progress, queues, faults of the network, stops and cancels."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from emulator.server import EmulatedCloud, TaskFailure, Variants
from image_export.ecs import Ecs
from image_export.follow import cancel_task, follow_task
from image_export.request import ExportRequest
from image_export.sdk_failure import EcsRefused, EcsUnavailable
from image_export.task import TaskState
from migration.errors import CloudUnavailable, Interrupted
from migration.progress import Stop
from tests.conftest import BUCKET, IMAGE_ID
from tests.image_export_fixtures import CUT, HURRIED, Reply, answer, error, scripted_ecs

UNKNOWN_TASK = error(400, "InvalidTaskId.NotFound")
FINISHED = answer(TaskId="t-1", TaskStatus="Finished", TaskProcess="100%")


def processing(percent: str) -> Reply:
    return answer(TaskId="t-1", TaskStatus="Processing", TaskProcess=percent)


def start(cloud: EmulatedCloud, **variants: object) -> tuple[Ecs, str]:
    """Start an export in a cloud of these variants, and return the client and the task's id."""
    cloud.variants = Variants(**variants)  # type: ignore[arg-type]  # keyword by keyword, they are Variants' own
    ecs = Ecs(cloud.cloud, cloud.credentials)
    return ecs, ecs.export_image(ExportRequest(image_id=IMAGE_ID, bucket=BUCKET), "web")


def test_follow_waits_through_queue_and_export(emulated_cloud: EmulatedCloud) -> None:
    ecs, task_id = start(emulated_cloud, waiting_polls=2, export_polls=2)
    task = follow_task(ecs, task_id, policy=HURRIED)
    assert task.state is TaskState.FINISHED
    assert emulated_cloud.count("DescribeTaskAttribute") >= 4


@pytest.mark.parametrize("how", [TaskFailure.FAILED, TaskFailure.FINISHED])
def test_follow_returns_a_failed_task_too(emulated_cloud: EmulatedCloud, how: TaskFailure) -> None:
    ecs, task_id = start(emulated_cloud, failure=how)
    task = follow_task(ecs, task_id, policy=HURRIED)
    assert task.state.is_settled
    assert task.failed == 1


def test_follow_tells_progress_that_never_goes_back() -> None:
    told: list[tuple[int, int]] = []
    script = [processing(""), processing("30%"), processing("30%"), processing("20%"), processing("99%"), FINISHED]
    with scripted_ecs(script) as scripted:
        follow_task(scripted.ecs(), "t-1", policy=HURRIED, progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 100), (30, 100), (30, 100), (99, 100), (100, 100)]


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(CUT, id="connection-cut"),
        pytest.param(error(400, "Throttling.User"), id="throttled"),
        pytest.param(error(503, "ServiceUnavailable"), id="unavailable"),
        pytest.param(Reply(200, b"<html>"), id="page-of-a-proxy"),
        pytest.param(UNKNOWN_TASK, id="not-known-everywhere-yet"),
    ],
)
def test_follow_outlives_a_fault(fault: Reply) -> None:
    with scripted_ecs([fault, fault, FINISHED]) as scripted:
        task = follow_task(scripted.ecs(), "t-1", policy=replace(HURRIED, missing_task_patience=30.0))
    assert task.state is TaskState.FINISHED


def test_follow_outlives_each_fault_anew_when_there_are_answers_in_between() -> None:
    # Patience is for silence, not for all faults together: these would use it up several times over.
    policy = replace(HURRIED, first_interval=0.1, longest_interval=0.1, silence_patience=0.35)
    with scripted_ecs([CUT, processing("1%")] * 4 + [FINISHED]) as scripted:
        assert follow_task(scripted.ecs(), "t-1", policy=policy).state is TaskState.FINISHED


def test_follow_gives_up_when_there_is_no_answer_for_too_long() -> None:
    with scripted_ecs([CUT]) as scripted, pytest.raises(EcsUnavailable) as caught:
        follow_task(scripted.ecs(), "t-1", policy=replace(HURRIED, silence_patience=0.1))
    assert caught.value.transient


def test_follow_refuses_a_task_that_stays_unknown() -> None:
    with scripted_ecs([UNKNOWN_TASK]) as scripted, pytest.raises(EcsRefused) as caught:
        follow_task(scripted.ecs(), "t-1", policy=HURRIED)
    assert caught.value.code == "InvalidTaskId.NotFound"


def test_follow_does_not_repeat_a_refusal() -> None:
    with scripted_ecs([error(403, "Forbidden.RAM")]) as scripted, pytest.raises(EcsRefused, match=r"Forbidden\.RAM"):
        follow_task(scripted.ecs(), "t-1", policy=HURRIED)
    assert len(scripted.requests) == 1


def test_follow_goes_on_through_a_status_nobody_knows() -> None:
    with scripted_ecs([answer(TaskId="t-1", TaskStatus="Contemplating"), FINISHED]) as scripted:
        assert follow_task(scripted.ecs(), "t-1", policy=HURRIED).state is TaskState.FINISHED


def test_stop_leaves_the_task_running_and_says_so(emulated_cloud: EmulatedCloud) -> None:
    ecs, task_id = start(emulated_cloud, waiting_seconds=60)
    stop = Stop()
    with pytest.raises(Interrupted, match=task_id) as caught:
        follow_task(ecs, task_id, policy=HURRIED, stop=stop, progress=lambda *_: stop.set())
    assert "goes on in the cloud" in caught.value.remedy
    assert emulated_cloud.count("CancelTask") == 0
    assert not ecs.describe_task(task_id).state.is_settled


def test_stop_is_heard_during_a_long_interval(emulated_cloud: EmulatedCloud) -> None:
    ecs, task_id = start(emulated_cloud, waiting_seconds=60)
    stop = Stop()
    timer = threading.Timer(0.1, stop.set)
    timer.start()
    with pytest.raises(Interrupted):  # the test's own time limit is what an unheard stop would meet
        follow_task(ecs, task_id, policy=replace(HURRIED, first_interval=3600.0, longest_interval=3600.0), stop=stop)
    timer.join()


def test_stop_cancels_the_task_when_asked_and_waits_until_it_has_ended(emulated_cloud: EmulatedCloud) -> None:
    ecs, task_id = start(emulated_cloud, waiting_seconds=60)
    stop = Stop()
    with pytest.raises(Interrupted, match="is cancelled"):
        follow_task(
            ecs, task_id, policy=HURRIED, stop=stop, progress=lambda *_: stop.set(), cancel_on_stop=True
        )  # fmt: skip
    assert ecs.describe_task(task_id).state is TaskState.DELETED


def test_stop_that_comes_too_late_to_cancel_says_that_the_task_had_ended() -> None:
    script = [processing("99%"), error(403, "InvalidTaskId.IncorrectTaskStatus"), FINISHED]
    stop = Stop()
    with scripted_ecs(script) as scripted, pytest.raises(Interrupted, match="had ended as Finished before"):
        follow_task(
            scripted.ecs(), "t-1", policy=HURRIED, stop=stop, progress=lambda *_: stop.set(), cancel_on_stop=True
        )  # fmt: skip


def test_stop_whose_cancel_is_refused_says_so_and_is_a_stop_all_the_same() -> None:
    script = [processing("1%"), error(403, "Forbidden.RAM")]
    stop = Stop()
    with scripted_ecs(script) as scripted, pytest.raises(Interrupted, match=r"could not be cancelled.*Forbidden\.RAM"):
        follow_task(
            scripted.ecs(), "t-1", policy=HURRIED, stop=stop, progress=lambda *_: stop.set(), cancel_on_stop=True
        )  # fmt: skip


def test_cancel_gives_up_on_a_task_that_does_not_end() -> None:
    with (
        scripted_ecs([answer(), processing("1%")]) as scripted,
        pytest.raises(CloudUnavailable, match="still Processing"),
    ):
        cancel_task(scripted.ecs(), "t-1", policy=replace(HURRIED, cancel_patience=0.1))
