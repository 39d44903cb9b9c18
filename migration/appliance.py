"""Opens the guest's disks, read-only, in a libguestfs appliance: a small virtual machine that takes the risk.

File systems made by strangers are parsed by the appliance's kernel, never by ours. It has no network, and
writes that mounting causes (a journal replayed) go into an overlay that is thrown away. libguestfs calls
release the GIL, so other threads go on meanwhile; one handle must stay in one thread.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from migration.acceleration import give_up_kvm, kvm_works
from migration.errors import GuestError, ToolMissing
from migration.overlay import make_overlay
from migration.progress import Stop, check_stop
from migration.scratch import scratch_folder
from migration.served_disk import ReadableDisk
from migration.verdict import printable

if TYPE_CHECKING:
    import guestfs

log = logging.getLogger(__name__)

MEMORY = 768  # MiB; the 1280 of libguestfs are for repairs, we only look
KVM_LAUNCH_TIMEOUT = 60.0  # seconds from QEMU's start; a working KVM needs 2 to 5
EMULATED_LAUNCH_TIMEOUT = 600.0  # 8 to 20 seconds on an idle machine, minutes on a crowded one
LOOK_TIMEOUT = 1800.0  # seconds from the launch to the end; a usual guest takes 2 to 60, a hostile one any number
WATCH_INTERVAL = 0.25  # seconds
STOP_LAG = 1.0  # seconds between a signal's arrival at QEMU and at whoever sets `stop`
TAIL_LINES = 5  # of what the appliance said, shown when it does not start


class Refused(Exception):
    """The appliance is well, but cannot do this with this disk; what it said is the argument."""


@contextmanager
def open_guest(
    disks: Sequence[ReadableDisk],
    *,
    layers: Mapping[str, Path] | None = None,
    give_back: bool = False,
    stop: Stop | None = None,
) -> Iterator[guestfs.GuestFS]:
    """Run an appliance over `disks`, in their order (/dev/sda, /dev/sdb, …), for the length of the block.

    `layers` says where to keep what is written to a disk, by its ECS name; the others' writes are thrown away.
    What is kept is whole once the handle was shut down in the block. A layer that is there already is written on.
    With `give_back` a layer remembers what the guest's file systems trim, and reads as zeros there.

    Uses KVM where it works, and goes on without it where it fails or hangs. When `stop` is set, the appliance
    is killed and `Interrupted` raised, whatever call is under way; so it is, with a `GuestError`, when the block
    takes longer than `LOOK_TIMEOUT`. Raises `ToolMissing`, `GuestError`.
    """
    check_stop(stop)
    for disk in disks:
        if not disk.is_there:
            raise GuestError(f"{disk.name}: there is no such file", "give the disk's path")
    with contextlib.ExitStack() as stack:
        watch: _Watch | None = None
        try:
            g, watch = _launch(stack, disks, layers or {}, stop, give_back=give_back)
            with watch.limit(LOOK_TIMEOUT, f"it could not be looked into within {LOOK_TIMEOUT:g} seconds"):
                yield g
        except RuntimeError as error:
            if type(error) is not RuntimeError:  # libguestfs has no exception type of its own
                raise
            _check_stopped(stop)
            raise _guest_error(disks, watch.complaint if watch and watch.complaint else str(error), "") from error


@contextmanager
def refusals(g: guestfs.GuestFS) -> Iterator[None]:
    """Turn what goes wrong in the block into `Refused`, unless it is the appliance itself that died."""
    try:
        yield
    except RuntimeError as error:
        if type(error) is not RuntimeError:
            raise
        g.ping_daemon()  # raises RuntimeError in its turn if nobody is there any more
        raise Refused(_first_line(str(error))) from error


def names_in(g: guestfs.GuestFS, folder: str) -> list[str]:
    """Return the names in a folder of what is mounted that can be said again; a guest may hold any bytes there."""
    try:
        with refusals(g):
            names = list(g.ls(folder)) if g.is_dir(folder, followsymlinks=True) else []
    except (Refused, UnicodeDecodeError):
        return []
    return [name for name in names if name.isprintable()]


def _launch(
    stack: contextlib.ExitStack, disks: Sequence[ReadableDisk], layers: Mapping[str, Path], stop: Stop | None,
    *, give_back: bool,
) -> tuple[guestfs.GuestFS, _Watch]:  # fmt: skip
    """Launch with KVM if it works, else, or if that fails after all, without."""
    if not kvm_works():
        return _launch_once(stack, disks, layers, stop, kvm=False, give_back=give_back)
    try:
        return _launch_once(stack, disks, layers, stop, kvm=True, give_back=give_back)
    except (GuestError, ToolMissing) as error:
        # If it is not KVM's fault, the attempt without it fails too, and says why.
        log.debug("the appliance did not start with KVM: %s", error)
    launched = _launch_once(stack, disks, layers, stop, kvm=False, give_back=give_back)
    give_up_kvm("a boot sector runs under it, but the libguestfs appliance does not start")
    return launched


def _launch_once(
    stack: contextlib.ExitStack, disks: Sequence[ReadableDisk], layers: Mapping[str, Path], stop: Stop | None,
    *, kvm: bool, give_back: bool,
) -> tuple[guestfs.GuestFS, _Watch]:  # fmt: skip
    """Launch one appliance; once it runs, `stack` ends it and its watch."""
    module = _guestfs_module()
    said: collections.deque[str] = collections.deque(maxlen=200)
    with contextlib.ExitStack() as attempt:
        # A folder of its own shows up in the command line of this QEMU and of no other: see _qemu_processes.
        scratch = str(attempt.enter_context(scratch_folder("ferry-guest-")))
        g = module.GuestFS(python_return_dict=True)
        attempt.callback(g.close)
        events = module.EVENT_APPLIANCE | module.EVENT_LIBRARY
        g.set_event_callback(lambda _event, _handle, text, _array: said.append(str(text)), events)
        watch = attempt.enter_context(_watch(scratch, stop))
        log.info(
            "Starting an appliance over %s%s",
            "one disk" if len(disks) == 1 else f"{len(disks)} disks",
            "" if kvm else " (emulation)",
        )
        try:
            _configure(g, scratch, kvm=kvm)
            for number, disk in enumerate(disks):
                layer = layers.get(disk.device, Path(scratch, overlay_name(number)))
                if not layer.exists():
                    make_overlay(disk, layer, stop=stop)
                how = {"discard": "enable"} if give_back else {}
                g.add_drive_opts(str(layer), format="qcow2", cachemode="unsafe", **how)
            seconds = KVM_LAUNCH_TIMEOUT if kvm else EMULATED_LAUNCH_TIMEOUT
            with watch.limit(seconds, f"the appliance did not start within {seconds:g} seconds"):
                g.launch()
        except RuntimeError as error:
            _check_stopped(stop)
            raise _guest_error(disks, watch.complaint or str(error), "".join(said)) from error
        stack.push(attempt.pop_all())
    return g, watch


def _check_stopped(stop: Stop | None) -> None:
    """Raise `Interrupted` if it was a stop that ended the appliance.

    Whoever signals the whole process group, as Prefect and terminals do, may reach QEMU before the event is set.
    """
    if stop is not None:
        stop.wait(STOP_LAG)
    check_stop(stop)


def overlay_name(number: int) -> str:
    """Return the file name of a disk's layer, by which QEMU's complaints tell the disks apart."""
    return f"disk-{number}.qcow2"


def _guestfs_module() -> Any:
    try:
        import guestfs  # noqa: PLC0415  # from the distribution: may be missing, and takes 50 ms
    except ImportError as error:
        raise ToolMissing(
            "the libguestfs bindings for this Python are not installed",
            "apt-get install python3-guestfs, then make the virtual environment again with deployments/bootstrap.sh",
        ) from error
    return guestfs


def _configure(g: guestfs.GuestFS, scratch: str, *, kvm: bool) -> None:
    g.set_backend("direct")  # whatever the environment says: no libvirt daemon, no session of its own
    g.set_backend_settings([] if kvm else ["force_tcg=1"])
    g.set_tmpdir(scratch)
    g.set_memsize(MEMORY)
    g.set_network(False)
    g.set_recovery_proc(True)  # ends QEMU when we are killed


def _guest_error(disks: Sequence[ReadableDisk], message: str, said: str) -> GuestError | ToolMissing:
    """Say in our words why an appliance failed: `message` is libguestfs's, `said` what it and QEMU printed."""
    if "supermin" in message:
        return ToolMissing(
            f"the libguestfs appliance cannot be built: {_first_line(message)}",
            "it needs a kernel with modules that this user may read: apt-get install linux-image-cloud-amd64 "
            "(Ubuntu: linux-image-virtual, then chmod a+r /boot/vmlinuz-*); libguestfs-test-tool shows the rest",
        )
    text = f"{message}\n{said}"
    named = (disk for number, disk in enumerate(disks) if overlay_name(number) in text)
    culprit = next(named, disks[0])
    tail = [printable(line.strip()) for line in said.splitlines() if line.strip()][-TAIL_LINES:]
    explanation = "\n".join(["cannot look inside: " + _first_line(message), *tail])
    return GuestError(
        f"{culprit.name}: {explanation}",
        f"check the file and its format ({culprit.format}) with `qemu-img check`, "
        "and the appliance itself with `libguestfs-test-tool`",
    )


