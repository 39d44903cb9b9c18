"""The stage as a whole, the real SDKs over sockets: one intent makes one task, whatever gets lost on the way."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emulator.account import AccountSettings, add_image, change_image, read_settings, write_settings
from emulator.object_store import add_bucket
from emulator.server import EmulatedCloud, ExportPacking, RelatedItems, TaskFailure, Variants
from emulator.server import emulated_cloud as run_emulated_cloud
from image_export.ecs import Ecs
from image_export.export import (
    Export,
    ExportFailed,
    ExportGone,
    ExportRequest,
    ObjectsMismatch,
    cancel_export,
    check_export,
    describe_image,
    export_image,
    find_exported_objects,
    forget_export,
    recorded_export,
)
from image_export.limits import LIMITS
from image_export.outcome import Outcome
from image_export.request import Attempt
from image_export.sdk_failure import EcsRefused, EcsUnavailable
from image_export.start import ATTEMPT
from image_export.task import TaskState
from migration.credentials import Credentials
from migration.disk import Disk, DiskFormat, DiskRole
from migration.errors import CloudUnavailable, Interrupted, PreflightRefused, WorkspaceMismatch
from migration.exported_object import Packing
from migration.journal import Journal
from migration.progress import Stop
from migration.workspace import Workspace, open_workspace
from tests.conftest import BUCKET, FAR_BUCKET, IMAGE_ID, write_raw
from tests.image_export_fixtures import HURRIED

REQUEST = ExportRequest(image_id=IMAGE_ID, bucket=BUCKET)
SLOW = Variants(waiting_seconds=60)


@pytest.fixture
def account(tmp_path: Path, small_disks: tuple[Disk, ...]) -> Path:
    """Return the account of the shared fixture with smaller disks: what is in them does not matter here."""
    folder = tmp_path / "emulated-account"
    add_image(folder, IMAGE_ID, small_disks, name="web-server")
    add_bucket(folder, BUCKET)
    add_bucket(folder, FAR_BUCKET, region_id="cn-shanghai")
    return folder


@pytest.fixture(scope="module")
def small_disks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Disk, ...]:
    """Return RAW disks xvda, xvdb and xvdc of 64 KiB."""
    folder = tmp_path_factory.mktemp("small-disks")
    return tuple(
        Disk(
            device=device,
            role=DiskRole.SYSTEM if device == "xvda" else DiskRole.DATA,
            path=write_raw(folder / device, 64 * 1024),
            format=DiskFormat.RAW,
            virtual_size=64 * 1024,
        )
        for device in ("xvda", "xvdb", "xvdc")
    )


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with open_workspace(tmp_path / "workspace") as opened:
        yield opened


def run(workspace: Workspace, cloud: EmulatedCloud, request: ExportRequest = REQUEST, **changes: Any) -> Export:
    return export_image(workspace, cloud.cloud, cloud.credentials, request, **{"policy": HURRIED, **changes})


def stopped_run(workspace: Workspace, cloud: EmulatedCloud, request: ExportRequest = REQUEST, **changes: Any) -> None:
    """Run until the task is seen for the first time, as far as a run gets that is killed then."""
    stop = Stop()
    with pytest.raises(Interrupted):
        run(workspace, cloud, request, stop=stop, progress=lambda *_: stop.set(), **changes)


def attempt_of(workspace: Workspace) -> Attempt:
    attempt = workspace.journal.get(ATTEMPT, Attempt)
    assert attempt is not None
    return attempt


def forget_task_id(workspace: Workspace) -> None:
    """Put the journal into the state of a run that was killed while it waited for ExportImage's answer."""
    workspace.journal.record(ATTEMPT, replace(attempt_of(workspace), task_id=""))


# --- the usual way ---


def test_export_returns_one_object_for_every_disk(emulated_cloud: EmulatedCloud, workspace: Workspace) -> None:
    told: list[tuple[int, int]] = []
    export = run(workspace, emulated_cloud, progress=lambda done, total: told.append((done, total)))
    assert [one.device for one in export.objects] == ["xvda", "xvdb", "xvdc"]
    stored = {one.key: one for one in emulated_cloud.objects(BUCKET)}
    for one in export.objects:
        assert (one.size, one.crc64, one.packing) == (stored[one.key].size, stored[one.key].crc64, Packing.TAR_GZIP)
        assert one.key.startswith(f"{export.prefix}_{IMAGE_ID}_")
    assert told[-1] == (100, 100)
    assert emulated_cloud.count("ExportImage") == 1


