"""Whatever the disks hold, looking at them ends in a verdict or a clear error, and shows nothing of this machine."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from fstab_check.codes import Code
from fstab_check.examine import examine_guest
from fstab_check.fstab import parse_fstab
from fstab_check.mountpoint_check import paths_of_interest
from fstab_check.render import render_json, render_text
from fstab_check.root import MAX_FSTAB, find_roots, look_at_paths, mount_root, parse_pretty_name, read_fstab
from fstab_check.survey import survey_guest
from migration.acceleration import kvm_works
from migration.appliance import open_guest
from migration.device import DeviceName
from migration.disk import Disk
from migration.errors import GuestError
from tests.fstab_check_disks import disk_of, make_ext4, make_tree
from tests.fstab_check_hostile_disks import ESCAPE, bad_filesystems, bad_trees, crowded_table, lying_tables

# What these two look at, an emulated machine takes nearly the time limit of a test for.
NEARLY_TEN_MINUTES = pytest.mark.skipif(not kvm_works(announce=False), reason="takes nearly ten minutes without KVM")
ROOT = "11111111-1111-4111-8111-111111111111"


def test_parse_pretty_name_reads_a_hostile_line_at_once() -> None:
    name = parse_pretty_name("PRETTY_NAME=" + " " * 60_000 + "x\n" + 'PRETTY_NAME="' * 5000)
    assert name == "x"
    assert len(parse_pretty_name("PRETTY_NAME=" + "\\" * 60_000)) <= 200


def name_disks(images: dict[str, Path], first: int = 0) -> dict[str, Disk]:
    return {name: disk_of(path, DeviceName(first + number).disk) for number, (name, path) in enumerate(images.items())}


@pytest.mark.slow
def test_etc_fstab_is_read_inside_the_guest_only(tmp_path: Path) -> None:
    secret = tmp_path / "of-this-machine" / "fstab"
    secret.parent.mkdir()
    secret.write_text("secret-of-this-machine /secret ext4\n")
    disks = name_disks(bad_trees(tmp_path, secret))
    found: dict[str, str] = {}
    with open_guest(list(disks.values())) as g:
        survey = survey_guest(g, list(disks.values()))
        survey, roots = find_roots(g, survey)
        for root in roots:
            assert root.volume.content is not None
            mount_root(g, survey, root)
            file = read_fstab(g)
            assert b"secret" not in file.content
            assert len(file.content) <= MAX_FSTAB
            assert len(file.evidence) < 1000
            first_line = file.content.partition(b"\n")[0].decode()
            found[root.volume.content.label] = f"{file.failure or 'read'} {first_line}".strip()
            look_at_paths(g, paths_of_interest(parse_fstab(file.content), 5))
            g.umount_all()
    unreadable = dict.fromkeys(
        ["fstab-loop", "fstab-outside", "fstab-self", "fstab-dangling", "fifo", "socket", "character", "block",
         "directory", "deep-links"], "fstab-unreadable",
    )  # fmt: skip
    # Two of them do not look like a Linux at all: their /etc leads nowhere inside them.
    assert found == unreadable | {
        "huge": "fstab-too-large UUID=x /y ext4 defaults 0 0",
        "etc-absolute": "read tmpfs /inside tmpfs",
        "etc-relative": "read tmpfs /inside tmpfs",
        "long-links": "read tmpfs /deep tmpfs",
        "big-release": "fstab-missing",
    }
    assert {root.operating_system for root in roots if not root.has_fstab} == {"x"}


@pytest.mark.slow
@NEARLY_TEN_MINUTES
def test_lying_disks_end_in_a_verdict_that_is_fit_to_print(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fstab = f"UUID={ROOT} / ext4 x 0 1\nLABEL=a\x1b[2Jb /{ESCAPE} ext4 nofail 0 2\n"
    tree = make_tree(tmp_path / "tree", {"etc/fstab": fstab, "usr/lib/os-release": f'PRETTY_NAME="{ESCAPE}"\n'})
    images = {"system": make_ext4(tmp_path / "system.raw", uuid=ROOT, label="root", tree=tree)}
    images |= lying_tables(tmp_path) | bad_filesystems(tmp_path)
    disks = name_disks(images)
    caplog.set_level(logging.DEBUG)
    verdict = examine_guest(list(disks.values()))
    for text in (render_text(verdict), render_json(verdict), caplog.text):
        assert all(char.isprintable() or char == "\n" for char in text)
    assert verdict.root == "xvda"
    codes = {name: [found.code for found in verdict.findings if found.device == disks[name].device] for name in images}
    unexamined = {name for name, found in codes.items() if Code.DISK_UNEXAMINED in found}
    assert {"count-bomb", "size-bomb", "protective-only", "xfs-boast"} <= unexamined  # and are not called blank


@pytest.mark.slow
@NEARLY_TEN_MINUTES
def test_crowded_partition_table_ends_in_a_clear_error(tmp_path: Path) -> None:
    disk = disk_of(crowded_table(tmp_path / "crowded.raw", 4096), "xvda")
    with pytest.raises(GuestError, match="no root file system of a Linux was found"):
        examine_guest([disk])


@pytest.mark.slow
def test_root_that_leads_in_circles_is_a_clear_error(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", {})
    (tree / "etc").rename(tree / "real-etc")
    (tree / "etc").symlink_to("etc")
    disk = disk_of(make_ext4(tmp_path / "system.raw", uuid=ROOT, label="root", tree=tree), "xvda")
    with pytest.raises(GuestError, match=r"no root file system of a Linux was found; seen: .*symbolic links"):
        examine_guest([disk])
