"""Consoles of real boots (tests/console_logs, recorded byte by byte), and lines of systems that were not at hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from private_cloud.console import KEPT_LINES, LONGEST_LINE, Console, Outcome, read_console

LOGS = Path(__file__).parent / "console_logs"


def console_of(name: str) -> Console:
    console = Console()
    console.hear((LOGS / f"{name}.txt").read_bytes())
    return console


@pytest.mark.parametrize(
    ("name", "outcome", "mounted", "failed"),
    [
        ("everything-mounted", Outcome.EVERYTHING_MOUNTED, ["/data", "/srv/archive-2023"], []),
        ("everything-mounted-quiet", Outcome.EVERYTHING_MOUNTED, [], []),
        ("missing-with-nofail", Outcome.MOUNT_FAILED, [], ["/data", "swap on /dev/vdz1"]),
        ("missing", Outcome.EMERGENCY_MODE, [], ["/data", "/srv/archive-2023"]),
        ("wrong-type", Outcome.EMERGENCY_MODE, ["/srv/archive-2023"], ["/data"]),
        ("kernel-panic", Outcome.KERNEL_PANIC, [], []),
        ("no-root", Outcome.NO_ROOT_FILE_SYSTEM, [], []),
        ("no-bootable-device", Outcome.NO_BOOT_LOADER, [], []),
        ("grub-rescue", Outcome.NO_BOOT_LOADER, [], []),
        ("uefi-shell", Outcome.NO_BOOT_LOADER, [], []),
        ("no-serial-console", Outcome.NO_ANSWER, [], []),
    ],
)
def test_recorded_boot_has_its_outcome(name: str, outcome: Outcome, mounted: list[str], failed: list[str]) -> None:
    console = console_of(name)
    assert (console.outcome, sorted(console.mounted), sorted(console.failed)) == (outcome, mounted, failed)
    assert all(line.isprintable() for line in console.log)


@pytest.mark.parametrize("size", [1, 7, 64])
@pytest.mark.parametrize("name", ["everything-mounted", "missing-with-nofail", "no-bootable-device"])
def test_outcome_does_not_depend_on_how_the_bytes_are_cut(name: str, size: int) -> None:
    data = (LOGS / f"{name}.txt").read_bytes()
    whole, console = console_of(name), Console()
    for start in range(0, len(data), size):
        console.hear(data[start : start + size])
    assert console.outcome is whole.outcome
    assert (console.mounted, console.failed, console.log) == (whole.mounted, whole.failed, whole.log)


@pytest.mark.parametrize(
    ("line", "outcome"),
    [
        pytest.param("[    1.234567] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
                     Outcome.KERNEL_PANIC, id="kernel"),
        pytest.param('Welcome to emergency mode! After logging in, type "journalctl -xb" to view',
                     Outcome.EMERGENCY_MODE, id="systemd 219"),
        pytest.param("You are in rescue mode. After logging in, type", Outcome.EMERGENCY_MODE, id="rescue"),
        pytest.param("Give root password for maintenance", Outcome.EMERGENCY_MODE, id="sulogin"),
        pytest.param("Cannot open access to console, the root account is locked.", Outcome.EMERGENCY_MODE, id="locked"),
        pytest.param("Entering emergency mode. Exit the shell to continue.", Outcome.NO_ROOT_FILE_SYSTEM, id="dracut"),
        pytest.param("dracut:/# ", Outcome.NO_ROOT_FILE_SYSTEM, id="dracut's shell"),
        pytest.param("(initramfs) ", Outcome.NO_ROOT_FILE_SYSTEM, id="initramfs-tools"),
        pytest.param("ALERT!  UUID=1-2 does not exist.  Dropping to a shell!", Outcome.NO_ROOT_FILE_SYSTEM, id="alert"),
        pytest.param("You are now being dropped into an emergency shell.", Outcome.NO_ROOT_FILE_SYSTEM, id="Arch"),
        pytest.param("grub rescue> ", Outcome.NO_BOOT_LOADER, id="GRUB without its files"),
        pytest.param("grub> ", Outcome.NO_BOOT_LOADER, id="GRUB without a configuration"),
        pytest.param("Missing operating system.", Outcome.NO_BOOT_LOADER, id="DOS"),
        pytest.param("BdsDxe: No bootable option or device was found.", Outcome.NO_BOOT_LOADER, id="OVMF"),
        pytest.param("CentOS release 6.10 (Final)", Outcome.NO_ANSWER, id="nothing that decides"),
    ],
)  # fmt: skip
def test_one_line_may_decide(line: str, outcome: Outcome) -> None:
    console = read_console([line])
    assert console.outcome is outcome
    assert console.is_decided is (outcome is not Outcome.NO_ANSWER)
    assert console.evidence == (line.strip() if console.is_decided else "")


def test_emergency_mode_of_an_initramfs_with_systemd_is_a_missing_root() -> None:
    console = read_console(["[DEPEND] Dependency failed for sysroot.mount - /sysroot.", "You are in emergency mode."])
    assert console.outcome is Outcome.NO_ROOT_FILE_SYSTEM


@pytest.mark.parametrize(
    ("line", "mounted"),
    [
        ("[  OK  ] Mounted /data.", ("/data",)),
        ("[  OK  ] Mounted data.mount - /data.", ("/data",)),
        ("[  OK  ] Mounted data.mount.", ("/data",)),
        (r"[  OK  ] Mounted srv-archive\x2d2023.mount.", ("/srv/archive-2023",)),
        (r"[  OK  ] Mounted srv-caf\xc3\xa9.mount.", ("/srv/café",)),
        ("[  OK  ] Mounted srv-a\\x2dvery…ong.mount - /srv/a-very-long.", ("/srv/a-very-long",)),
        (r"[  OK  ] Mounted a\x20b.mount - /a b.", ("/a b",)),
        ("[    9.1] systemd[1]: Mounted data.mount - /data.", ("/data",)),
        ("[  OK  ] Activated swap /dev/vdb2.", ("swap on /dev/vdb2",)),
        ("[  OK  ] Set up automount data.automount - /data.", ("/data",)),
        ("[  OK  ] Mounted dev-hugepages.mount - Huge Pages File System.", ()),
        ("[  OK  ] Mounted sys-kernel-debug.mount - Kernel Debug File System.", ()),
        ("[  OK  ] Mounted dev-hugepages.mount.", ()),
        ("[    5.2] EXT4-fs (vdb): mounted filesystem with ordered data mode.", ()),
        ("Mounting data.mount - /data...", ()),
    ],
)
def test_mounted_is_what_systemd_says_is(line: str, mounted: tuple[str, ...]) -> None:
    assert read_console([line]).mounted == mounted


@pytest.mark.parametrize(
    ("line", "failed"),
    [
        ("[FAILED] Failed to mount /data.", ("/data",)),
        ("[FAILED] Failed to mount data.mount - /data.", ("/data",)),
        ("[DEPEND] Dependency failed for /data.", ("/data",)),
        ("[DEPEND] Dependency failed for data.mount - /data.", ("/data",)),
        ("[DEPEND] Dependency failed for dev-vdb2.swap - /dev/vdb2.", ("swap on /dev/vdb2",)),
        ("[DEPEND] Dependency failed for /dev/disk/by-uuid/1-2.", ("swap on /dev/disk/by-uuid/1-2",)),
        ("[FAILED] Failed to activate swap dev-vdb2.swap - /dev/vdb2.", ("swap on /dev/vdb2",)),
        ("[DEPEND] Dependency failed for local-fs.target - Local File Systems.", ()),
        ("[DEPEND] Dependency failed for File System Check on /dev/vdb1.", ()),
        ("[FAILED] Failed to mount srv-a\\x2dvery…very/long/path.", ("srv-a\\x2dvery…very/long/path",)),
        ("mount: /data: can't find UUID=1-2.", ("/data",)),
        ("mount: mounting /dev/vdb1 on /data failed: No such file or directory", ("/data",)),
        ("mount: /dev/vdb1 is already mounted", ()),
    ],
)
def test_failed_is_what_was_to_be_mounted(line: str, failed: tuple[str, ...]) -> None:
    assert read_console([line]).failed == failed


def test_guest_that_comes_up_without_a_mount_is_not_well() -> None:
    console = read_console(["[FAILED] Failed to mount /data.", "host login: "])
    assert (console.outcome, console.is_up, console.is_decided) == (Outcome.MOUNT_FAILED, True, False)


def test_mount_that_fails_first_and_succeeds_later_is_mounted() -> None:
    console = read_console(["[FAILED] Failed to mount /data.", "[  OK  ] Mounted /data.", "host login: "])
    assert (console.outcome, console.failed) == (Outcome.EVERYTHING_MOUNTED, ())


@pytest.mark.parametrize("line", ["host login: ", "host login: root (automatic login)", "localhost.localdomain login:"])
def test_login_prompt_is_the_end_of_a_boot(line: str) -> None:
    console = Console()
    console.hear(line.encode())
    assert console.is_up


@pytest.mark.parametrize("line", ["Last login: Tue Mar 12 06:41:53 on ttyS0", "the login: prompt comes"])
def test_talk_of_logins_is_no_prompt(line: str) -> None:
    assert not read_console([line]).is_up


def test_name_of_a_mount_point_is_taken_once_it_is_whole() -> None:
    console = Console()
    for part in (b"[  OK  ] Mounted /da", b"ta/orders", b".\r\n"):
        console.hear(part)
    assert console.mounted == ("/data/orders",)


def test_boot_ends_when_all_that_was_expected_is_there() -> None:
    console = read_console(["[  OK  ] Mounted /data.", "host login: "], expected=["/data"])
    assert (console.is_decided, console.outcome) == (True, Outcome.EVERYTHING_MOUNTED)


def test_expected_mount_that_never_came_is_missed() -> None:
    console = read_console(["[  OK  ] Mounted /data.", "host login: "], expected=["/data", "/srv"])
    assert (console.is_decided, console.outcome, console.failed) == (False, Outcome.MOUNT_FAILED, ("/srv",))


def test_quiet_guest_is_not_blamed_for_what_it_does_not_tell() -> None:
    assert read_console(["host login: "], expected=["/data"]).outcome is Outcome.EVERYTHING_MOUNTED


def test_waiting_is_kept_once_in_the_log_and_ends_with_other_words() -> None:
    console = Console()
    for second in range(5):
        star = "*" * second
        console.hear(f"\r\x1b[K[{star:6}] A start job is running for /dev/vdb1 ({second}s / 1min 30s)".encode())
    console.hear(b"\r\n")
    assert console.waiting_for == "/dev/vdb1"
    assert len(console.log) == 1
    console.hear(b"\r\x1b[K[ TIME ] Timed out waiting for device /dev/vdb1.\r\n")
    assert console.waiting_for == ""
    assert len(console.log) == 2


@pytest.mark.parametrize("what", ["Job dev-vdz1.device/start running", "Job dev-disk-by…tart running"])
def test_waiting_in_the_words_for_a_unit_without_description_is_known(what: str) -> None:
    console = read_console([f"[ *** ] (2 of 2) {what} ({second}s / 1min 30s)" for second in range(5)])
    assert console.waiting_for in {"dev-vdz1.device", "dev-disk-by…tart"}
    assert len(console.log) == 1


def test_escapes_of_a_terminal_do_not_reach_anybody() -> None:
    console = read_console(["\x1b]0;owned\x07\x1b[31mred\x1b[0m \x9b2J \u202eevil", "\x1b[2J\x1b[04;08Hmoved"])
    assert console.log == ("red \\x9b2J \\u202eevil", "moved")


def test_memory_does_not_grow_with_what_the_guest_says() -> None:
    console = Console()
    for _ in range(50):
        console.hear(b"x" * 100_000 + b"\n" * 3 + b"line\n" * 300)
    assert len(console.log) <= KEPT_LINES + 1
    assert max(map(len, console.log)) <= LONGEST_LINE


def test_swap_that_never_came_is_missed_though_its_name_is_cut() -> None:
    console = read_console(
        [
            "[ TIME ] Timed out waiting for device …dbeef-dead-4ead-8ead-deadbeefdead.",
            "[DEPEND] Dependency failed for dev-…dbeef-dead-4ead-8ead-deadbeefdead.",
            "[DEPEND] Dependency failed for swap.target - Swaps.",
            "[  OK  ] Reached target multi-user.target - Multi-User System.",
            "iZferrytest01Z login: ",
        ]
    )
    assert console.outcome is Outcome.MOUNT_FAILED
    assert list(console.failed) == ["swap on dev-…dbeef-dead-4ead-8ead-deadbeefdead"]
