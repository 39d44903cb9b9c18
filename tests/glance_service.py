"""Runs a real OpenStack Glance on loopback: its own virtual environment, gunicorn, SQLite, a file store, no Keystone.

The environment is made once on a machine, from the package index, and kept in the user's cache folder.
`reason_to_skip` says why there is none on a machine, and makes it where it can.
"""

from __future__ import annotations

import fcntl
import functools
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

# Together they were seen to work; Glance asks for its other parts without an upper bound.
WANTED = ("glance==33.0.0", "gunicorn>=23,<28", "setuptools<81")
CLOUD = "loopback"


@functools.cache
def reason_to_skip() -> str:
    """Return why there is no Glance on this machine, "" where there is one now."""
    folder = _environment()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return "" if (folder / "ready").exists() else _make_environment(folder)


def _environment() -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "ferry-tests" / f"glance-33.0-py{sys.version_info.major}.{sys.version_info.minor}"


def _make_environment(folder: Path) -> str:
    shutil.rmtree(folder, ignore_errors=True)
    python = folder / "bin" / "python"
    steps: tuple[list[str | Path], ...] = (
        [sys.executable, "-m", "venv", folder],
        [python, "-m", "pip", "install", "--quiet", "--retries", "1", *WANTED],
        [python, "-c", "import glance.common.wsgi_app, gunicorn"],
    )
    for argv in steps:
        try:
            done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=540)
        except subprocess.TimeoutExpired:
            return "the package index took too long to give us Glance"
        if done.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            return f"no Glance from the package index: {(done.stderr.strip().splitlines() or ['no reason'])[-1]}"
    (folder / "ready").touch()
    return ""


_CONFIG = """\
[DEFAULT]
enabled_backends = fs:file
image_size_cap = {size_cap}
worker_self_reference_url = http://127.0.0.1:{port}
log_file = {folder}/glance.log
debug = false
[glance_store]
default_backend = fs
[fs]
filesystem_store_datadir = {folder}/store
[os_glance_staging_store]
filesystem_store_datadir = {folder}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {folder}/tasks
[database]
connection = sqlite:///{folder}/glance.sqlite
[oslo_policy]
enforce_new_defaults = false
enforce_scope = false
[paste_deploy]
flavor =
config_file = {paste}
"""


@dataclass
class Glance:
    """A Glance that can be ended and started again; what it stored stays. `requests` are in the order it had them."""

    folder: Path
    port: int
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def store(self) -> Path:
        """Where the bytes of the images lie, each under its id."""
        return self.folder / "store"

    @property
    def requests(self) -> list[str]:
        """Every finished request, as `PUT /v2/images/…/file 204`."""
        log = self.folder / "access.log"
        return log.read_text(encoding="utf-8").splitlines() if log.exists() else []

    def environment(self, endpoint: str = "") -> dict[str, str]:
        """Return what makes openstacksdk find this cloud, by way of `endpoint` if given, as `CLOUD` in clouds.yaml."""
        file = self.folder / "clouds.yaml"
        auth = {"endpoint": endpoint or self.endpoint}
        entry = {"auth_type": "none", "auth": auth, "image_endpoint_override": endpoint or self.endpoint}
        file.write_text(yaml.safe_dump({"clouds": {CLOUD: entry}}), encoding="utf-8")
        return {"OS_CLIENT_CONFIG_FILE": str(file)}

    def start(self, *, size_cap: int = 1 << 40, largest_file: int = 0) -> None:
        """Start it. `size_cap` is the most it lets an image have, `largest_file` the most its disk can take."""
        binaries = _environment() / "bin"
        paste = _environment() / "etc" / "glance" / "glance-api-paste.ini"
        config = _CONFIG.format(folder=self.folder, port=self.port, size_cap=size_cap, paste=paste)
        (self.folder / "glance-api.conf").write_text(config, encoding="utf-8")
        for name in ("store", "staging", "tasks"):
            (self.folder / name).mkdir(exist_ok=True)
        environment = {**os.environ, "OS_GLANCE_CONFIG_DIR": str(self.folder)}
        if not (self.folder / "glance.sqlite").exists():
            argv: list[str | Path] = [
                binaries / "glance-manage",
                "--config-file",
                self.folder / "glance-api.conf",
                "db_sync",
            ]
            subprocess.run(argv, check=True, capture_output=True, env=environment)

        def limit() -> None:
            if largest_file:  # a write beyond it is EFBIG, which Glance takes as it takes ENOSPC
                resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

        with (self.folder / "gunicorn.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    binaries / "gunicorn", "glance.wsgi.api:application", "--bind", f"127.0.0.1:{self.port}",
                    "--worker-class", "gthread", "--threads", "8", "--timeout", "0", "--no-control-socket",
                    "--access-logfile", self.folder / "access.log", "--access-logformat", "%(m)s %(U)s %(s)s",
                ],
                env=environment, stdout=log, stderr=log, start_new_session=True, preexec_fn=limit,  # noqa: PLW1509
            )  # fmt: skip
        self._wait_until_it_answers()

    def kill(self) -> None:
        """End it as a power cut does."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"{self.endpoint}/v2/images", timeout=5) as answer:  # noqa: S310  # loopback
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                if self._process.poll() is not None:
                    break
            time.sleep(0.1)
        raise RuntimeError((self.folder / "gunicorn.log").read_text(encoding="utf-8")[-3000:])


@contextmanager
def run_glance(folder: Path, *, size_cap: int = 1 << 40, largest_file: int = 0) -> Iterator[Glance]:
    """Run a Glance whose state is in `folder` for the length of the block."""
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        glance = Glance(folder, free.getsockname()[1])
    try:
        glance.start(size_cap=size_cap, largest_file=largest_file)
        yield glance
    finally:
        glance.kill()
