"""Nothing secret is in anything that a run leaves behind, or shows to the programs it starts."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from emulator.account import AccountSettings, add_image
from emulator.folder import write_model
from emulator.object_store import add_bucket
from emulator.server import EmulatedCloud, Variants, emulated_cloud
from migration.disk import Disk
from tests.conftest import BUCKET
from tests.prefect_fixtures import PROJECT
from tests.scale_out_fixtures import Site, needs_postgres, running_site
from tests.test_flows_scale_out import image_id, small_disk, start, wait_for

__all__ = ["small_disk"]

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive, needs_postgres, pytest.mark.timeout(1500)]

SECRET, TOKEN = "kqTz8SecretHalfOfTheKey5vWn", "CAIS/token+of/the+session/9xQ=="
ACCESS_KEY = "LTAI5tSecretsTest"
KEYS = {
    "ALIBABA_CLOUD_ACCESS_KEY_ID": ACCESS_KEY,
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": SECRET,
    "ALIBABA_CLOUD_SECURITY_TOKEN": TOKEN,
}
# Saves what the environment names, as the form in the UI would.
SAVE = """
import os
from flows.credentials_block import AlibabaCloudCredentials
AlibabaCloudCredentials(
    kind="STS", access_key_id=os.environ["KEY"],
    access_key_secret=os.environ["HALF"], security_token=os.environ["TOKEN"],
).save("prod", overwrite=True)
"""
READ_AGAIN = """
import json, os, sys
from flows import credentials_block
credentials_block.READ_AGAIN = 0
source = credentials_block.load_credentials("prod")
before = source()
credentials_block.AlibabaCloudCredentials(
    kind="STS", access_key_id="LTAI5tNext", access_key_secret="next", security_token="next-token"
).save("prod", overwrite=True)
after = source()
print(json.dumps([before.access_key_id, after.access_key_id, after.security_token, after.source]))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("site"), {}) as found:
        yield found


@pytest.fixture
def cloud(tmp_path_factory: pytest.TempPathFactory, small_disk: Disk) -> Iterator[EmulatedCloud]:
    """A cloud that wants the keys above, in a folder that no run sees."""
    folder = tmp_path_factory.mktemp("cloud") / "account"
    add_image(folder, image_id(0), [small_disk])
    add_bucket(folder, BUCKET)
    write_model(folder / "account.json", AccountSettings(access_key_id=ACCESS_KEY, access_key_secret=SECRET))
    with emulated_cloud(folder, variants=Variants(export_seconds=0.5, security_token=TOKEN)) as found:
        yield found


@pytest.fixture
def witnesses(tmp_path: Path) -> tuple[dict[str, str], Path]:
    """Return a PATH on which qemu-img first writes down what it can see of our secrets, and where it writes that."""
    folder, seen = tmp_path / "bin", tmp_path / "seen"
    folder.mkdir()
    real = shutil.which("qemu-img")
    assert real is not None
    (folder / "qemu-img").write_text(
        f'#!/bin/sh\n{{ env; echo "$@"; }} >> {shlex.quote(str(seen))}\nexec {real} "$@"\n', encoding="utf-8"
    )
    (folder / "qemu-img").chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}, seen


def script(site: Site, text: str, **environment: str) -> str:
    """Run Python in the project as a person beside the server would."""
    return subprocess.run(
        [sys.executable, "-c", text], cwd=PROJECT, env={**site.server.env, **environment}, check=True,
        capture_output=True, text=True,
    ).stdout  # fmt: skip


def everything_left(site: Site, run: str, *folders: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of all that is there after a run: files, the database, what the API says, processes."""
    for folder in folders:
        for file in folder.rglob("*"):
            if file.is_file():
                yield str(file), file.read_bytes()
    yield "database", site.postgres.dump().encode()
    for path in (f"/flow_runs/{run}", f"/flow_run_states/?flow_run_id={run}"):
        yield path, json.dumps(site.server.ask("GET", path)).encode()
    yield "artifacts", json.dumps(site.server.artifacts(run)).encode()
    yield "logs", site.server.logs(run).encode()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            yield f"{process}/cmdline", (process / "cmdline").read_bytes()


def spellings(secret: str) -> set[bytes]:
    """Return how a secret may be written."""
    return {secret.encode(), quote(secret, safe="").encode(), b64encode(secret.encode()).rstrip(b"=")[:-2]}


def assert_nothing_secret(site: Site, run: str, seen: Path, *folders: Path) -> None:
    hidden = {word for secret in (SECRET, TOKEN, *site.secrets) for word in spellings(secret)}
    places = [*everything_left(site, run, *folders), ("qemu-img", seen.read_bytes())]
    assert len(places) > 20
    assert any(b"convert" in content for name, content in places if name == "qemu-img"), "it was a witness"
    assert any(image_id(0).encode() in content for name, content in places if name == "database"), "the dump is one"
    found = {(name, word.decode()) for name, content in places for word in hidden if word in content}
    assert not found


def migrate(site: Site, cloud: EmulatedCloud, worker: str, env: Mapping[str, str], workspace: Path, **more: Any) -> str:
    """Run a migration on a worker with this environment, and return the run's id once it is completed."""
    site.start_worker(worker, extra=env)
    run = start(site, cloud, 0, workspace, **more)
    wait_for(site, [run], "Completed", "Failed", "Crashed")
    assert site.states([run])[run] == "Completed", site.server.logs(run)
    site.server.all_logs(run)  # the last of them come after the state, if nobody stops the worker before
    site.stop(worker)
    return run


def test_keys_in_the_worker_s_environment_are_in_nothing_that_is_left(
    site: Site, cloud: EmulatedCloud, witnesses: tuple[dict[str, str], Path], tmp_path: Path
) -> None:
    path, seen = witnesses
    run = migrate(site, cloud, "with-keys", {**KEYS, **path}, tmp_path / "w")
    assert_nothing_secret(site, run, seen, tmp_path / "w", site.folder)


def test_keys_in_a_block_are_in_nothing_that_is_left(
    site: Site, cloud: EmulatedCloud, witnesses: tuple[dict[str, str], Path], tmp_path: Path
) -> None:
    path, seen = witnesses
    script(site, SAVE, KEY=ACCESS_KEY, HALF=SECRET, TOKEN=TOKEN)
    run = migrate(site, cloud, "without-keys", path, tmp_path / "w", credentials_block="prod")
    assert_nothing_secret(site, run, seen, tmp_path / "w", site.folder)
    [block] = site.server.ask("POST", "/block_documents/filter", {"block_documents": {"name": {"any_": ["prod"]}}})
    assert block["data"]["access_key_id"] == ACCESS_KEY
    assert set(block["data"]["access_key_secret"]) == {"*"}

    # A token that a person puts into the block while a run is under way is used from then on.
    before, *after = json.loads(script(site, READ_AGAIN))
    assert before == ACCESS_KEY
    assert after == ["LTAI5tNext", "next-token", "Prefect block prod"]