def test_export_makes_a_prefix_of_its_own(emulated_cloud: EmulatedCloud, tmp_path: Path) -> None:
    prefixes = set()
    for name in ("one", "two"):
        with open_workspace(tmp_path / name) as workspace:
            prefixes.add(run(workspace, emulated_cloud).prefix)
    assert len(prefixes) == 2
    assert all(prefix.isalnum() and 1 <= len(prefix) <= 30 for prefix in prefixes)


@pytest.mark.parametrize("prefix", ["web2024", ""])
def test_export_uses_the_prefix_it_is_given(emulated_cloud: EmulatedCloud, workspace: Workspace, prefix: str) -> None:
    export = run(workspace, emulated_cloud, replace(REQUEST, prefix=prefix))
    expected = f"{prefix}_{IMAGE_ID}" if prefix else IMAGE_ID
    assert export.objects[0].key == f"{expected}_system.raw.tar.gz"


@pytest.mark.parametrize(
    "variants",
    [
        pytest.param(Variants(export_task_id_key=True), id="ExportTaskId"),
        pytest.param(
            Variants(booleans_as_strings=True, times_without_seconds=True, old_action_names=True), id="old-pages"
        ),
        pytest.param(Variants(packing=ExportPacking.RAW), id="bare-raw"),
        pytest.param(Variants(joiner="-"), id="hyphen"),
        pytest.param(Variants(device_retired=True), id="no-devices"),
        pytest.param(Variants(related_items=RelatedItems.NONE), id="task-names-no-object"),
        pytest.param(Variants(related_items=RelatedItems.SYSTEM_DISK), id="task-names-one-object"),
        pytest.param(Variants(no_crc=True), id="no-crc"),
        pytest.param(Variants(waiting_polls=3, export_polls=3), id="queue"),
        pytest.param(Variants(throttle_calls=2), id="throttled-at-first"),
        pytest.param(Variants(throttle_calls=2, faulty_action="ExportImage"), id="throttled-at-export"),
        pytest.param(Variants(throttle_calls=2, faulty_action="DescribeTaskAttribute"), id="throttled-while-following"),
        pytest.param(Variants(unavailable_calls=2, faulty_action="DescribeTaskAttribute"), id="unavailable"),
        pytest.param(Variants(security_token="sts"), id="temporary-key"),
        pytest.param(Variants(denied_actions=frozenset({"oss:ListObjects"})), id="may-not-list"),
        pytest.param(Variants(denied_actions=frozenset({"oss:GetBucketInfo"})), id="may-not-see-the-bucket"),
    ],
)
def test_export_works_with_every_variant_and_calls_once(
    emulated_cloud: EmulatedCloud, workspace: Workspace, variants: Variants
) -> None:
    emulated_cloud.variants = variants
    export = run(workspace, emulated_cloud, replace(REQUEST, prefix="web"))
    assert [one.device for one in export.objects] == ["xvda", "xvdb", "xvdc"]
    assert len(emulated_cloud.tasks) == 1


def test_export_takes_its_own_objects_beside_those_of_earlier_exports(
    emulated_cloud: EmulatedCloud, workspace: Workspace
) -> None:
    for key in (
        f"old_{IMAGE_ID}_system.raw.tar.gz",
        f"{IMAGE_ID}_system.raw.tar.gz",
        f"{IMAGE_ID}_data_xvdd.raw.tar.gz",
    ):
        emulated_cloud.put_object(BUCKET, key, b"old")
    export = run(workspace, emulated_cloud)
    assert {one.key.split("_")[0] for one in export.objects} == {export.prefix}


def test_no_secret_is_in_journal_or_log(
    emulated_cloud: EmulatedCloud, workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    emulated_cloud.variants = Variants(security_token="temporary-token", lose_export_replies=1)
    run(workspace, emulated_cloud)
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("uvicorn")]  # the emulator's
    everything = "\n".join([*ours, workspace.journal.path.read_text()])
    assert IMAGE_ID in everything
    for secret in (emulated_cloud.access_key_secret, "temporary-token", "Signature="):
        assert secret not in everything


# --- refusals ---