def _first_line(message: str) -> str:
    return printable(next(iter(message.splitlines()), ""))


class _Watch:
    """Kills this appliance's QEMU when someone asks us to stop, or when a launch or a look takes too long.

    A libguestfs call cannot be interrupted; it fails by itself once its QEMU is gone.
    """

    def __init__(self, scratch: str, stop: Stop | None) -> None:
        self.complaint = ""
        self._scratch = scratch
        self._stop = stop
        self._limit: tuple[float, str] | None = None
        self._over = threading.Event()

    @contextmanager
    def limit(self, seconds: float, complaint: str) -> Iterator[None]:
        """Allow QEMU to run for `seconds` in this block; building the appliance before does not count."""
        self._limit = seconds, complaint
        try:
            yield
        finally:
            self._limit = None

    def run(self) -> None:
        first_seen: dict[tuple[float, str], float] = {}  # QEMU, under this limit
        while not self._over.wait(WATCH_INTERVAL):
            is_stopped, limit = self._stop is not None and self._stop.is_set(), self._limit
            now = time.monotonic()
            is_late = limit is not None and now - first_seen.get(limit, now) > limit[0]
            if not (is_stopped or is_late) and (limit is None or limit in first_seen):
                continue
            pids = _qemu_processes(self._scratch)
            if pids and limit is not None:
                first_seen.setdefault(limit, now)
            if is_late and limit is not None:
                self.complaint = limit[1]
            if is_stopped or is_late:
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    def end(self) -> None:
        self._over.set()


@contextmanager
def _watch(scratch: str, stop: Stop | None) -> Iterator[_Watch]:
    watch = _Watch(scratch, stop)
    thread = threading.Thread(target=watch.run, name="guest-watch", daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        watch.end()
        thread.join()


def _qemu_processes(scratch: str) -> list[int]:
    """Return the children of this process that work in `scratch`.

    `get_pid` of the handle would wait for the very call that we want to end.
    """
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        try:
            arguments = (process / "cmdline").read_bytes()
            if scratch.encode() in arguments and _parent_of(process) == os.getpid():
                found.append(int(process.name))
        except OSError:  # it ended meanwhile
            continue
    return found


def _parent_of(process: Path) -> int:
    status = (process / "stat").read_text(errors="replace")
    return int(status.rpartition(")")[2].split()[1])  # the name before it may hold anything
