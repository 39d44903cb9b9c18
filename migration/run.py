"""The one door to other programs: run to completion, watch the output, end the child with us."""

from __future__ import annotations

import logging
import os
import selectors
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from migration.credentials import KEY_VARIABLES
from migration.errors import CommandFailed, Interrupted, TookTooLong, ToolMissing
from migration.progress import Stop, check_stop
from migration.storage import is_full, no_room_for

log = logging.getLogger(__name__)

# Where a missing program comes from, by Debian and Ubuntu package name.
PACKAGES = {
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "sfdisk": "fdisk",
    "mke2fs": "e2fsprogs",
    "debugfs": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "busybox": "busybox-static",
    "grub-mkimage": "grub-common",
    "setpriv": "util-linux",
    "zstd": "zstd",
    "qemu-io": "qemu-utils",
    "ssh-keygen": "openssh-client",
    "virsh": "libvirt-clients",
}

# Debian keeps mke2fs, sfdisk and their like here, and leaves it out of an ordinary user's PATH.
SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")

# Keys of the cloud and of the server that runs us: no program that we start needs them.
OURS_ALONE = (*KEY_VARIABLES, "PREFECT_")

LONGEST_LOOK_AWAY = 0.5  # seconds between two looks at `stop`
STDERR_KEPT = 64 * 1024  # bytes from the end of what a failed program said


class _TimedOut(Exception):
    """The program may not run any longer; never leaves this module."""


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    stdin: str = "",
    on_line: Callable[[str], None] | None = None,
    on_output: Callable[[bytes], None] | None = None,
    stop: Stop | None = None,
    timeout: float | None = None,
    ok: Sequence[int] = (0,),
) -> str:
    """Run a program to completion and return its stdout, or raise `CommandFailed`.

    `stdin` is all it can read. `on_line` receives each line that is not empty as it comes (a carriage
    return ends a line too: progress bars); what it raises ends the child and is passed on. `on_output`
    does the same with bytes as they come, and with none at least twice a second; what it has received is
    not collected. When `stop` is set, the child is terminated, then killed, and `Interrupted` is raised;
    after `timeout` seconds the same happens with `TookTooLong`. The child dies with this process, however
    this process dies. `ok` lists the exit statuses that are answers. Bytes that are not UTF-8 come as U+FFFD.
    """
    args = [os.fspath(arg) for arg in argv]
    check_stop(stop)
    program = find_program(args[0])
    log.debug("+ %s", shlex.join(args))  # can be pasted into a shell
    deadline = None if timeout is None else time.monotonic() + timeout
    with _file_holding(stdin) as given, tempfile.TemporaryFile() as stderr:
        child = subprocess.Popen(
            leashed([program, *args[1:]]),
            stdin=given, stdout=subprocess.PIPE, stderr=stderr, env=_environment(),
        )  # fmt: skip
        with child:
            try:
                stdout = _read(child, on_line, on_output, stop, deadline)
                _wait(child, stop, deadline)
            except _TimedOut:
                end(child)
                message = f"{_tail(stderr)}\n(ended by us after {timeout:g} seconds)"
                raise TookTooLong(args, child.returncode, message) from None
            except BaseException:
                end(child)
                raise
        errors = _tail(stderr)
    if child.returncode not in ok:
        raise CommandFailed(args, child.returncode, errors)
    return stdout


def leashed(argv: Sequence[str]) -> list[str]:
    """Return the command that runs `argv` and is killed when the thread that starts it ends, however it ends.

    No qemu-img outlives its migration. setpriv asks the kernel for it between fork and exec, where
    Python's preexec_fn is not safe in a threaded process.
    """
    return [find_program("setpriv"), "--pdeathsig", "KILL", "--", *argv]


def find_program(name: str) -> str:
    """Return the path of a program, or raise `ToolMissing` with the package that brings it."""
    path = shutil.which(name, path=_search_path())
    if path is None:
        package = PACKAGES.get(name)
        raise ToolMissing(
            f"{name} is not installed on this machine",
            f"apt-get install {package}" if package else "`ferry doctor` says what is missing and how to get it",
        )
    return path


def _search_path() -> str:
    return os.pathsep.join([os.environ.get("PATH") or os.defpath, *SYSTEM_FOLDERS])


def _environment() -> dict[str, str]:
    """Return our environment without keys, with the folders we search and one language: we parse output."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS_ALONE)}
    return {**kept, "PATH": _search_path(), "LC_ALL": "C.UTF-8"}


@contextmanager
def _file_holding(text: str) -> Iterator[IO[bytes] | int]:
    """Open what the child reads: a file, as a pipe would have to be fed while its output is read."""
    if not text:
        yield subprocess.DEVNULL
        return
    with tempfile.TemporaryFile() as file:
        try:
            file.write(text.encode())
            file.seek(0)
        except OSError as error:
            if is_full(error):
                raise no_room_for(Path(tempfile.gettempdir(), "stdin")) from error
            raise
        yield file


def _read(
    child: subprocess.Popen[bytes],
    on_line: Callable[[str], None] | None,
    on_output: Callable[[bytes], None] | None,
    stop: Stop | None,
    deadline: float | None,
) -> str:
    """Collect the child's stdout until it closes, handing it on, looking at `stop` twice a second."""
    stream: IO[bytes] | None = child.stdout
    assert stream is not None  # noqa: S101  # Popen was asked for a pipe
    collected, rest = bytearray(), b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while True:
            _check(stop, deadline)
            ready = selector.select(timeout=LONGEST_LOOK_AWAY)
            chunk = os.read(stream.fileno(), 65536) if ready else b""
            if on_output is not None:
                on_output(chunk)
            else:
                collected += chunk
            if not ready:
                continue
            if on_line is not None:
                # The end of the output ends a last line that has no end of its own.
                *lines, rest = (rest + (chunk or b"\n")).replace(b"\r", b"\n").split(b"\n")
                for line in filter(None, lines):
                    on_line(line.decode("utf-8", "replace"))
            if not chunk:
                return collected.decode("utf-8", "replace")


def _wait(child: subprocess.Popen[bytes], stop: Stop | None, deadline: float | None) -> None:
    """Wait for a child that may have closed its stdout long before it ends."""
    while True:
        try:
            child.wait(timeout=LONGEST_LOOK_AWAY)
        except subprocess.TimeoutExpired:  # noqa: PERF203  # twice a second is rare enough
            _check(stop, deadline)
        else:
            return


def _check(stop: Stop | None, deadline: float | None) -> None:
    if stop is not None and stop.is_set():
        raise Interrupted("stopped on request", "run the same command again: it goes on from here")
    if deadline is not None and time.monotonic() > deadline:
        raise _TimedOut


def end(child: subprocess.Popen[bytes], *, grace: float = 5) -> None:
    """Ask the child to end and, if it has not after `grace` seconds, make it. Returns once it has ended."""
    child.terminate()
    try:
        child.wait(timeout=grace)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _tail(stderr: IO[bytes]) -> str:
    """Return the end of what the child said, which may be more than we want in memory."""
    size = stderr.seek(0, os.SEEK_END)
    stderr.seek(max(0, size - STDERR_KEPT))
    return stderr.read().decode("utf-8", "replace").rstrip()
