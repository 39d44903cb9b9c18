"""What console and witness say together of a boot."""

from __future__ import annotations

from pathlib import Path

import pytest

from private_cloud.console import Console, Outcome
from private_cloud.observation import SETTLING, UNSEEN, Observation
from private_cloud.witness import Witness

LOGS = Path(__file__).parent / "console_logs"
ARCHIVE = "11111111-2222-3333-4444-666666666666"
NONCE = "0123456789abcdef"
PROMPT = b"\r\nhost login: "


def said(*records: tuple[str, str]) -> bytes:
    """The records as a witness writes them, a whole account if the first is its beginning."""
    return b"".join(f"\r\nferry-witness {NONCE} {kind} {len(text)} {text}\r\n".encode() for kind, text in records)


HERE = said(("here", ""))


def account(*records: tuple[str, str], state: str = "running") -> bytes:
    return said(("begin", ""), *records, ("end", f"{len(records)} {state}"))


ROOT = ("mount", "/ ext4 /dev/vda1")
DATA = ("mount", "/data ext4 /dev/vdb1")
WANTED = ("fstab", "UUID=1 /data ext4 nofail 0 0")


def observe(*words: bytes, witness: bool = True, why: str = "") -> Observation:
    """Hear `words`, a second after each other."""
    seen = Observation(Console(), Witness(NONCE) if witness else None, why)
    for second, data in enumerate(words):
        seen.hear(data, 100.0 + second)
    return seen


def test_line_behind_nofail_that_is_not_mounted_in_the_end_is_missed() -> None:
    seen = observe(HERE, PROMPT, account(ROOT, WANTED))
    assert (seen.is_decided, seen.outcome, seen.failed) == (True, Outcome.MOUNT_FAILED, ("/data",))
    assert seen.evidence == "not mounted in the end: UUID=1 /data ext4 nofail 0 0"
    assert seen.note == ""


def test_guest_with_all_its_lines_has_everything_mounted() -> None:
    seen = observe(HERE, PROMPT, account(ROOT, DATA, WANTED))
    assert (seen.is_decided, seen.outcome, seen.failed) == (True, Outcome.EVERYTHING_MOUNTED, ())
    assert (seen.mounted, seen.evidence, seen.note) == (("/data", "/"), "host login:", "")


def test_what_systemd_said_failed_counts_no_more_once_it_is_mounted() -> None:
    failed = b"[FAILED] Failed to mount /data.\r\n"
    assert observe(failed, PROMPT, account(DATA, WANTED)).outcome is Outcome.EVERYTHING_MOUNTED


@pytest.mark.parametrize(
    "line", [b"[FAILED] Failed to mount /opt.", b"[FAILED] Failed to mount srv-very\xe2\x80\xa6long."]
)
def test_unit_that_failed_counts_though_it_is_not_in_fstab(line: bytes) -> None:
    assert observe(line + b"\r\n", PROMPT, account(DATA, WANTED)).outcome is Outcome.MOUNT_FAILED


def test_failure_with_a_name_that_is_cut_is_not_told_twice() -> None:
    seen = observe("[DEPEND] Dependency failed for dev-…beef.swap.\r\n".encode(), PROMPT, account(ROOT, WANTED))
    assert seen.failed == ("/data",)


def test_witness_that_is_there_is_waited_for_as_long_as_it_takes() -> None:
    seen = observe(HERE, PROMPT, *[b""] * 500)
    assert (seen.is_decided, seen.is_up) == (False, True)
    assert seen.note == "the guest did not come to say what is mounted"


@pytest.mark.parametrize(("witness", "why"), [(True, "did not speak"), (False, "no systemd")])
def test_without_a_word_of_a_witness_the_prompt_decides_and_the_note_says_so(witness: bool, why: str) -> None:
    waits = [b""] * (int(SETTLING) + 2)
    assert not observe(PROMPT, witness=witness, why="no systemd").is_decided
    seen = observe(PROMPT, *waits, witness=witness, why="" if witness else why)
    assert (seen.is_decided, seen.outcome) == (True, Outcome.EVERYTHING_MOUNTED)
    assert seen.note.startswith(UNSEEN)
    assert seen.note.endswith(why)


