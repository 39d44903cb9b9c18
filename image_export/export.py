"""Exports a custom image to a bucket: checks, starts, follows, and believes only objects; resumable at any point.

The journal has two steps: `export-attempt`, from before ExportImage is called, and `export`, once there
is one object for every disk. Running the same command again goes on from whichever is there.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from image_export.collect import collect_objects, find_exported_objects, find_lost_objects, list_objects
from image_export.ecs import UNKNOWN_TASK
from image_export.error_codes import find_advice
from image_export.follow import cancel_task, follow_task
from image_export.gather import ask_dry_run, gather_facts
from image_export.limits import LIMITS, Limits
from image_export.objects import ObjectsMismatch, parse_object_name
from image_export.own_task import Likeness, judge_likeness
from image_export.policy import Policy
from image_export.preflight import PreflightFinding, check_preflight, refuse_if_needed, render_preflight
from image_export.request import Attempt, Export, ExportRequest, new_prefix
from image_export.sdk_failure import EcsRefused
from image_export.session import REAL_CLOUD, Session
from image_export.start import ATTEMPT, recover_export, start_export
from image_export.task import ExportTask, TaskState, find_doubts
from migration.cloud import Cloud
from migration.credentials import CredentialSource, redacted
from migration.errors import CloudRefused, WorkspaceMismatch
from migration.image import Image
from migration.progress import Progress, Stop, no_progress
from migration.workspace import Workspace

__all__ = [
    "Cancellation", "Export", "ExportFailed", "ExportGone", "ExportRequest", "ObjectsMismatch", "cancel_export",
    "check_export", "describe_image", "export_image", "find_exported_objects", "forget_export", "recorded_export",
]  # fmt: skip

log = logging.getLogger(__name__)

EXPORT = "export"  # the journal's step


class ExportFailed(CloudRefused):
    """The cloud ended the task without the whole export; the next run starts a new one."""


class ExportGone(CloudRefused):
    """The objects of a finished export are gone or were replaced. Nothing is exported again unasked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellation:
    """What came of cancelling: the task as it ended, None where there was none, and objects left in the bucket."""

    task: ExportTask | None
    leftovers: tuple[str, ...] = ()


def export_image(
    workspace: Workspace, cloud: Cloud, credentials: CredentialSource, request: ExportRequest,
    *, limits: Limits = LIMITS, policy: Policy = REAL_CLOUD, progress: Progress = no_progress,
    stop: Stop | None = None, cancel_on_stop: bool = False,
) -> Export:  # fmt: skip
    """Return the image's export, made now or by an earlier run of this workspace.

    `progress` is told (per cent, 100). A `stop` leaves the task running in the cloud, to be followed on
    by the next run, unless `cancel_on_stop`. Raises `PreflightRefused` with every broken rule before
    anything is exported; `CloudRefused` with what to do, or its transient kind `CloudUnavailable`;
    `ExportFailed`, `ExportGone`, `ObjectsMismatch`; `WorkspaceMismatch` if the workspace serves another
    export; `Interrupted`.
    """
    work = _Run(workspace, Session(cloud=cloud, credentials=credentials, policy=policy, stop=stop))
    done = recorded_export(workspace)
    attempt = workspace.journal.get(ATTEMPT, Attempt)
    if attempt is not None and attempt.is_under_way:
        _check_same(request, replace(attempt.request, prefix=done.prefix if done is not None else attempt.prefix))
    if done is not None:
        return work.verify(done)
    if attempt is not None and attempt.is_under_way:
        attempt = work.resume(attempt)
    if attempt is None or not attempt.is_under_way:
        attempt = work.begin(request, attempt, limits)
    export = work.finish(attempt, progress, cancel_on_stop=cancel_on_stop)
    workspace.journal.record(EXPORT, export)
    return export


def check_export(
    workspace: Workspace, cloud: Cloud, credentials: CredentialSource, request: ExportRequest,
    *, limits: Limits = LIMITS, policy: Policy = REAL_CLOUD, dry_run: bool = False, stop: Stop | None = None,
) -> tuple[PreflightFinding, ...]:  # fmt: skip
    """Return what the preflight says, and export nothing.

    `dry_run` asks ECS as well, as its last word on role, quota and licence. It is not asked by default,
    and never on the way to a real export: that call gives the same answers at once and free of charge,
    while a cloud that does not know the parameter starts an export. Such an export is recorded, said to
    be running, and followed by the next `export_image`.
    """
    session = Session(cloud=cloud, credentials=credentials, policy=policy, stop=stop)
    facts = gather_facts(session, request, workspace.path, limits=limits)
    attempt = workspace.journal.get(ATTEMPT, Attempt)
    is_busy = recorded_export(workspace) is not None or (attempt is not None and attempt.is_under_way)
    if dry_run and facts.image is not None and not is_busy:
        finding = ask_dry_run(session.ecs, workspace.journal, _new_attempt(request, facts.image, attempt))
        facts = replace(facts, server_check=finding)
    return check_preflight(facts)


