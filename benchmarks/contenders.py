"""The ways to bring an object home that are compared: ours, and what one would use instead today.

Each takes the object and an empty folder, and returns when the disk is there as a file.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import oss2
import pydantic.type_adapter  # noqa: F401  # no way that is Python pays for its imports; ours would do this one late

from image_download.download import download_disk
from image_download.settings import DownloadSettings
from image_download.unpack import unpack_disk
from migration.cloud import Cloud
from migration.credentials import Credentials
from migration.exported_object import ExportedObject, Packing
from migration.oss import open_bucket
from migration.workspace import open_workspace

PART = 16 * 1024**2  # bytes, for whoever can be told
CONNECTIONS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An object, where it is to be had, the file it is, and the disk that is in it."""

    url: str
    exported: ExportedObject
    file: Path
    disk: Path

    @property
    def cloud(self) -> Cloud:
        return Cloud(region_id="cn-hangzhou", oss_endpoint=self.url)

    @property
    def object_url(self) -> str:
        return f"{self.url}/{self.exported.bucket}/{self.exported.key}"


Way = Callable[[Place, Path], None]

# nginx looks at no signature; whoever signs does the work of signing all the same.
_KEYS = Credentials(access_key_id="LTAIbenchmark", access_key_secret="benchmark")  # noqa: S106  # opens nothing


def ferry(place: Place, folder: Path) -> None:
    """Download, prove, unpack."""
    with open_workspace(folder) as workspace:
        download_disk(workspace, place.cloud, lambda: _KEYS, place.exported, settings=DownloadSettings())


def ferry_unpack(place: Place, folder: Path) -> None:
    """Unpack a file that lies there already, and prove the disk from storage."""
    with place.file.open("rb") as packed:
        unpack_disk(
            packed, Packing.TAR_GZIP, folder / "system.raw", subject=place.file.name, size=place.exported.disk_size
        )


def oss2_resumable(place: Place, folder: Path) -> None:
    """oss2 as it is by itself, with its CRC-64 check."""
    _oss2(place, folder, crc=True)


def oss2_tuned(place: Place, folder: Path) -> None:
    """oss2 with eight threads and parts of 16 MiB, without the CRC-64 that costs it most."""
    _oss2(place, folder, crc=False, num_threads=8, part_size=PART)


class _QuotingSession(oss2.Session):  # type: ignore[misc]  # oss2 has no types
    """Sends ETags in quotes, as HTTP wants them: OSS takes what oss2 sends, nginx does not."""

    def do_request(self, request: oss2.http.Request, timeout: object) -> object:
        if "If-Match" in request.headers:
            request.headers["If-Match"] = f'"{request.headers["If-Match"]}"'
        return super().do_request(request, timeout)


def _oss2(place: Place, folder: Path, *, crc: bool, **options: int) -> None:
    bucket = open_bucket(place.cloud, lambda: _KEYS, place.exported.bucket, session=_QuotingSession())
    bucket.enable_crc = crc
    store = oss2.ResumableDownloadStore(root=str(folder))
    oss2.resumable_download(bucket, place.exported.key, str(folder / place.file.name), store=store, **options)


def ceiling(place: Place, folder: Path) -> None:
    """Read our ranges to /dev/null by four curls: what server and loopback can do on this machine."""
    parts = [(start, min(start + PART, place.exported.size) - 1) for start in range(0, place.exported.size, PART)]
    curls = []
    for number in range(CONNECTIONS):
        lines = [
            f'url = "{place.object_url}"\nrange = "{first}-{last}"\noutput = "/dev/null"\n'
            for first, last in parts[number::CONNECTIONS]
        ]
        config = folder / f"curl-{number}.conf"
        config.write_text("next\n".join(lines), encoding="utf-8")
        curls.append(subprocess.Popen(["curl", "-fsS", "--config", config]))
    statuses = [process.wait() for process in curls]
    if any(statuses):
        raise SystemExit("curl failed")


def disk_alone(place: Place, folder: Path) -> None:
    """Copy the disk from memory, holes kept, sync it and read it back: what this machine's disk takes for the rest."""
    target = folder / "system.raw"
    _run("dd", f"if={place.disk}", f"of={target}", "bs=1M", "conv=sparse,fsync", "status=none")
    _run("dd", f"if={target}", "of=/dev/null", "bs=1M", "iflag=direct", "status=none")


def curl(place: Place, folder: Path) -> None:
    """One curl, one connection."""
    _run("curl", "-fsS", "-o", folder / place.file.name, place.object_url)


def aria2c(place: Place, folder: Path) -> None:
    """aria2c as people call it for speed."""
    _run("aria2c", "-q", "-x16", "-s16", "-d", folder, place.object_url)


def rclone(place: Place, folder: Path) -> None:
    """rclone over plain HTTP, with as many streams as we have connections."""
    _run(
        "rclone", "copyto", "--config", "", "--http-url", place.url, "--multi-thread-cutoff", "16M",
        "--multi-thread-streams", CONNECTIONS, f":http:{place.exported.bucket}/{place.exported.key}",
        folder / place.file.name,
    )  # fmt: skip


def aria2c_tar(place: Place, folder: Path) -> None:
    """aria2c, then GNU tar."""
    aria2c(place, folder)
    _unpack(place, folder, "tar", "-xzSf")


def aria2c_pigz_tar(place: Place, folder: Path) -> None:
    """aria2c, then pigz into GNU tar."""
    aria2c(place, folder)
    _unpack(place, folder, "tar", "-I", "pigz", "-xSf")


def aria2c_bsdtar(place: Place, folder: Path) -> None:
    """aria2c, then bsdtar."""
    aria2c(place, folder)
    _unpack(place, folder, "bsdtar", "-xSf")


def oss2_tar(place: Place, folder: Path) -> None:
    """oss2 as it is by itself, then GNU tar."""
    oss2_resumable(place, folder)
    _unpack(place, folder, "tar", "-xzSf")


def _unpack(place: Place, folder: Path, program: str, *options: str) -> None:
    """Unpack what was fetched, by options of which the last takes the file, and drop the archive."""
    archive = folder / place.file.name
    _run(program, "-C", folder, *options, archive)
    archive.unlink()


def _run(*argv: str | Path | int) -> None:
    subprocess.run([str(word) for word in argv], check=True, stdin=subprocess.DEVNULL)
