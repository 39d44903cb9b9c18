"""Fixtures that several rooms share.

`account`         the folder of an emulated account: image `IMAGE_ID` with a system disk, xvdb and xvdc, and the empty
                  buckets `BUCKET` (same region) and `FAR_BUCKET` (another region)
`emulated_cloud`  that account's ECS and OSS, running on loopback; `.variants = …` changes how it behaves
`fake_tool`       puts a fake program on PATH
`make_raw`        makes a small RAW file of random data and holes

For an account of another shape, build one with `emulator.account` and run it with `emulator.server.emulated_cloud`.
"""

from __future__ import annotations

import os
import random
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emulator.account import add_image
from emulator.object_store import add_bucket
from emulator.server import EmulatedCloud
from emulator.server import emulated_cloud as run_emulated_cloud
from migration.disk import Disk, DiskFormat, DiskRole

# A module of the flows that a test imports hands the stages' loggers to Prefect, which there is no run for here.
os.environ["PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW"] = "ignore"

MIB = 1024**2
IMAGE_ID = "m-bp1emulatedimage0001"
BUCKET = "exports-hangzhou"
FAR_BUCKET = "exports-shanghai"

# What the cloud's own SDKs do, which we cannot mend: string escapes Python has grown wary of (a warning whenever
# they are compiled anew), and a clock call deprecated since 3.12.
_SDK_WARNINGS = (
    "ignore:invalid escape sequence:DeprecationWarning",
    "ignore:invalid escape sequence:SyntaxWarning",
    "ignore:datetime.datetime.utc:DeprecationWarning:oss2",
    "ignore:datetime.datetime.utc:DeprecationWarning:aliyunsdkcore",
    "ignore::PendingDeprecationWarning:openstack",  # of itself, whenever it connects
)

RawMaker = Callable[..., Path]
ToolMaker = Callable[[str, str], Path]


def pytest_configure(config: pytest.Config) -> None:
    """Except the SDKs from the rule that warnings are errors, and let the programs under test hear SIGINT."""
    for line in _SDK_WARNINGS:
        config.addinivalue_line("filterwarnings", line)
    # A shell starts background jobs with SIGINT ignored, and a program whose parent ignores it never sees Ctrl-C.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def write_raw(path: Path, size: int, *, seed: int = 0) -> Path:
    """Write a sparse file of `size` bytes: random data at the start, in the middle and at the very end.

    The same seed makes the same bytes. Most of it is a hole, as most of a real disk is.
    """
    source = random.Random(seed)
    with path.open("wb") as stream:
        stream.truncate(size)
        for offset in (0, size // 2 // 4096 * 4096, size - 512):
            stream.seek(offset)
            stream.write(source.randbytes(min(256 * 1024, size - offset)))
    return path


@pytest.fixture
def make_raw(tmp_path: Path) -> RawMaker:
    """Return a function (name, size, *, seed=0) that makes a RAW file in `tmp_path`; see `write_raw`."""

    def make(name: str, size: int, *, seed: int = 0) -> Path:
        return write_raw(tmp_path / name, size, seed=seed)

    return make


@pytest.fixture(scope="session")
def raw_disks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Disk, ...]:
    """Three RAW disks: system (12 MiB), xvdb (8 MiB), xvdc (5 MiB and 512 bytes). Do not write to them."""
    folder = tmp_path_factory.mktemp("raw-disks")
    sizes = {"xvda": 12 * MIB, "xvdb": 8 * MIB, "xvdc": 5 * MIB + 512}
    return tuple(
        Disk(
            device=device,
            role=DiskRole.SYSTEM if device == "xvda" else DiskRole.DATA,
            path=write_raw(folder / f"{device}.raw", size, seed=seed),
            format=DiskFormat.RAW,
            virtual_size=size,
        )
        for seed, (device, size) in enumerate(sizes.items())
    )


@pytest.fixture
def account(tmp_path: Path, raw_disks: tuple[Disk, ...]) -> Path:
    """Return the folder of an emulated account; see the module's first lines."""
    folder = tmp_path / "emulated-account"
    add_image(folder, IMAGE_ID, raw_disks, name="web-server")
    add_bucket(folder, BUCKET)
    add_bucket(folder, FAR_BUCKET, region_id="cn-shanghai")
    return folder


@pytest.fixture
def emulated_cloud(account: Path) -> Iterator[EmulatedCloud]:
    """Run the account's ECS and OSS for one test; to start and to end it takes about 0.1 s."""
    with run_emulated_cloud(account) as cloud:
        yield cloud


@pytest.fixture
def fake_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ToolMaker:
    """Return a function (name, script) that puts a POSIX shell script on PATH, before the real program."""
    folder = tmp_path / "fake-tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def make(name: str, script: str) -> Path:
        tool = folder / name
        tool.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
        return tool

    return make