def test_preflight_refuses_before_anything_is_exported(emulated_cloud: EmulatedCloud, workspace: Workspace) -> None:
    change_image(emulated_cloud.folder, IMAGE_ID, product_code="cmjj010", os_type="windows")
    with pytest.raises(PreflightRefused) as caught:
        run(workspace, emulated_cloud, replace(REQUEST, bucket=FAR_BUCKET, prefix="no/folder"))
    for rule in ("marketplace", "operating-system", "bucket", "prefix"):
        assert f"\n  {rule}" in caught.value.message
    assert emulated_cloud.count("ExportImage") == 0
    assert workspace.journal.steps() == []


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        pytest.param(replace(REQUEST, image_id="m-nosuchimage"), "sees no image m-nosuchimage", id="no-image"),
        pytest.param(replace(REQUEST, bucket="no-such-bucket"), "NoSuchBucket", id="no-bucket"),
        pytest.param(replace(REQUEST, bucket="Not_A_Bucket"), "bucket_name is invalid", id="bucket-name"),
        pytest.param(replace(REQUEST, bucket=FAR_BUCKET), "cn-shanghai", id="bucket-elsewhere"),
    ],
)
def test_preflight_names_what_does_not_exist(
    emulated_cloud: EmulatedCloud, workspace: Workspace, request_: ExportRequest, words: str
) -> None:
    with pytest.raises(PreflightRefused) as caught:
        run(workspace, emulated_cloud, request_)
    assert words in str(caught.value)


def test_preflight_limits_are_the_callers_to_override(emulated_cloud: EmulatedCloud, workspace: Workspace) -> None:
    with pytest.raises(PreflightRefused, match="data-disk-size"):
        run(workspace, emulated_cloud, limits=LIMITS.override(data_disk_size=1))
    run(workspace, emulated_cloud, limits=LIMITS.override(data_disk_size=2048 * 1024**3))


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("UserNotInTheWhiteList", "ticket"),
        ("NoSetRoletoECSServiceAcount", "AliyunECSImageExportDefaultRole"),
        ("WeeklyQuotaExceed.ExportImage", "week"),
        ("ImageNotSupported/encrypted", "unencrypted"),
    ],
)
def test_refusal_of_ecs_says_what_to_do_and_leaves_nothing_under_way(
    emulated_cloud: EmulatedCloud, workspace: Workspace, code: str, word: str
) -> None:
    change_image(emulated_cloud.folder, IMAGE_ID, refuse_export=code)
    with pytest.raises(EcsRefused) as caught:
        run(workspace, emulated_cloud)
    assert word in caught.value.remedy
    assert not caught.value.transient
    change_image(emulated_cloud.folder, IMAGE_ID, refuse_export="")
    run(workspace, emulated_cloud)  # once it is put right, the same command works
    assert emulated_cloud.count("ExportImage") == 2


def test_refused_request_may_be_changed_in_the_same_workspace(
    emulated_cloud: EmulatedCloud, workspace: Workspace
) -> None:
    change_image(emulated_cloud.folder, IMAGE_ID, refuse_export="InvalidOSSBucket.NotMatched")
    with pytest.raises(EcsRefused):
        run(workspace, emulated_cloud, replace(REQUEST, prefix="first"))
    change_image(emulated_cloud.folder, IMAGE_ID, refuse_export="")
    assert run(workspace, emulated_cloud, replace(REQUEST, prefix="second")).prefix == "second"


def test_busy_cloud_is_waited_for(account: Path, workspace: Workspace, small_disks: tuple[Disk, ...]) -> None:
    write_settings(account, AccountSettings(concurrent_exports=1))
    add_image(account, "m-bp1other", small_disks[:1])
    # The other export holds the only place until it has been looked at twice, which our policy never does:
    # so the place becomes free by time.
    with run_emulated_cloud(account, variants=Variants(export_seconds=0.3)) as cloud:
        Ecs(cloud.cloud, cloud.credentials).export_image(ExportRequest(image_id="m-bp1other", bucket=BUCKET), "other")
        run(workspace, cloud)
        assert cloud.count("ExportImage") > 2
        assert len(cloud.tasks) == 2


