"""What a witness says, whole and damaged; its script runs here, under the shells that guests have."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from private_cloud.account import Account, Mount
from private_cloud.witness import LONGEST_RECORD, WITNESS_LINKS, Witness, witness_files

NONCE = "0123456789abcdef"
FSTAB = "# a comment\n\n/dev/vda1\t/  ext4 defaults 0 1\r\n/dev/x /no\\040where ext4 nofail 0 0\n/link /link none bind"


def record(kind: str, text: str = "") -> bytes:
    return f"\r\nferry-witness {NONCE} {kind} {len(text.encode())} {text}\r\n".encode()


BEGIN, END = record("begin"), record("end", "3 running")
RECORDS = (
    record("mount", "/ ext4 /dev/vda1 rw,relatime,ro")
    + record("mount", r"/a\040b xfs /dev/vdb rw,rw")
    + record("swap", "/dev/vdc")
)
WHOLE = BEGIN + RECORDS + END


def account_of(data: bytes) -> Account | None:
    witness = Witness(NONCE)
    witness.hear(data)
    return witness.account


@pytest.mark.parametrize("size", [1, 5, 64, 10_000])
def test_account_does_not_depend_on_how_the_bytes_are_cut(size: int) -> None:
    said = b"[  OK  ] Started x.\r\n\r\nhost login: " + record("here") + WHOLE + b"\r\x1b[K[***  ] A start job"
    witness = Witness(NONCE)
    others = b"".join(witness.hear(said[start : start + size]) for start in range(0, len(said), size))
    assert witness.account == Account(
        state="running",
        mounts=(
            Mount(point="/", type="ext4", source="/dev/vda1", is_read_only=True),
            Mount(point="/a b", type="xfs", source="/dev/vdb"),
        ),
        swaps=("/dev/vdc",),
        lines=(),
    )
    assert b"".join(others.split()) == b"[OK]Startedx.hostlogin:\x1b[K[***]Astartjob"


KERNEL = b"[    9.1] Kernel panic - not syncing: x\r\n"


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(BEGIN + RECORDS, id="no end"),
        pytest.param(RECORDS + END, id="no begin"),
        pytest.param(BEGIN + RECORDS.replace(b"xfs", b"xfs" + KERNEL) + END, id="the kernel speaks in a record"),
        pytest.param(BEGIN + RECORDS.replace(b"-witness", b"-wit" + KERNEL + b"ness", 1) + END, id="a record is lost"),
        pytest.param(BEGIN + RECORDS + record("swap", "/dev/vdd") + END, id="a record too many"),
        pytest.param(BEGIN + RECORDS[:40] + BEGIN + END, id="begins anew"),
        pytest.param(WHOLE.replace(NONCE.encode(), b"0000000000000000"), id="of another run"),
    ],
)
def test_account_that_is_not_whole_is_none(said: bytes) -> None:
    assert account_of(said) is None
    assert account_of(said + WHOLE) is not None  # the next copy


def test_word_of_the_kernel_in_a_record_reaches_the_console() -> None:
    said = (BEGIN + RECORDS).replace(b"xfs", b"xfs" + KERNEL)
    assert b"Kernel panic - not syncing" in Witness(NONCE).hear(said)


def test_what_is_said_before_the_account_shows_that_the_witness_is_there() -> None:
    witness = Witness(NONCE)
    witness.hear(record("here"))
    assert (witness.has_begun, witness.account) == (True, None)


def test_prompt_without_an_end_of_line_is_passed_on_at_once() -> None:
    assert Witness(NONCE).hear(b"\r\nhost login: ") == b"\r\nhost login: "


def test_memory_does_not_grow_with_a_record_that_does_not_end() -> None:
    witness = Witness(NONCE)
    start = f"ferry-witness {NONCE} mount 10 ".encode()
    passed = witness.hear(start) + b"".join(witness.hear(b"x" * 1000) for _ in range(100))
    assert len(passed) > 100 * 1000 - LONGEST_RECORD


def test_uuid_and_place_belong_to_what_they_follow() -> None:
    found = account_of(
        BEGIN + record("mount", r"/a\040b xfs /dev/vdb") + record("uuid", r"/a\x20b 12-34")
        + record("fstab", "UUID=12 /link xfs nofail 0 0") + record("place", "/a b") + record("end", "4 degraded")
    )  # fmt: skip
    assert found is not None
    assert (found.mounts[0].uuid, found.lines[0].options, found.lines[0].place) == ("12-34", "nofail", "/a b")
    assert found.missing == ()


SHELLS = [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)]


@pytest.mark.parametrize("shell", SHELLS)
def test_script_tells_what_is_mounted_here(shell: str, tmp_path: Path) -> None:
    port, programs = tmp_path / "port", tmp_path / "bin"
    programs.mkdir()
    for name, body in {"systemctl": "echo degraded", "sleep": "true", "findmnt": r"echo '/ 12-34'"}.items():
        (programs / name).write_text(f"#!/bin/sh\n{body}\n")
        (programs / name).chmod(0o755)
    (tmp_path / "fstab").write_bytes(FSTAB.encode())
    [script] = [text for path, text in witness_files(NONCE).items() if path.endswith(".sh")]
    script = script.replace(">/dev/ttyS0", f">>{port}").replace("/etc/fstab", str(tmp_path / "fstab"))
    script = script.replace("sleep ", f"{programs}/sleep ")  # busybox has one of its own
    (tmp_path / "witness.sh").write_text(script)
    words = [shell, "sh"] if shell == "busybox" else [shell]
    env = {"LC_ALL": "C", "PATH": f"{programs}:{os.environ['PATH']}"}
    done = subprocess.run([*words, tmp_path / "witness.sh"], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    witness = Witness(NONCE)
    assert witness.hear(port.read_bytes()).strip() == b""
    found = witness.account
    assert found is not None
    here = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    assert [mount.point.replace(" ", r"\040") for mount in found.mounts] == here
    assert {mount.uuid for mount in found.mounts if mount.point == "/"} == {"12-34"}
    assert found.state == "degraded"
    assert [line.name for line in found.lines] == ["/", "/no where", "/link"]
    assert [line.name for line in found.missing] == ["/no where", "/link"]


def test_unit_is_wanted_by_a_link_to_it() -> None:
    [(link, target)] = WITNESS_LINKS.items()
    files = witness_files(NONCE)
    assert os.path.normpath(os.path.join(os.path.dirname(link), target)) in files  # noqa: PTH118, PTH120
    [unit] = [text for path, text in files.items() if path.endswith(".service")]
    assert any(f"ExecStart=/bin/sh {path}\n" in unit for path in files)
