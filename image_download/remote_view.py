"""Shows the disks of an export where they lie in the bucket, so that a guest can be judged before it is downloaded.

object --ranges, as they are asked for--> RemoteDisk --NBD, a Unix socket--> ServedDisk
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from image_download.content import HEAD, find_packing
from image_download.nbd import serve_readonly
from image_download.ranged_source import open_source
from image_download.remote_disk import FOR_A_LOOK, BlockCache, Breakdown, RemoteDisk
from image_download.settings import DownloadSettings
from migration.cloud import Cloud
from migration.credentials import CredentialSource
from migration.disk import DiskFormat
from migration.errors import GuestError, Interrupted
from migration.exported_object import ExportedObject, Packing
from migration.progress import Stop, check_stop
from migration.served_disk import ServedDisk
from migration.storage import format_size

log = logging.getLogger(__name__)

LONGEST_SOCKET_FOLDER = 80  # bytes; the kernel takes 107 for the whole path of a socket


@dataclass(frozen=True)
class RemoteView:
    """The disks of one guest, and how much of them has been read so far."""

    disks: tuple[ServedDisk, ...]
    sources: tuple[RemoteDisk, ...]
    stop: Stop  # set when there is nothing more to see: someone asks us to stop, or a range could not be had

    @property
    def bytes_read(self) -> int:
        """Bytes that came from the bucket."""
        return sum(source.bytes_read for source in self.sources)

    @property
    def bytes_total(self) -> int:
        """Bytes that the disks have."""
        return sum(source.size for source in self.sources)


def is_readable_by_range(exported: ExportedObject) -> bool:
    """Return whether the object is, by its name, a bare disk: a place on it is the same place in the object."""
    return exported.packing is Packing.NONE and exported.format is DiskFormat.RAW


@contextmanager
def open_remote_disks(
    objects: Sequence[ExportedObject],
    cloud: Cloud,
    credentials: CredentialSource,
    *,
    settings: DownloadSettings = FOR_A_LOOK,
    stop: Stop | None = None,
) -> Iterator[RemoteView]:
    """Serve exported disks, read-only, for the length of the block; nothing of them is kept.

    Whatever the block made of a range that could not be had, it is left by the reason why it could not; what
    reads the disks does well to look at the view's own `stop`, so that it ends at once. Raises `SourceChanged`,
    `CloudUnavailable`, `CloudRefused`, and `GuestError` for objects that are not bare disks.
    """
    refuse_packed(objects)
    breakdown, cache = Breakdown(), BlockCache()
    try:
        with ExitStack() as stack:
            sources = []
            for exported in objects:
                source = stack.enter_context(open_source(exported, cloud, credentials, settings))
                sources.append(RemoteDisk(source, cache, breakdown, settings))
            _look_at_heads(sources, breakdown, stop)
            folder = stack.enter_context(_private_folder())
            view = RemoteView(
                disks=tuple(_serve(stack, source, folder) for source in sources),
                sources=tuple(sources), stop=_EitherStop(breakdown, stop),
            )  # fmt: skip
            log.info("Looking at %d disks (%s) in the bucket", len(sources), format_size(view.bytes_total))
            # Before the servers hang up: their threads may wait for a range that nobody wants any more.
            stack.callback(_end, sources, breakdown)
            yield view
    except Exception as error:
        is_wanted = isinstance(error, Interrupted) and stop is not None and stop.is_set()
        if breakdown.failure is None or breakdown.failure is error or is_wanted:
            raise
        raise breakdown.failure from error
    if breakdown.failure is not None:  # the block noticed nothing, but it cannot have seen the truth
        raise breakdown.failure


class _EitherStop(Stop):
    """An event that is also set as soon as nothing can be read any more."""

    def __init__(self, breakdown: Breakdown, stop: Stop | None) -> None:
        super().__init__()
        self._breakdown = breakdown
        self._stop = stop

    def is_set(self) -> bool:
        is_asked = self._stop is not None and self._stop.is_set()
        return is_asked or self._breakdown.halt.is_set() or super().is_set()


def refuse_packed(objects: Sequence[ExportedObject]) -> None:
    """Raise `GuestError` if any of the objects is not, by its name, a bare disk."""
    packed = [exported.key for exported in objects if not is_readable_by_range(exported)]
    if packed:
        raise _not_by_range(packed)


def _not_by_range(keys: Sequence[str]) -> GuestError:
    return GuestError(
        f"cannot be read by range, only bare .raw objects can: {', '.join(keys)}",
        "download the disks first (`ferry download`), then check them: ferry check-fstab --workspace FOLDER",
    )


def _look_at_heads(sources: Sequence[RemoteDisk], breakdown: Breakdown, stop: Stop | None) -> None:
    """Read the beginning of every disk, and refuse what is no bare disk whatever its name says."""
    with ThreadPoolExecutor(max_workers=len(sources)) as pool:
        looks = [pool.submit(source.read, 0, min(HEAD, source.size)) for source in sources]
        try:
            while wait(looks, timeout=0.2, return_when=FIRST_EXCEPTION).not_done:
                check_stop(stop)
                if any(look.done() and look.exception() for look in looks):
                    break
        finally:
            if not all(look.done() for look in looks):
                _end(sources, breakdown)
    heads = [bytes(look.result()) for look in looks]
    packed = [
        source.exported.key
        for source, head in zip(sources, heads, strict=True)
        if find_packing(source.exported, head) is not Packing.NONE
    ]
    if packed:
        raise _not_by_range(packed)


def _end(sources: Sequence[RemoteDisk], breakdown: Breakdown) -> None:
    """Make every thread that waits for bytes come home."""
    breakdown.halt.set()
    for source in sources:
        source.abort()


def _serve(stack: ExitStack, source: RemoteDisk, folder: Path) -> ServedDisk:
    exported = source.exported
    path = folder / exported.stem
    stack.enter_context(serve_readonly(source, path))
    return ServedDisk(
        device=exported.device, role=exported.role, name=exported.key.rpartition("/")[2],
        socket=path, virtual_size=source.size,
    )  # fmt: skip


@contextmanager
def _private_folder() -> Iterator[Path]:
    """Make a folder that nobody else may enter, with a name short enough for sockets."""
    usual = tempfile.gettempdir()
    parent = usual if len(usual.encode()) <= LONGEST_SOCKET_FOLDER else "/tmp"  # noqa: S108  # mkdtemp's are 0700
    with tempfile.TemporaryDirectory(prefix="ferry-nbd-", dir=parent) as name:
        yield Path(name)