def test_busy_cloud_is_a_transient_failure_when_patience_ends(account: Path, workspace: Workspace) -> None:
    write_settings(account, read_settings(account).model_copy(update={"concurrent_exports": 0}))
    with run_emulated_cloud(account) as cloud, pytest.raises(EcsUnavailable, match="ConcurrentQuotaExceed") as caught:
        run(workspace, cloud, policy=replace(HURRIED, busy_patience=0.1))
    assert caught.value.transient
    assert not attempt_of(workspace).is_under_way


# --- one task for one intent ---


def test_intent_is_on_disk_before_the_cloud_is_asked(emulated_cloud: EmulatedCloud, workspace: Workspace) -> None:
    def keys_until_killed() -> Credentials:
        # Asked before every call: the one that finds an intent on the disk is about to sign ExportImage.
        on_disk = Journal(workspace.journal.path).get(ATTEMPT, Attempt)
        if on_disk is not None and on_disk.is_under_way:
            raise SystemExit("killed")
        return emulated_cloud.credentials()

    with pytest.raises(SystemExit):
        export_image(workspace, emulated_cloud.cloud, keys_until_killed, REQUEST, policy=HURRIED)
    assert emulated_cloud.count("ExportImage") == 0


@pytest.mark.parametrize("items", list(RelatedItems))
def test_lost_reply_is_recovered_with_one_call(
    emulated_cloud: EmulatedCloud, workspace: Workspace, items: RelatedItems
) -> None:
    emulated_cloud.variants = Variants(lose_export_replies=1, related_items=items)
    export = run(workspace, emulated_cloud)
    assert emulated_cloud.count("ExportImage") == 1
    assert export.task_id == emulated_cloud.tasks[0].task_id


def test_lost_call_is_made_again_once_no_task_has_come_of_it(
    emulated_cloud: EmulatedCloud, workspace: Workspace
) -> None:
    emulated_cloud.variants = Variants(lose_export_calls=1)
    run(workspace, emulated_cloud)
    assert emulated_cloud.count("ExportImage") == 2
    assert len(emulated_cloud.tasks) == 1


def test_lost_reply_is_not_mistaken_for_the_export_of_another_image(
    account: Path, workspace: Workspace, small_disks: tuple[Disk, ...]
) -> None:
    add_image(account, "m-bp1other", small_disks[:1])
    with run_emulated_cloud(account, variants=Variants(lose_export_calls=0)) as cloud:
        other = Ecs(cloud.cloud, cloud.credentials).export_image(
            ExportRequest(image_id="m-bp1other", bucket=BUCKET), "other"
        )
        cloud.variants = Variants(lose_export_calls=1)
        assert run(workspace, cloud).task_id != other


def test_lost_reply_adopts_a_task_that_says_nothing_and_drops_it_when_it_proves_another(
    account: Path, workspace: Workspace, small_disks: tuple[Disk, ...]
) -> None:
    add_image(account, "m-bp1other", small_disks[:1])
    mute = Variants(related_items=RelatedItems.NONE)
    with run_emulated_cloud(account, variants=mute) as cloud:
        other = Ecs(cloud.cloud, cloud.credentials).export_image(
            ExportRequest(image_id="m-bp1other", bucket=BUCKET), "other"
        )
        cloud.variants = replace(mute, lose_export_calls=1)
        with pytest.raises(ExportFailed, match=f"{other} may have been another export"):
            run(workspace, cloud)
        export = run(workspace, cloud)  # as the message says: the same command again
        assert export.task_id != other
        assert len(cloud.tasks) == 2


def test_lost_reply_drops_an_adopted_task_that_names_other_objects_in_the_end(
    account: Path, workspace: Workspace, small_disks: tuple[Disk, ...]
) -> None:
    add_image(account, "m-bp1other", small_disks[:1])
    mute = Variants(related_items=RelatedItems.NONE, export_seconds=0.5)
    with run_emulated_cloud(account, variants=mute) as cloud:
        Ecs(cloud.cloud, cloud.credentials).export_image(ExportRequest(image_id="m-bp1other", bucket=BUCKET), "other")
        cloud.variants = replace(mute, lose_export_calls=1)

        def speak(*_: int) -> None:
            cloud.variants = Variants()

        with pytest.raises(ExportFailed, match="turned out not to export"):
            run(workspace, cloud, progress=speak)
        run(workspace, cloud)
        assert len(cloud.tasks) == 2


