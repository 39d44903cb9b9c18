"""A download that is killed at any moment, again and again, ends identical and repeats only what was on its way."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from emulator.server import EmulatedCloud, Variants
from migration.exported_object import ExportedObject, Packing
from tests.conftest import RawMaker
from tests.image_download_fixtures import KIB, MIB, open_home, pack_tar, put_disk

KILLS = 32  # for each kind of object
PART = 64 * KIB
CONNECTIONS = 4

# Imports once, then downloads in a forked child for each line of its input, which says after how many seconds
# the child is killed; answers "killed", or the child's exit status.
ZYGOTE = """
import json, os, signal, sys, time
from pathlib import Path
from image_download.download import download_disk
from image_download.settings import DownloadSettings
from migration.cloud import Cloud
from migration.credentials import Credentials
from migration.exported_object import ExportedObject
from migration.workspace import open_workspace
from pydantic import TypeAdapter

given = json.loads(sys.stdin.readline())
exported = TypeAdapter(ExportedObject).validate_python(given["exported"])
cloud = Cloud(region_id="cn-hangzhou", oss_endpoint=given["endpoint"])
keys = Credentials(access_key_id=given["id"], access_key_secret=given["secret"])
settings = DownloadSettings(part_size=given["part_size"], connections=given["connections"])
for line in sys.stdin:
    workspace, delay = json.loads(line)
    child = os.fork()
    if child == 0:
        with open_workspace(Path(workspace)) as opened:
            download_disk(opened, cloud, lambda: keys, exported, settings=settings)
        os._exit(0)
    deadline = time.monotonic() + delay
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid or time.monotonic() > deadline:
            break
        time.sleep(0.001)
    if not pid:
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    print("killed" if os.WIFSIGNALED(status) else os.WEXITSTATUS(status), flush=True)
"""


class Victim:
    """Downloads into one workspace after the other, and is killed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def attempt(self, workspace: Path, delay: float) -> str:
        """Download for `delay` seconds; return "killed", or the exit status of a download that ended by itself."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(workspace), delay]) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


@contextmanager
def victim_of(cloud: EmulatedCloud, exported: ExportedObject) -> Iterator[Victim]:
    given = {
        "exported": TypeAdapter(ExportedObject).dump_python(exported, mode="json"), "endpoint": cloud.oss_endpoint,
        "id": cloud.access_key_id, "secret": cloud.access_key_secret, "part_size": PART, "connections": CONNECTIONS,
    }  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-c", ZYGOTE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=Path(__file__).parent.parent,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(json.dumps(given) + "\n")
        process.stdin.flush()
        yield Victim(process)
        process.stdin.close()


@pytest.mark.slow
@pytest.mark.parametrize("packing", [Packing.NONE, Packing.TAR_GZIP])
def test_download_killed_at_any_moment_ends_identical(
    packing: Packing, tmp_path: Path, emulated_cloud: EmulatedCloud, make_raw: RawMaker
) -> None:
    raw = make_raw("system.raw", 3 * MIB, seed=5)
    content = raw if packing is Packing.NONE else pack_tar(raw)
    key = f"m-bp1test_system.raw{'' if packing is Packing.NONE else '.tar.gz'}"
    exported = put_disk(emulated_cloud, content, key=key, packing=packing, disk_size=3 * MIB)
    emulated_cloud.variants = Variants(bytes_per_second=500_000)  # a part takes an eighth of a second
    chance, kills, rounds, repeated = random.Random(str(packing)), 0, 0, 0
    with victim_of(emulated_cloud, exported) as victim:
        while kills < KILLS:
            workspace, longest, before = tmp_path / str(rounds), 0.4, len(emulated_cloud.requests)
            while (ended := victim.attempt(workspace, chance.uniform(0, longest))) == "killed":
                kills += 1
                longest += 0.05  # a slow machine comes through, too
            assert ended == "0"
            rounds += 1
            assert (workspace / "disks" / "system.raw").read_bytes() == raw.read_bytes()
            asked = [found for method, _, found in emulated_cloud.requests[before:] if method == "GET"]
            repeated += len(asked) - len(set(asked))
    assert repeated <= kills * CONNECTIONS
    with open_home(emulated_cloud, tmp_path / "0") as home:
        assert home.left_behind == []