def test_guest_that_waits_for_a_disk_after_the_prompt_is_waited_for() -> None:
    waiting = b"\r\x1b[K[***   ] A start job is running for /dev/vdz1 (9s / 45s)"
    assert not observe(PROMPT, *[waiting] * 30, witness=False).is_decided


def test_account_of_a_boot_that_goes_on_is_kept_until_it_is_up() -> None:
    early = account(ROOT, WANTED, state="starting")
    assert (observe(HERE, early).is_decided, observe(HERE, early).outcome) == (False, Outcome.NO_ANSWER)
    assert (observe(HERE, early, PROMPT).is_decided, observe(HERE, early, PROMPT).failed) == (True, ("/data",))


def test_guest_without_a_serial_console_is_known_by_its_witness() -> None:
    seen = observe(HERE, account(DATA, WANTED, state="degraded"))
    assert (seen.is_decided, seen.outcome) == (True, Outcome.EVERYTHING_MOUNTED)
    assert seen.evidence == "systemd calls the guest degraded"


def test_emergency_mode_is_known_without_a_serial_console() -> None:
    seen = observe(HERE, account(ROOT, WANTED, state="maintenance"))
    assert (seen.is_decided, seen.outcome, seen.failed) == (True, Outcome.EMERGENCY_MODE, ("/data",))


def test_end_that_the_console_says_needs_no_witness() -> None:
    seen = observe(HERE, b"Kernel panic - not syncing: x\r\n")
    assert (seen.is_decided, seen.outcome, seen.note) == (True, Outcome.KERNEL_PANIC, "")


def test_words_of_the_witness_are_not_in_the_log() -> None:
    assert observe(HERE, PROMPT, account(DATA)).console.log == ("host login:",)


@pytest.mark.parametrize("size", [1, 333, 100_000])
def test_recorded_disk_that_is_given_up_after_the_prompt_is_known_by_the_witness_alone(size: int) -> None:
    data = (LOGS / "witnessed-missing-after-prompt.txt").read_bytes()
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    seen = observe(*pieces)
    assert (seen.is_decided, seen.outcome) == (True, Outcome.MOUNT_FAILED)
    assert (seen.mounted, seen.failed, seen.note) == (("/",), ("/data",), "")
    assert not any("ferry-witness " in line for line in seen.console.log)
    assert observe(*pieces, witness=False).outcome is Outcome.EVERYTHING_MOUNTED


def test_recorded_boot_with_all_kinds_of_lines_is_well() -> None:
    seen = observe((LOGS / "witnessed-everything-mounted.txt").read_bytes())
    assert (seen.is_decided, seen.outcome, seen.failed) == (True, Outcome.EVERYTHING_MOUNTED, ())
    swap = "swap on /dev/disk/by-uuid/11111111-2222-3333-4444-777777777777"
    assert seen.mounted == ("/", "/data", "/srv/archive-2023", swap, "/mnt/new", "/home")
    assert seen.account is not None
    assert {mount.type: mount.uuid for mount in seen.account.mounts}["xfs"] == ARCHIVE
    assert [line.point for line in seen.account.lines if not line.is_wanted] == ["/opt"]


def test_recorded_boot_does_not_believe_a_witness_of_another_run() -> None:
    data = (LOGS / "witnessed-missing-after-prompt.txt").read_bytes()
    assert observe(data.replace(NONCE.encode(), b"fedcba9876543210")).account is None


def test_root_that_stayed_read_only_is_a_failed_mount() -> None:
    root = ("mount", "/ ext4 /dev/vda1 ro,relatime,ro")
    seen = observe(HERE, PROMPT, account(root, ("fstab", "UUID=0 / ext4 errors=remount-ro 0 1")))
    assert (seen.outcome, seen.failed) == (Outcome.MOUNT_FAILED, ("/ (read-only)",))
    assert seen.evidence == "mounted read-only in the end: UUID=0 / ext4 errors=remount-ro 0 1"