def test_lost_call_is_not_taken_for_the_task_that_failed_before(
    emulated_cloud: EmulatedCloud, workspace: Workspace
) -> None:
    request = replace(REQUEST, prefix="web")  # the same names again: nothing but its id tells the old task
    emulated_cloud.variants = Variants(failure=TaskFailure.FAILED)
    with pytest.raises(ExportFailed):
        run(workspace, emulated_cloud, request)
    emulated_cloud.variants = Variants(lose_export_calls=1)
    assert run(workspace, emulated_cloud, request).task_id == emulated_cloud.tasks[1].task_id


def test_lost_reply_with_several_mute_tasks_names_them_and_waits_for_them_to_say_more(
    account: Path, workspace: Workspace, small_disks: tuple[Disk, ...]
) -> None:
    for name in ("m-bp1one", "m-bp1two"):
        add_image(account, name, small_disks[:1])
    mute = Variants(related_items=RelatedItems.NONE)
    with run_emulated_cloud(account, variants=mute) as cloud:
        ecs = Ecs(cloud.cloud, cloud.credentials)
        others = [
            ecs.export_image(ExportRequest(image_id=name, bucket=BUCKET), "other") for name in ("m-bp1one", "m-bp1two")
        ]
        cloud.variants = replace(mute, lose_export_replies=1)
        with pytest.raises(CloudUnavailable, match="several exports") as caught:
            run(workspace, cloud)
        assert all(task_id in caught.value.message for task_id in others)
        cloud.variants = Variants()
        run(workspace, cloud)
        assert cloud.count("ExportImage") == 3  # two of others, one of ours


def test_killed_run_is_followed_on_by_its_task_id(emulated_cloud: EmulatedCloud, workspace: Workspace) -> None:
    emulated_cloud.variants = Variants(waiting_polls=5)
    stopped_run(workspace, emulated_cloud)
    export = run(workspace, emulated_cloud)
    assert emulated_cloud.count("ExportImage") == 1
    assert export.task_id == attempt_of(workspace).task_id


@pytest.mark.parametrize("items", list(RelatedItems))
def test_killed_run_finds_its_task_when_the_answer_was_never_read(
    emulated_cloud: EmulatedCloud, workspace: Workspace, items: RelatedItems
) -> None:
    emulated_cloud.variants = Variants(waiting_polls=5, related_items=items)
    stopped_run(workspace, emulated_cloud)
    forget_task_id(workspace)
    export = run(workspace, emulated_cloud)
    assert emulated_cloud.count("ExportImage") == 1
    assert export.task_id == emulated_cloud.tasks[0].task_id


def test_killed_run_starts_again_when_its_call_was_never_made(
    emulated_cloud: EmulatedCloud, workspace: Workspace
) -> None:
    image = describe_image(emulated_cloud.cloud, emulated_cloud.credentials, IMAGE_ID)
    assert image is not None
    intent = Attempt(request=REQUEST, image=image, prefix="ferryneverstarted", started=int(time.time()))
    workspace.journal.record(ATTEMPT, intent)
    run(workspace, emulated_cloud)
    assert emulated_cloud.count("ExportImage") == 1


def test_running_export_of_the_image_is_adopted_when_the_journal_is_lost(
    emulated_cloud: EmulatedCloud, tmp_path: Path
) -> None:
    emulated_cloud.variants = Variants(waiting_polls=8)
    with open_workspace(tmp_path / "lost") as lost:
        stopped_run(lost, emulated_cloud)
        prefix = attempt_of(lost).prefix
    with open_workspace(tmp_path / "new") as workspace:
        export = run(workspace, emulated_cloud)
    assert export.prefix == prefix
    assert len(emulated_cloud.tasks) == 1


def test_running_export_that_says_nothing_is_adopted_and_its_prefix_read_off_its_objects(
    emulated_cloud: EmulatedCloud, tmp_path: Path
) -> None:
    emulated_cloud.variants = Variants(waiting_polls=20, related_items=RelatedItems.NONE)
    with open_workspace(tmp_path / "lost") as lost:
        stopped_run(lost, emulated_cloud)
        prefix = attempt_of(lost).prefix
    with open_workspace(tmp_path / "new") as workspace:
        assert run(workspace, emulated_cloud).prefix == prefix
    assert len(emulated_cloud.tasks) == 1


