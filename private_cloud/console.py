"""Reads a guest's serial console: what firmware, boot loader, kernel and init say, and what that makes of the boot.

Nothing in the guest helps here: the messages are those that SeaBIOS, OVMF, GRUB, Linux, initramfs-tools, dracut
and systemd print for people. A guest can print anything, so its words are made printable before they go on.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Iterable, Iterator

from migration.str_enum import StrEnum
from migration.verdict import printable


class Outcome(StrEnum):
    """How a boot came out. All but the first are reasons not to trust the image there."""

    EVERYTHING_MOUNTED = "everything-mounted"
    MOUNT_FAILED = "mount-failed"
    EMERGENCY_MODE = "emergency-mode"
    KERNEL_PANIC = "kernel-panic"
    NO_BOOT_LOADER = "no-boot-loader"
    NO_ROOT_FILE_SYSTEM = "no-root-file-system"
    NO_ANSWER = "no-answer"

    @property
    def is_good(self) -> bool:
        return self is Outcome.EVERYTHING_MOUNTED


LONGEST_LINE = 1000  # characters; what is longer is cut into several
KEPT_LINES = 3000  # from the end of the log; a boot with all its messages has under a thousand

# What ends a boot for good, in the words of whoever says it. The first that matches decides.
_ENDS = (
    (Outcome.KERNEL_PANIC, r"Kernel panic - not syncing"),
    # initramfs-tools
    (Outcome.NO_ROOT_FILE_SYSTEM, r"^ALERT! .* does not exist\.\s+Dropping to a shell"),
    (Outcome.NO_ROOT_FILE_SYSTEM, r"^\(initramfs\)"),
    # dracut
    (Outcome.NO_ROOT_FILE_SYSTEM, r"Entering emergency mode\. Exit the shell to continue"),
    (Outcome.NO_ROOT_FILE_SYSTEM, r"^dracut:/#|rdsosreport\.txt"),
    # mkinitcpio, Alpine
    (Outcome.NO_ROOT_FILE_SYSTEM, r"dropped (?:in)?to an? (?:emergency|recovery) shell"),
    (Outcome.NO_ROOT_FILE_SYSTEM, r"initramfs emergency recovery shell launched"),
    # systemd, and sulogin under any init
    (Outcome.EMERGENCY_MODE, r"(?:You are in|Welcome to) (?:emergency|rescue) mode"),
    (Outcome.EMERGENCY_MODE, r"(?:Give root password|Press Enter) for (?:system )?maintenance"),
    (Outcome.EMERGENCY_MODE, r"^Cannot open access to console, the root account is locked"),
    # SeaBIOS, OVMF
    (Outcome.NO_BOOT_LOADER, r"^No bootable device"),
    (Outcome.NO_BOOT_LOADER, r"No bootable option or device was found|^Shell>"),
    # GRUB that finds nothing to start; the DOS master boot record; syslinux
    (Outcome.NO_BOOT_LOADER, r"^grub(?: rescue)?>|^GRUB .*Error$|^error: you need to load the kernel first"),
    (Outcome.NO_BOOT_LOADER, r"^(?:Missing operating system|Error loading operating system|Invalid partition table)"),
    (Outcome.NO_BOOT_LOADER, r"^(?:No DEFAULT or UI configuration directive found|Operating system not found)"),
)
_ENDS_COMPILED = tuple((outcome, re.compile(pattern)) for outcome, pattern in _ENDS)

# systemd names a unit by description (`/data`), by name, or by both (`data.mount - /data`), as it was built.
_BY_SYSTEMD = r"(?:\]|systemd\[1\]:) +"
_MOUNTED = re.compile(_BY_SYSTEMD + r"(?:Mounted|Set up automount) (?P<what>.+?)\.?$")
_SWAP_ON = re.compile(_BY_SYSTEMD + r"Activated swap (?P<what>.+?)\.?$")
_FAILED = re.compile(_BY_SYSTEMD + r"(?:Failed to mount|Failed to set up automount) (?P<what>.+?)\.?$")
_SWAP_FAILED = re.compile(_BY_SYSTEMD + r"Failed to activate swap (?P<what>.+?)\.?$")
_DEPENDENCY = re.compile(_BY_SYSTEMD + r"Dependency failed for (?P<what>.+?)\.?$")
# mount's own words, under an init that lets it speak: util-linux, busybox
_MOUNT_SAYS = re.compile(r"^mount: (?:mounting \S+ on )?(?P<what>/(?!dev/)[^\s:]*)(?::| failed)")
# systemd says the second of a unit of which it has loaded no description, or has one that equals the name.
_WAITING = re.compile(
    r"(?:A start job is running for |\] (?:\(\d+ of \d+\) )?Job )(?P<what>.+?)(?:/start)?(?: running)? *\([^()]*\)$"
)

_LOGIN = re.compile(r"(?:^|\s)(?!Last )\S+ login: *(?:\S+ \(automatic login\))?$")
_IN_FULL_OPERATION = re.compile(
    _BY_SYSTEMD + r"Reached target (?:multi-user\.target|graphical\.target|Multi-User System|Graphical Interface)"
)

_OF_THE_KERNEL = ("/dev", "/proc", "/run", "/sys")  # API file systems: no line of fstab is needed for them

# What a terminal obeys. SeaBIOS and boot loaders say where the cursor goes before they write.
_ESCAPES = re.compile(
    r"\n|\x1b\[(?P<row>\d*)(?:;\d*)?[Hf]"
    r"|\x1b\[[0-?]*[ -/]*(?:[@-~]|(?=…))"  # systemd cuts a line to fit, also in the middle of a colour
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[()][0-9A-B]|\x1b[^\[\]()]"
)
_ROWS = 25  # of the screen that SeaBIOS shows on the serial port
_UNFINISHED_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]{0,256}\x1b?|[()])?\Z")


class Console:
    """What a console has said so far, and what follows from it.

    `expected` are the mount points that somebody knows are to come, none where nobody does.
    """

    def __init__(self, expected: Collection[str] = ()) -> None:
        self.expected = tuple(dict.fromkeys(expected))
        self.evidence = ""  # the line that decided
        self.is_up = False  # a login prompt, or the target that comes with it
        self.waiting_for = ""  # what systemd says it is waiting for, as long as it says nothing else
        self._end: Outcome | None = None
        self._mounted: dict[str, None] = {}
        self._failed: dict[str, None] = {}
        self._log: list[str] = []
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""  # a line that has no end yet, free of escapes
        self._escape = ""  # and an escape sequence that has none
        self._shows_status = False
        self._row = 1  # where the cursor is, as far as we know

    @property
    def log(self) -> tuple[str, ...]:
        """The lines that are not empty, printable, the last `KEPT_LINES` of them."""
        rest = [printable(self._rest.rstrip())] if self._rest.strip() else []
        return (*self._log[-KEPT_LINES:], *rest)

    @property
    def mounted(self) -> tuple[str, ...]:
        """Mount points, in the order in which the console named them; `swap on …` for swap space."""
        return tuple(self._mounted)

    @property
    def failed(self) -> tuple[str, ...]:
        """The same for what was to be mounted and was not; a later success counts."""
        missing = [point for point in self._missing() if self.is_up and self._shows_status]
        return tuple(dict.fromkeys([*(point for point in self._failed if point not in self._mounted), *missing]))

    @property
    def has_ended(self) -> bool:
        """Whether the boot has come to an end from which it does not go on by itself."""
        return self._end is not None

    @property
    def is_decided(self) -> bool:
        """Whether nothing that may follow changes the outcome."""
        return self._end is not None or (self.is_up and bool(self.expected) and not self._missing())

    @property
    def outcome(self) -> Outcome:
        """The outcome, should nothing follow."""
        if self._end is Outcome.EMERGENCY_MODE and any(point.startswith("/sysroot") for point in self._failed):
            return Outcome.NO_ROOT_FILE_SYSTEM  # an initramfs with systemd has an emergency mode of its own
        if self._end is not None:
            return self._end
        if not self.is_up:
            return Outcome.NO_ANSWER
        return Outcome.MOUNT_FAILED if self.failed else Outcome.EVERYTHING_MOUNTED

    def hear(self, data: bytes) -> None:
        """Take in what the console said next, wherever it was cut."""
        text = self._rest + self._escape + self._decoder.decode(data)
        unfinished = _UNFINISHED_ESCAPE.search(text)
        self._escape = unfinished[0] if unfinished else ""
        text = text.removesuffix(self._escape) if self._escape else text
        text = _ESCAPES.sub(self._flatten, text)
        *lines, self._rest = re.split(r"[\r\n]+", text)
        for line in lines:
            self._take_line(line)
        while len(self._rest) > LONGEST_LINE:
            self._take_line(self._rest[:LONGEST_LINE])
            self._rest = self._rest[LONGEST_LINE:]
        # Prompts do not end their line, and nobody answers them.
        self._judge(self._rest.strip(), is_whole=False)

    def _flatten(self, match: re.Match[str]) -> str:
        """Return what an escape is to a reader of lines: nothing, or the end of one where the cursor leaves its row."""
        if match[0] == "\n":
            self._row = min(self._row + 1, _ROWS)
            return "\n"
        if match["row"] is None:
            return ""
        before, self._row = self._row, int(match["row"] or 1)
        return "" if self._row == before else "\n"

    def _take_line(self, line: str) -> None:
        line = line.strip("\0 \t\b")
        if not line:
            return
        waiting = _WAITING.search(line)
        if waiting and self.waiting_for:
            self._log.pop()  # systemd repeats it three times a second, with another time
        self.waiting_for = printable(waiting["what"]) if waiting else ""
        self._log.append(printable(line[:LONGEST_LINE]))
        del self._log[: -2 * KEPT_LINES]
        self._judge(line, is_whole=True)

    def _judge(self, line: str, *, is_whole: bool) -> None:
        if not line or self._end is not None:
            return
        for outcome, pattern in _ENDS_COMPILED:
            if pattern.search(line):
                self._end, self.evidence = outcome, printable(line)
                return
        if not self.is_up and (_LOGIN.search(line) or (is_whole and _IN_FULL_OPERATION.search(line))):
            self.is_up, self.evidence = True, printable(line)
        if is_whole:
            self._shows_status = self._shows_status or bool(re.match(r"\[ +OK +\]", line))
            self._note_mounts(line)

    def _note_mounts(self, line: str) -> None:
        for pattern, found, is_swap in (
            (_MOUNTED, self._mounted, False), (_SWAP_ON, self._mounted, True),
            (_FAILED, self._failed, False), (_SWAP_FAILED, self._failed, True),
        ):  # fmt: skip
            if match := pattern.search(line):
                named = _named(match["what"], is_swap=is_swap, or_cut=found is self._failed)
                found.update(dict.fromkeys(named))
        if match := _DEPENDENCY.search(line):
            what = match["what"]
            # `dev-…dead.` is the cut name of a swap unit: no other unit of a disk's can fail for a dependency.
            is_swap = ".swap" in what or what.startswith(("/dev/", "dev-"))
            if is_swap or ".mount" in what or what.startswith("/"):
                self._failed.update(dict.fromkeys(_named(what, is_swap=is_swap, or_cut=True)))
        elif match := _MOUNT_SAYS.search(line):
            self._failed[printable(match["what"])] = None

    def _missing(self) -> list[str]:
        return [point for point in self.expected if point not in self._mounted and point not in self._failed]


def read_console(lines: Iterable[str], expected: Collection[str] = ()) -> Console:
    """Return what a console says that said `lines`."""
    console = Console(expected)
    for line in lines:
        console.hear(f"{line}\n".encode())
    return console


def _named(what: str, *, is_swap: bool, or_cut: bool) -> Iterator[str]:
    """Yield the mount point in systemd's name for a unit; none for the kernel's own file systems.

    With `or_cut`, a name whose middle was left out comes as it is: a failure is never passed over.
    """
    unit, dash, description = what.partition(" - ")
    path = description if dash else unit
    if not path.startswith("/"):
        if _is_cut(what):
            if or_cut:
                yield f"swap on {printable(what)}" if is_swap else printable(what)
            return
        if dash or not unit.endswith((".mount", ".swap")):
            return
        path = _unescape(unit.rpartition(".")[0])
    elif _is_cut(path) and dash and not _is_cut(unit):
        path = _unescape(unit.rpartition(".")[0])
    if is_swap:
        yield f"swap on {printable(path)}"
    elif not path.startswith(tuple(f"{folder}/" for folder in _OF_THE_KERNEL)):
        yield printable(path)


def _is_cut(text: str) -> bool:
    """Return whether systemd has left out the middle, to stay within the width of the console."""
    return "…" in text or "..." in text


def _unescape(name: str) -> str:
    r"""Return the path in a unit's name (source: man 5 systemd.unit): `srv-a\x2db` is /srv/a-b."""
    if name == "-":
        return "/"
    return re.sub(r"((?:\\x[0-9a-f]{2})+)", _unescape_bytes, "/" + name.replace("-", "/"))


def _unescape_bytes(match: re.Match[str]) -> str:
    return bytes.fromhex(match[1].replace("\\x", "")).decode("utf-8", "replace")
