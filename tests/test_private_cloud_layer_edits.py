"""What is written into layers, seen from outside of them; one appliance for each test but the last."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from migration.disk_file import find_disks
from migration.errors import GuestError
from migration.overlay import make_overlay
from migration.run import run
from private_cloud.boot_test import _edit_layers
from private_cloud.layer_edits import Edited, Edits
from private_cloud.witness import WITNESS_LINKS, witness_files
from tests.conftest import ToolMaker

LABEL = "system_u:object_r:systemd_unit_file_t:s0"
PLANT = Edits(files=witness_files("0123"), links=WITNESS_LINKS)


def make_root(folder: Path, *commands: str) -> Path:
    """Make a file system as `commands` for debugfs say, and return a layer over it."""
    disk = folder / "system.raw"
    run(["mke2fs", "-q", "-F", "-t", "ext4", disk, "16M"])
    run(["debugfs", "-w", "-f", "-", disk], stdin="".join(f"{command}\n" for command in commands))
    return make_overlay(find_disks([str(disk)])[0], folder / "layer.qcow2")


def edit(layer: Path, edits: Edits) -> Edited:
    program: list[str | Path] = [
        sys.executable,
        "-I",
        "-m",
        "private_cloud.layer_edits",
        "emulation",
        layer.parent,
        layer,
    ]
    return Edited(**json.loads(run(program, stdin=json.dumps(asdict(edits)))))


def inside(layer: Path, command: str) -> str:
    """Return what debugfs says of the file system in the layer."""
    raw = layer.with_suffix(".flat")
    run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", layer, raw])
    return run(["debugfs", "-f", "-", raw], stdin=f"{command}\n")


@pytest.mark.slow
def test_witness_goes_where_the_guests_links_lead_and_has_the_label_of_its_neighbours(tmp_path: Path) -> None:
    # An absolute link, as a guest may have one that means us harm: it is followed inside the guest only.
    layer = make_root(
        tmp_path, "mkdir etc", "mkdir opt", "mkdir opt/system", "symlink etc/systemd /opt",
        f"ea_set opt/system security.selinux {LABEL}",
    )  # fmt: skip
    assert edit(layer, PLANT) == Edited(boot_files=[], why_not_planted="")  # type: ignore[arg-type]  # as JSON has it
    said = inside(layer, "cat opt/system/ferry-witness.service")
    assert "ExecStart=/bin/sh /etc/systemd/system/ferry-witness.sh" in said
    for path in ("ferry-witness.service", "ferry-witness.sh", "sysinit.target.wants/ferry-witness.service"):
        assert LABEL in inside(layer, f"ea_get opt/system/{path} security.selinux")
    assert inside(layer, "stat opt/system/sysinit.target.wants/ferry-witness.service").count("Type: symlink") == 1


@pytest.mark.exhaustive
@pytest.mark.slow
def test_guest_without_systemd_gets_no_witness(tmp_path: Path) -> None:
    edited = edit(make_root(tmp_path, "mkdir etc", "mkdir home"), PLANT)
    assert edited.why_not_planted == "no file system that can be read holds a root with systemd"
    assert "systemd" not in inside(tmp_path / "layer.qcow2", "ls etc")


@pytest.mark.exhaustive
@pytest.mark.slow
def test_root_that_cannot_be_written_to_is_a_reason(tmp_path: Path) -> None:
    # /etc/systemd/system leads nowhere.
    layer = make_root(
        tmp_path, "mkdir etc", "mkdir usr", "mkdir usr/lib", "mkdir usr/lib/systemd",
        "write /dev/null usr/lib/systemd/systemd", "symlink etc/systemd /nowhere/at/all",
    )  # fmt: skip
    assert edit(layer, PLANT).why_not_planted.startswith("nothing can be added to its root: ")


@pytest.mark.parametrize("said", ["No module named 'guestfs'", "\x1b[2Jevil"])
def test_appliance_that_does_not_start_is_a_reason_and_only_a_serial_console_fails_for_it(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake_tool: ToolMaker
) -> None:
    monkeypatch.setattr(sys, "executable", str(fake_tool("breaker", f'echo "{said}" >&2; exit 1')))
    edited = _edit_layers(Edits(files={"/x": ""}), [], tmp_path, kvm=False, stop=None)
    assert edited.why_not_planted == f"no appliance: {said}".replace("\x1b", "\\x1b")
    with pytest.raises(GuestError, match="no serial console could be added"):
        _edit_layers(Edits(serial_console=True, files={"/x": ""}), [], tmp_path, kvm=False, stop=None)