def test_running_export_to_another_bucket_is_waited_for_not_adopted(account: Path, workspace: Workspace) -> None:
    add_bucket(account, "other-exports")
    with run_emulated_cloud(account, variants=Variants(export_seconds=0.3)) as cloud:
        other = Ecs(cloud.cloud, cloud.credentials).export_image(replace(REQUEST, bucket="other-exports"), "other")
        export = run(workspace, cloud)
        assert export.task_id != other
        assert len(cloud.tasks) == 2


def test_running_export_with_another_prefix_than_the_one_asked_for_is_not_adopted(
    emulated_cloud: EmulatedCloud, workspace: Workspace
) -> None:
    emulated_cloud.variants = SLOW
    Ecs(emulated_cloud.cloud, emulated_cloud.credentials).export_image(REQUEST, "other")
    with pytest.raises(EcsUnavailable, match="ImageIsExporting"):
        run(workspace, emulated_cloud, replace(REQUEST, prefix="mine"), policy=replace(HURRIED, busy_patience=0.1))
    assert not attempt_of(workspace).is_under_way


# --- a task is believed only if everything agrees ---


@pytest.mark.parametrize("how", [TaskFailure.FAILED, TaskFailure.FINISHED])
def test_failed_task_is_an_error_and_the_next_run_starts_a_new_one(
    emulated_cloud: EmulatedCloud, workspace: Workspace, how: TaskFailure
) -> None:
    emulated_cloud.variants = Variants(failure=how)
    with pytest.raises(ExportFailed, match="FailedCount is 1") as caught:
        run(workspace, emulated_cloud)
    assert not caught.value.transient
    assert "starts a new export" in caught.value.remedy
    first = emulated_cloud.tasks[0].task_id
    emulated_cloud.variants = Variants()
    assert run(workspace, emulated_cloud).task_id != first


def test_task_cancelled_by_somebody_else_is_an_error_that_says_so(
    emulated_cloud: EmulatedCloud, workspace: Workspace
) -> None:
    emulated_cloud.variants = SLOW
    ecs = Ecs(emulated_cloud.cloud, emulated_cloud.credentials)

    def cancel(done: int, total: int) -> None:
        assert done < total
        ecs.cancel_task(attempt_of(workspace).task_id)

    with pytest.raises(ExportFailed, match="was cancelled"):
        run(workspace, emulated_cloud, progress=cancel)


