"""All the files that decide about mounts are read from a real disk, in the one launch in which fstab is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fstab_check.codes import Code
from fstab_check.examine import examine_guest
from migration.target import Target
from migration.verdict import Outcome
from tests.fstab_check_disks import disk_of, make_ext4, make_tree
from tests.fstab_check_fixtures import mount_text

ROOT, DATA = ("1" * 8 + "-1111-4111-8111-" + "1" * 12, "2" * 8 + "-2222-4222-8222-" + "2" * 12)
UNITS, SYSTEM = "etc/systemd/system", "usr/lib/systemd/system"
FSTAB = (
    f"UUID={ROOT} / ext4 defaults 0 1\n"
    f"UUID={DATA} /masked ext4 nofail 0 2\n"  # data.mount is masked
    f"UUID={DATA} /my-data ext4 defaults 0 2\n"  # a unit counts in its place
    "tmpfs /link tmpfs nofail,x-systemd.requires=there.service 0 0\n"
    "LABEL=none /lost ext4 nofail,x-systemd.requires=nowhere.service 0 0\n"
)
FILES = {
    "etc/fstab": FSTAB,
    "boot/grub/grub.cfg": f"linux /vmlinuz root=UUID={ROOT} ro\n",
    "real/.keep": "",
    # The same mount as the line's, by another name of the disk that is on no bus.
    f"{UNITS}/my\\x2ddata.mount": mount_text("/dev/vdz", "/my-data"),
    f"{UNITS}/lost.mount.d/10-type.conf": "[Mount]\nType=xfs\n",
    f"{UNITS}/empty.mount": "",
    f"{SYSTEM}/opt.mount": mount_text("/dev/vdy", "/opt"),
    f"{SYSTEM}/idle.mount": mount_text("/dev/vdx", "/idle"),
    f"{SYSTEM}/db@.service": "[Unit]\nRequiresMountsFor=/lost/db\n",
    f"{SYSTEM}/there.service": "",
    "usr/bin/cloud-init": "",
    "etc/cloud/cloud.cfg": "datasource_list: [AliYun]\nmounts:\n- [vdw, /w]\n",
    "etc/cloud/cloud.cfg.d/50.cfg": "mounts:\n- [vdv, /v]\n",
    "etc/cloud/cloud.cfg.d/60.cfg": "a: &a 1\n",
    "etc/cloud/cloud.cfg.d/70.cfg": "x: *x\n",
    "etc/mdadm.conf": "ARRAY /dev/md0 UUID=1:2:3:4\n",
    "etc/lvm/lvmlocal.conf": "#" * 300_000,
    "usr/sbin/automount": "",
    "etc/auto.master": "/mnt /etc/auto.mnt\n",
    "etc/auto.master.d/x.autofs": "/-\tfile:/etc/auto.direct\n",
    "etc/auto.mnt": "nas nas.example:/\n",
    "etc/auto.direct": "/direct -fstype=ext4 :/dev/vdu1\n",
}


@pytest.mark.slow
def test_other_files_are_read_from_a_real_disk_in_the_same_launch(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", FILES)
    (tree / UNITS / "masked.mount").symlink_to("/dev/null")
    (tree / "link").symlink_to("real")
    (tree / "lib").symlink_to("usr/lib")
    for folder, name in (("multi-user.target.wants", "db@1.service"), ("local-fs.target.wants", "opt.mount")):
        (tree / UNITS / folder).mkdir()
        (tree / UNITS / folder / name).symlink_to(f"/{SYSTEM}/{name}")
    # Neither may hold up the look, nor lead it out of the guest.
    os.mkfifo(tree / "etc/lvm/lvm.conf")
    (tree / "etc/hostname").symlink_to("/../../../etc/hostname")  # in the guest that is itself
    (tree / "etc/cloud/cloud.cfg.d/80.cfg").symlink_to("80.cfg")
    disks = [
        disk_of(make_ext4(tmp_path / "system.raw", uuid=ROOT, tree=tree, mib=24), "xvda"),
        disk_of(make_ext4(tmp_path / "data.raw", uuid=DATA), "xvdb"),
    ]
    verdict = examine_guest(disks, targets=[Target.VIRTIO])

    found = {(finding.code, finding.file, finding.line) for finding in verdict.findings}
    unread = ("cloud/cloud.cfg.d/70.cfg", "cloud/cloud.cfg.d/80.cfg", "hostname", "lvm/lvm.conf", "lvm/lvmlocal.conf")
    told_unread = sorted(file or "" for code, file, _ in found if code == Code.CONFIG_UNEXAMINED)
    assert told_unread == [f"/etc/{path}" for path in unread]
    expected = {
        (Code.MOUNT_UNIT_MASKED, "/etc/fstab", 2),
        (Code.MOUNT_UNIT_OVERRIDES, "/etc/fstab", 3),
        (Code.MOUNT_UNIT_SOURCE, f"/{UNITS}/my\\x2ddata.mount", 5),
        (Code.MOUNT_UNIT_OVERRIDES, "/etc/fstab", 5),
        (Code.MOUNT_UNIT_SOURCE, f"/{SYSTEM}/opt.mount", 5),
        (Code.MOUNTPOINT_SYMLINK, "/etc/fstab", 4),
        (Code.DEPENDENCY_UNKNOWN, "/etc/fstab", 5),
        (Code.SERVICE_NEEDS_MOUNT, f"/{SYSTEM}/db@.service", 2),
        (Code.CLOUD_INIT_MOUNT, "/etc/cloud/cloud.cfg.d/50.cfg", 2),
        (Code.CLOUD_INIT_DATASOURCE, "/etc/cloud/cloud.cfg", 1),
        (Code.MD_ARRAY_ABSENT, "/etc/mdadm.conf", 1),
        (Code.AUTOFS_NETWORK, "/etc/auto.mnt", 1),
        (Code.AUTOFS_DEVICE, "/etc/auto.direct", 1),
    }
    assert expected <= found
    assert (Code.DEPENDENCY_UNKNOWN, "/etc/fstab", 4) not in found
    assert not any("idle" in finding.message or "empty" in finding.message for finding in verdict.findings)

    told = [(line.mountpoint, line.outcome) for line in verdict.forecasts[0].lines]
    assert told == [
        ("/", Outcome.MOUNTED),
        ("/", Outcome.MOUNTED),
        ("/masked", Outcome.IGNORED),
        ("/my-data", Outcome.EMERGENCY),
        ("/link", Outcome.MOUNTED),
        ("/lost", Outcome.IGNORED),
        ("/opt", Outcome.DELAYED),
    ]
