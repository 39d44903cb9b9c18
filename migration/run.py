"""The one door to other programs: run to completion, watch the output, end the child with us."""

from __future__ import annotations

import logging
import os
import selectors
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from typing import IO

from migration.errors import CommandFailed, Interrupted, ToolMissing
from migration.progress import Stop, check_stop

log = logging.getLogger(__name__)

# Where a missing program comes from, by Debian and Ubuntu package name.
PACKAGES = {
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "sfdisk": "fdisk",
    "mke2fs": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "busybox": "busybox-static",
    "grub-mkimage": "grub-common",
}


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    on_line: Callable[[str], None] | None = None,
    stop: Stop | None = None,
    ok: Sequence[int] = (0,),
) -> str:
    """Run a program to completion and return its stdout, or raise `CommandFailed`.

    `on_line` receives each line as it comes (a carriage return ends a line too: progress bars).
    When `stop` is set, the child is terminated, then killed, and `Interrupted` is raised. The child
    dies with this process, however this process dies. `ok` lists the exit statuses that are answers.
    """
    args = [os.fspath(arg) for arg in argv]
    check_stop(stop)
    log.debug("+ %s", shlex.join(args))  # can be pasted into a shell
    if shutil.which(args[0]) is None:
        package = PACKAGES.get(args[0])
        raise ToolMissing(
            f"{args[0]} is not installed on this machine",
            f"apt-get install {package}" if package else "`ferry doctor` says what is missing and how to get it",
        )
    env = {**os.environ, "LC_ALL": "C.UTF-8"}  # we parse output: keep it in one language
    with tempfile.TemporaryFile() as stderr:
        child = subprocess.Popen(
            # The kernel ends the child if we are killed: no qemu-img outlives its migration. setpriv does
            # it between fork and exec, where Python's preexec_fn is not safe in a threaded process.
            ["setpriv", "--pdeathsig", "KILL", "--", *args],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, env=env,
        )  # fmt: skip
        with child:
            try:
                stdout = _read(child, on_line, stop)
            except BaseException:
                _end(child)
                raise
        stderr.seek(0)
        errors = stderr.read().decode("utf-8", "replace")
    if child.returncode not in ok:
        raise CommandFailed(args, child.returncode, errors)
    return stdout


def _read(child: subprocess.Popen[bytes], on_line: Callable[[str], None] | None, stop: Stop | None) -> str:
    """Collect the child's stdout until it closes, handing on lines, looking at `stop` twice a second."""
    stream: IO[bytes] | None = child.stdout
    assert stream is not None  # noqa: S101  # Popen was asked for a pipe
    collected, rest = bytearray(), b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while True:
            if stop is not None and stop.is_set():
                raise Interrupted("stopped on request", "run the same command again: it goes on from here")
            if not selector.select(timeout=0.5):
                continue
            chunk = os.read(stream.fileno(), 65536)
            if not chunk:
                return collected.decode("utf-8", "replace")
            collected += chunk
            if on_line is not None:
                *lines, rest = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
                for line in lines:
                    on_line(line.decode("utf-8", "replace"))


def _end(child: subprocess.Popen[bytes]) -> None:
    """Ask the child to end, then make it."""
    child.terminate()
    try:
        child.wait(timeout=5)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
