"""KVM is believed in only where something ran under it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from migration import acceleration
from migration.acceleration import BOOT_SECTOR, explain_kvm, give_up_kvm, kvm_works, proof_argv, run_proof
from migration.errors import CommandFailed

FakeTool = Callable[[str, str], Path]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Forget what this process found out, before and after."""

    def forget() -> None:
        acceleration._proven_reason_against.cache_clear()
        acceleration._given_up.clear()
        acceleration._said.clear()

    forget()
    yield
    forget()


@pytest.fixture
def kvm_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `/dev/kvm` that can be opened; the fake QEMUs decide what it is worth."""
    node = tmp_path / "kvm"
    node.touch()
    monkeypatch.setattr(acceleration, "KVM", node)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")


def test_boot_sector_has_the_size_and_the_signature_a_bios_wants() -> None:
    assert len(BOOT_SECTOR) == 512
    assert BOOT_SECTOR[-2:] == b"\x55\xaa"


def test_boot_sector_really_runs_under_qemu() -> None:
    run_proof("tcg")  # raises unless the sector wrote its status


def test_proof_fails_when_the_sector_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceleration, "BOOT_SECTOR", b"\xfa\xf4\xeb\xfd".ljust(510, b"\0") + b"\x55\xaa")
    monkeypatch.setattr(acceleration, "PROOF_TIMEOUT", 1.0)
    with pytest.raises(CommandFailed, match="ended by us"):
        run_proof("tcg")


def test_proof_argv_asks_for_the_cpu_that_libguestfs_will_ask_for() -> None:
    argv = proof_argv(Path("/tmp/a,b"), "kvm")  # noqa: S108  # nothing is made there
    assert argv[argv.index("-cpu") + 1] == "host"
    assert "file=/tmp/a,,b,format=raw,if=ide,snapshot=on" in argv


@pytest.mark.usefixtures("kvm_node")
def test_kvm_works_when_qemu_exits_with_the_sectors_status(fake_tool: FakeTool) -> None:
    fake_tool("qemu-system-x86_64", "exit 85")
    assert kvm_works()
    assert explain_kvm().startswith("KVM works")


@pytest.mark.usefixtures("kvm_node")
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        pytest.param('echo "error: failed to set MSR" >&2; kill -ABRT $$', "failed to set MSR", id="qemu-aborts"),
        pytest.param("exec sleep 60", "ended by us", id="qemu-hangs"),
        pytest.param("exit 0", "without a word", id="qemu-leaves-without-the-status"),
        pytest.param("exit 1", "without a word", id="qemu-fails-silently"),
    ],
)
def test_kvm_does_not_work_when(script: str, reason: str, fake_tool: FakeTool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceleration, "PROOF_TIMEOUT", 0.5)
    fake_tool("qemu-system-x86_64", script)
    assert not kvm_works()
    assert reason in explain_kvm()


def test_kvm_does_not_work_when_there_is_no_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceleration, "KVM", tmp_path / "none")
    assert not kvm_works()
    assert "is missing" in explain_kvm()


@pytest.mark.usefixtures("kvm_node")
def test_kvm_does_not_work_when_qemu_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("migration.run.SYSTEM_FOLDERS", ())
    assert not kvm_works()
    assert "cannot be tried" in explain_kvm()


@pytest.mark.usefixtures("kvm_node")
def test_kvm_does_not_work_when_nothing_could_be_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert not kvm_works()
    assert "no proof for riscv64" in explain_kvm()


@pytest.mark.usefixtures("kvm_node")
def test_kvm_is_tried_once_in_a_process(fake_tool: FakeTool, tmp_path: Path) -> None:
    fake_tool("qemu-system-x86_64", f"echo tried >> {tmp_path}/tries; exit 85")
    assert [kvm_works(), kvm_works(), explain_kvm() != ""] == [True, True, True]
    assert (tmp_path / "tries").read_text().split() == ["tried"]


def test_fallback_is_announced_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(acceleration, "KVM", tmp_path / "none")
    with caplog.at_level(logging.INFO):
        explain_kvm()
        assert not caplog.records  # asking is not falling back
        kvm_works()
        kvm_works()
        give_up_kvm("another reason")
    assert [record.getMessage() for record in caplog.records] == [
        f"KVM does not work here ({tmp_path}/none is missing): using emulation, which is slower"
    ]


@pytest.mark.usefixtures("kvm_node")
def test_kvm_that_was_given_up_stays_given_up(fake_tool: FakeTool) -> None:
    fake_tool("qemu-system-x86_64", "exit 85")
    assert kvm_works()
    give_up_kvm("the appliance does not start")
    assert not kvm_works()
    assert explain_kvm() == "KVM does not work here (the appliance does not start)"