def recorded_export(workspace: Workspace) -> Export | None:
    """Return the export this workspace has finished, as it was then, without asking the cloud."""
    return workspace.journal.get(EXPORT, Export)


def forget_export(workspace: Workspace) -> None:
    """Forget a finished export, so that the next run makes a new one, which costs again. Objects stay."""
    attempt = workspace.journal.get(ATTEMPT, Attempt)
    if attempt is not None:
        workspace.journal.record(ATTEMPT, attempt.closed())
    workspace.journal.forget(EXPORT)


def cancel_export(
    workspace: Workspace, cloud: Cloud, credentials: CredentialSource,
    *, policy: Policy = REAL_CLOUD, stop: Stop | None = None,
) -> Cancellation:  # fmt: skip
    """Cancel the export task of this workspace, and say what is left in the bucket: it is kept and billed.

    What the cloud does with objects already written is not documented. A task that had ended as Finished
    stays recorded: the next run takes its objects.
    """
    session = Session(cloud=cloud, credentials=credentials, policy=policy, stop=stop)
    attempt = workspace.journal.get(ATTEMPT, Attempt)
    if recorded_export(workspace) is not None or attempt is None or not attempt.is_under_way:
        return Cancellation(task=None)
    if not attempt.task_id:
        attempt = recover_export(session, workspace.journal, attempt)
    if attempt is None:
        return Cancellation(task=None)
    task = cancel_task(session.ecs, attempt.task_id, policy=policy, stop=stop)
    if task.state is not TaskState.FINISHED:
        workspace.journal.record(ATTEMPT, attempt.closed())
    return Cancellation(task=task, leftovers=tuple(found.key for found in list_objects(session, attempt, task)))


def describe_image(
    cloud: Cloud, credentials: CredentialSource, image_id: str, *, policy: Policy = REAL_CLOUD, stop: Stop | None = None
) -> Image | None:
    """Return an image in whatever status, or None where the account sees none of this id in the region."""
    session = Session(cloud=cloud, credentials=credentials, policy=policy, stop=stop)
    return session.insist(lambda: session.ecs.describe_image(image_id))