def test_task_that_failed_while_nobody_looked_is_replaced_and_said_to_be(
    emulated_cloud: EmulatedCloud, workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    emulated_cloud.variants = Variants(waiting_polls=2, failure=TaskFailure.FAILED)
    stopped_run(workspace, emulated_cloud)
    ecs = Ecs(emulated_cloud.cloud, emulated_cloud.credentials)
    while not ecs.describe_task(attempt_of(workspace).task_id).state.is_settled:
        time.sleep(0.01)
    emulated_cloud.variants = Variants()
    caplog.set_level(logging.WARNING)
    run(workspace, emulated_cloud)
    assert "exporting anew" in caplog.text
    assert emulated_cloud.count("ExportImage") == 2


def test_finished_task_without_all_objects_is_not_believed(emulated_cloud: EmulatedCloud, workspace: Workspace) -> None:
    emulated_cloud.variants = Variants(waiting_polls=2)
    stopped_run(workspace, emulated_cloud)
    task_id = attempt_of(workspace).task_id
    ecs = Ecs(emulated_cloud.cloud, emulated_cloud.credentials)
    while not ecs.describe_task(task_id).state.is_settled:
        time.sleep(0.01)
    (lost,) = [one.key for one in emulated_cloud.objects(BUCKET) if "xvdc" in one.key]
    emulated_cloud.delete_object(BUCKET, lost)
    with pytest.raises(ObjectsMismatch, match="missing: no object for the data disk xvdc"):
        run(workspace, emulated_cloud)
    assert recorded_export(workspace) is None
    assert emulated_cloud.count("ExportImage") == 1


def test_objects_decide_when_the_cloud_has_forgotten_the_task(
    emulated_cloud: EmulatedCloud, workspace: Workspace
) -> None:
    export = run(workspace, emulated_cloud)
    workspace.journal.forget("export")
    workspace.journal.record(ATTEMPT, replace(attempt_of(workspace), task_id="t-longgone"))
    assert run(workspace, emulated_cloud).objects == export.objects
    emulated_cloud.delete_object(BUCKET, export.objects[0].key)
    workspace.journal.forget("export")
    with pytest.raises(ExportFailed, match="t-longgone is not known to the cloud any more"):
        run(workspace, emulated_cloud)


# --- a finished export ---


def test_finished_export_is_returned_again_without_a_new_task(
    emulated_cloud: EmulatedCloud, workspace: Workspace
) -> None:
    first = run(workspace, emulated_cloud)
    assert run(workspace, emulated_cloud) == first
    assert emulated_cloud.count("ExportImage") == 1


@pytest.mark.parametrize("what", ["deleted", "replaced"])
def test_finished_export_whose_object_is_lost_is_not_paid_for_twice_unasked(
    emulated_cloud: EmulatedCloud, workspace: Workspace, what: str
) -> None:
    key = run(workspace, emulated_cloud).objects[1].key
    if what == "deleted":
        emulated_cloud.delete_object(BUCKET, key)
    else:
        emulated_cloud.put_object(BUCKET, key, b"something else")
    with pytest.raises(ExportGone, match=key):
        run(workspace, emulated_cloud)
    assert emulated_cloud.count("ExportImage") == 1
    forget_export(workspace)
    run(workspace, emulated_cloud)
    assert emulated_cloud.count("ExportImage") == 2


@pytest.mark.parametrize(
    "other",
    [
        replace(REQUEST, image_id="m-bp1other"),
        replace(REQUEST, bucket=FAR_BUCKET),
        replace(REQUEST, prefix="web"),
        replace(REQUEST, image_format="vhd"),
    ],
    ids=["image", "bucket", "prefix", "format"],
)
@pytest.mark.parametrize("is_finished", [True, False], ids=["finished", "running"])
def test_workspace_of_one_export_refuses_another(
    emulated_cloud: EmulatedCloud, workspace: Workspace, other: ExportRequest, is_finished: bool
) -> None:
    if is_finished:
        run(workspace, emulated_cloud)
    else:
        emulated_cloud.variants = SLOW
        stopped_run(workspace, emulated_cloud)
    with pytest.raises(WorkspaceMismatch):
        run(workspace, emulated_cloud, other)


# --- stop and cancel ---


def test_stop_before_the_call_exports_nothing(emulated_cloud: EmulatedCloud, workspace: Workspace) -> None:
    stop = Stop()
    stop.set()
    with pytest.raises(Interrupted):
        run(workspace, emulated_cloud, stop=stop)
    assert emulated_cloud.count("ExportImage") == 0


def test_stop_that_cancels_leaves_a_workspace_that_starts_anew(
    emulated_cloud: EmulatedCloud, workspace: Workspace
) -> None:
    emulated_cloud.variants = SLOW
    stopped_run(workspace, emulated_cloud, cancel_on_stop=True)
    assert emulated_cloud.tasks[0].status == "Deleted"
    emulated_cloud.variants = Variants()
    run(workspace, emulated_cloud)
    assert emulated_cloud.count("ExportImage") == 2


def test_stop_does_not_cancel_an_export_that_somebody_else_started(
    emulated_cloud: EmulatedCloud, workspace: Workspace
) -> None:
    emulated_cloud.variants = SLOW
    Ecs(emulated_cloud.cloud, emulated_cloud.credentials).export_image(REQUEST, "theirs")
    stopped_run(workspace, emulated_cloud, cancel_on_stop=True)
    assert emulated_cloud.count("CancelTask") == 0


@pytest.mark.parametrize("answer_was_read", [True, False], ids=["task-known", "answer-lost"])
def test_cancel_ends_the_task_of_the_workspace(
    emulated_cloud: EmulatedCloud, workspace: Workspace, answer_was_read: bool
) -> None:
    emulated_cloud.variants = SLOW
    stopped_run(workspace, emulated_cloud)
    prefix = attempt_of(workspace).prefix
    emulated_cloud.put_object(BUCKET, f"{prefix}_{IMAGE_ID}_system.raw.tar.gz", b"left over")
    if not answer_was_read:
        forget_task_id(workspace)
    cancelled = cancel_export(workspace, emulated_cloud.cloud, emulated_cloud.credentials, policy=HURRIED)
    assert cancelled.task is not None
    assert cancelled.task.state is TaskState.DELETED
    assert cancelled.leftovers == (f"{prefix}_{IMAGE_ID}_system.raw.tar.gz",)
    emulated_cloud.variants = Variants()
    assert run(workspace, emulated_cloud).prefix != prefix


def test_cancel_of_nothing_asks_nothing(emulated_cloud: EmulatedCloud, workspace: Workspace) -> None:
    cancelled = cancel_export(workspace, emulated_cloud.cloud, emulated_cloud.credentials, policy=HURRIED)
    assert (cancelled.task, cancelled.leftovers) == (None, ())
    assert emulated_cloud.calls == []


def test_cancel_of_a_finished_export_leaves_it_alone(emulated_cloud: EmulatedCloud, workspace: Workspace) -> None:
    export = run(workspace, emulated_cloud)
    cancel_export(workspace, emulated_cloud.cloud, emulated_cloud.credentials, policy=HURRIED)
    assert run(workspace, emulated_cloud) == export


# --- looking only ---


def check(workspace: Workspace, cloud: EmulatedCloud, **changes: Any) -> dict[str, Outcome]:
    findings = check_export(
        workspace, cloud.cloud, cloud.credentials, changes.pop("request", REQUEST), policy=HURRIED, **changes
    )
    return {finding.rule: finding.outcome for finding in findings}


def test_check_asks_for_no_export(emulated_cloud: EmulatedCloud, workspace: Workspace) -> None:
    outcomes = check(workspace, emulated_cloud)
    assert outcomes["server-check"] is Outcome.UNKNOWN
    assert outcomes["image-status"] is Outcome.PASS
    assert emulated_cloud.count("ExportImage") == 0


def test_check_sees_objects_in_the_way(emulated_cloud: EmulatedCloud, workspace: Workspace) -> None:
    emulated_cloud.put_object(BUCKET, f"web_{IMAGE_ID}_system.raw.tar.gz", b"old")
    outcomes = check(workspace, emulated_cloud, request=replace(REQUEST, prefix="web"))
    assert outcomes["name-collision"] is Outcome.WARN


def test_dry_run_passes_and_exports_nothing(emulated_cloud: EmulatedCloud, workspace: Workspace) -> None:
    assert check(workspace, emulated_cloud, dry_run=True)["server-check"] is Outcome.PASS
    assert emulated_cloud.tasks == []
    run(workspace, emulated_cloud)
    assert len(emulated_cloud.tasks) == 1


def test_dry_run_reports_what_only_ecs_knows(emulated_cloud: EmulatedCloud, workspace: Workspace) -> None:
    change_image(emulated_cloud.folder, IMAGE_ID, refuse_export="NoSetRoletoECSServiceAcount")
    assert check(workspace, emulated_cloud, dry_run=True)["server-check"] is Outcome.REFUSE


def test_dry_run_is_not_asked_while_an_export_is_under_way(emulated_cloud: EmulatedCloud, workspace: Workspace) -> None:
    emulated_cloud.variants = SLOW
    stopped_run(workspace, emulated_cloud)
    check(workspace, emulated_cloud, dry_run=True)
    assert emulated_cloud.count("ExportImage") == 1


# --- exported by hand ---


def test_objects_exported_by_hand_are_found(emulated_cloud: EmulatedCloud, workspace: Workspace) -> None:
    export = run(workspace, emulated_cloud, replace(REQUEST, prefix="web"))
    cloud, credentials = emulated_cloud.cloud, emulated_cloud.credentials
    for prefix, image in (("web", export.image), (None, export.image), (None, None)):
        found = find_exported_objects(
            cloud, credentials, bucket=BUCKET, image_id=IMAGE_ID, prefix=prefix, image=image, policy=HURRIED
        )
        assert [one.key for one in found] == [one.key for one in export.objects]
    assert {one.crc64 for one in found} == {one.crc64 for one in export.objects}


def test_objects_of_two_exports_by_hand_need_a_prefix(emulated_cloud: EmulatedCloud, tmp_path: Path) -> None:
    for prefix in ("one", "two"):
        with open_workspace(tmp_path / prefix) as workspace:
            run(workspace, emulated_cloud, replace(REQUEST, prefix=prefix))
    with pytest.raises(ObjectsMismatch, match="ambiguous"):
        find_exported_objects(
            emulated_cloud.cloud, emulated_cloud.credentials, bucket=BUCKET, image_id=IMAGE_ID, policy=HURRIED
        )
