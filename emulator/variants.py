"""Knows the ways in which the cloud is said, or feared, to behave differently from its usual self.

The defaults are what has really been seen; every other value is a contradiction between the vendor's
pages, an unknown, or a fault of the network. Counts are spent from the moment the variants are set.
"""

from __future__ import annotations

from dataclasses import dataclass

from migration.str_enum import StrEnum


class ExportPacking(StrEnum):
    """What an exported object is: `.raw.tar.gz` is what all real names end in, a bare `.raw` is only documented."""

    TAR_GZIP = "tar.gz"
    RAW = "raw"


class TarMember(StrEnum):
    """How the RAW file lies in the archive.

    Which one the cloud uses is unknown; the vendor's advice to unpack with gnu-tar suggests sparse.
    """

    PLAIN = "plain"
    GNU_SPARSE = "gnu-sparse"  # GNU tar's old format, type flag S
    PAX_SPARSE = "pax-sparse"  # GNU sparse format 1.0 in PAX headers


class RelatedItems(StrEnum):
    """Which objects DescribeTaskAttribute names. The vendor's sample has one disk; the rest is unknown."""

    EVERY_DISK = "every-disk"
    SYSTEM_DISK = "system-disk"
    NONE = "none"


class TaskFailure(StrEnum):
    """How a task that goes wrong says so. Which is true is unknown: the counters suggest the second."""

    NEVER = "never"
    FAILED = "failed"  # TaskStatus Failed
    FINISHED = "finished"  # TaskStatus Finished with FailedCount 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Variants:
    """How the emulated cloud behaves. `…_seconds` are seconds, `…_polls` calls of DescribeTaskAttribute for a task."""

    # Shape of the export.
    packing: ExportPacking = ExportPacking.TAR_GZIP
    tar_member: TarMember = TarMember.PLAIN
    joiner: str = "_"  # between prefix and image id; the console's help page says "-", no real name has it
    refuse_unsupported_format: bool = False  # an error where ImageFormat is not offered; the page's text says RAW

    # Shape of the answers.
    export_task_id_key: bool = False  # `ExportTaskId` for `TaskId`, as the older pages' samples have it
    booleans_as_strings: bool = False  # SupportCancel "true": the table says String, the sample shows a boolean
    times_without_seconds: bool = False  # "2015-11-23T02:13Z", as in the vendor's DescribeTaskAttribute sample
    old_action_names: bool = False  # EXPORT_IMAGE, as in the old DescribeTasks sample
    progress_key: str = "TaskProcess"  # a Japanese page says `Progress`
    related_items: RelatedItems = RelatedItems.EVERY_DISK
    device_retired: bool = False  # DiskDeviceMapping without Device: the vendor marks it as being retired

    # Course of the export.
    waiting_polls: int = 0  # the task is Waiting until it was looked at so often
    waiting_seconds: float = 0.0
    export_polls: int = 0  # … and then Processing until it was looked at so often
    export_seconds: float = 0.0
    failure: TaskFailure = TaskFailure.NEVER
    lose_export_calls: int = 0  # the first N ExportImage: the connection is cut and no task is made
    lose_export_replies: int = 0  # the first N: the task is made, the connection is cut before the answer

    # Faults of ECS: the first N calls of `faulty_action`, of any action where that is "".
    faulty_action: str = ""
    throttle_calls: int = 0
    throttle_code: str = "Throttling.User"
    unavailable_calls: int = 0  # 503 ServiceUnavailable

    # Faults of OSS: the first N GETs of objects.
    truncate_gets: int = 0  # half of the body, then an orderly end of the connection
    reset_gets: int = 0  # half of the body, then a reset
    stall_gets: int = 0  # half of the body, then nothing until the client hangs up
    corrupt_gets: int = 0  # one bit of the body is wrong
    unavailable_gets: int = 0  # 503 ServiceUnavailable
    replace_after_gets: int = 0  # an object is replaced by another of the same size after N GETs of it
    bytes_per_second: int = 0  # of each connection; 0 is as fast as it goes
    ignore_ranges: bool = False  # 200 and the whole object, as an out-of-bounds range without the standard header
    no_crc: bool = False  # no x-oss-hash-crc64ecma, as on some very old or copied objects

    clock_ahead_seconds: float = 0  # how far OSS's clock is ahead of this machine's; negative: behind

    # Archived objects.
    restore_heads: int = 1  # a restore is running for the first N HEADs after it was asked for
    archive_real_time: bool = False  # the bucket lets Archive objects be read without a restore

    # What RAM does not allow the keys to do: "ecs:ExportImage", "oss:GetObject", "oss:ListObjects", …
    denied_actions: frozenset[str] = frozenset()

    # A temporary key: without this token requests are refused.
    security_token: str = ""
    security_token_expired: bool = False