class _Run:
    """One run of this stage on one workspace."""

    def __init__(self, workspace: Workspace, session: Session) -> None:
        self.workspace, self.journal, self.session = workspace, workspace.journal, session

    def verify(self, done: Export) -> Export:
        """Return a finished export if its objects are still those of then."""
        lost = find_lost_objects(self.session, done)
        if lost:
            raise ExportGone(
                f"{done.image.image_id} was exported by task {done.task_id}, but in bucket {done.bucket} these objects "
                f"are gone or were replaced: {', '.join(lost)}",
                "disks that are downloaded already are not affected. Deleted by hand or by a lifecycle rule? "
                "To export once more, which costs again, say so (ferry export --again)",
            )
        log.info("%s is exported already, by task %s", done.image.image_id, done.task_id)
        return done

    def resume(self, attempt: Attempt) -> Attempt:
        """Return an attempt of an earlier run with its task, or closed if nothing of it is under way any more."""
        if not attempt.task_id:
            return recover_export(self.session, self.journal, attempt) or attempt.closed()
        try:
            task = self.session.insist(lambda: self.session.ecs.describe_task(attempt.task_id))
        except EcsRefused as error:
            if error.code == UNKNOWN_TASK:
                return attempt  # it may be too new or too old: `finish` finds out
            raise
        reasons = _why_failed(task)
        if reasons:
            log.warning("Export task %s has failed (%s): exporting anew", attempt.task_id, "; ".join(reasons))
            return self._close(attempt)
        log.info("Following export task %s on", attempt.task_id)
        return attempt

    def begin(self, request: ExportRequest, earlier: Attempt | None, limits: Limits) -> Attempt:
        """Check everything, then start a new export."""
        facts = gather_facts(self.session, request, self.workspace.path, limits=limits)
        findings = check_preflight(facts)
        log.info("Preflight of %s:\n%s", redacted(request.image_id), render_preflight(findings))
        refuse_if_needed(findings)
        assert facts.image is not None  # noqa: S101  # a missing image is refused
        attempt = _new_attempt(request, facts.image, earlier)
        log.info("Exporting %s to bucket %s with prefix %r", request.image_id, request.bucket, attempt.prefix)
        return start_export(self.session, self.journal, attempt)

    def finish(self, attempt: Attempt, progress: Progress, *, cancel_on_stop: bool) -> Export:
        """Follow the attempt's task to its end and return the export, or raise why there is none."""
        session = self.session
        task: ExportTask | None = None
        try:
            task = follow_task(
                session.ecs, attempt.task_id, policy=session.policy, progress=progress, stop=session.stop,
                cancel_on_stop=cancel_on_stop and not attempt.is_adopted,
            )  # fmt: skip
        except EcsRefused as error:
            if error.code != UNKNOWN_TASK:
                raise
            log.warning("The cloud does not know export task %s any more; its objects decide", attempt.task_id)
        if task is not None:
            self._refuse_if_failed(attempt, task)
        try:
            objects = collect_objects(session, attempt, task)
        except ObjectsMismatch as error:
            if task is not None and not attempt.is_adopted:
                raise
            self._close(attempt)
            why = "is not known to the cloud any more" if task is None else "may have been another export"
            raise ExportFailed(
                f"export task {attempt.task_id} {why}; {error.message}", "run the same command again to export anew"
            ) from error
        name = parse_object_name(objects[0].key)
        prefix = attempt.prefix if attempt.prefix is not None else name.prefix if name is not None else ""
        return Export(
            image=attempt.image, bucket=attempt.request.bucket, prefix=prefix, task_id=attempt.task_id, objects=objects
        )

    def _close(self, attempt: Attempt) -> Attempt:
        """Record that nothing of `attempt` is under way any more."""
        attempt = attempt.closed()
        self.journal.record(ATTEMPT, attempt)
        return attempt

    def _refuse_if_failed(self, attempt: Attempt, task: ExportTask) -> None:
        """Raise `ExportFailed`, and close the attempt, if a settled task did not export what was asked for."""
        request = attempt.request
        if judge_likeness(task, attempt, prefix=attempt.prefix) is Likeness.OTHER:
            self._close(attempt)
            raise ExportFailed(
                f"export task {task.task_id} has turned out not to export {request.image_id} to {request.bucket}",
                "run the same command again: it looks for its own task, and exports if there is none",
            )
        reasons = _why_failed(task)
        if reasons:
            self._close(attempt)
            codes = [operation.error_code for operation in task.operations if operation.has_error]
            advice = f"{find_advice(codes[0]).remedy}; " if codes else ""
            raise ExportFailed(
                f"{request.image_id}: export task {task.task_id} has failed: {'; '.join(reasons)}",
                f"{advice}the same command starts a new export; look for leftovers in bucket {request.bucket}",
            )


def _new_attempt(request: ExportRequest, image: Image, earlier: Attempt | None) -> Attempt:
    return Attempt(
        request=request,
        image=image,
        prefix=new_prefix() if request.prefix is None else request.prefix,
        excluded=earlier.excluded if earlier is not None else (),
    )


def _check_same(asked: ExportRequest, known: ExportRequest) -> None:
    """Raise `WorkspaceMismatch` if the workspace has another export than the one asked for."""
    same_prefix = asked.prefix is None or asked.prefix == known.prefix
    same_format = (asked.image_format or "raw") == (known.image_format or "raw")
    if (asked.image_id, asked.bucket) == (known.image_id, known.bucket) and same_prefix and same_format:
        return
    raise WorkspaceMismatch(
        f"this workspace has an export of {_describe(known)}; asked for {_describe(asked)}", "use another workspace"
    )


def _describe(request: ExportRequest) -> str:
    prefix = "" if request.prefix is None else f", prefix {request.prefix!r}"
    return redacted(f"{request.image_id} as {request.image_format or 'raw'} to bucket {request.bucket}{prefix}")


def _why_failed(task: ExportTask) -> tuple[str, ...]:
    """Return why a task is settled without success, nothing if it succeeded or still goes on."""
    doubts = find_doubts(task)
    if task.state is TaskState.FINISHED:
        return doubts
    if task.state is TaskState.DELETED:
        return ("it was cancelled", *doubts)
    if task.state.is_settled:
        return (f"it is {redacted(task.status)}", *doubts)
    return ()
