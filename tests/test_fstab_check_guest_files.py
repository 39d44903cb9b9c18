"""Reading of the guest's files stays within bounds, and takes units in the order in which systemd does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from fstab_check.config_reading import read_config
from fstab_check.guest_config import GuestConfig
from fstab_check.guest_files import MAX_FILE, MAX_NAMES, GuestFiles
from fstab_check.unit_reading import read_units

if TYPE_CHECKING:
    import guestfs


class FakeAppliance:
    """Answers from a folder as libguestfs would from a disk, and counts how often it is asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked = 0
        self.broken = ""  # a folder whose blocks are damaged

    def _path(self, path: str) -> Path:
        self.asked += 1
        return self.folder / path.lstrip("/")

    def ls(self, path: str) -> list[str]:
        if path == self.broken:
            raise RuntimeError("I/O error")
        return [name.name for name in self._path(path).iterdir()]

    def readlinklist(self, path: str, names: list[str]) -> list[str]:
        folder = self._path(path)
        return [os.readlink(folder / name) if (folder / name).is_symlink() else "" for name in names]  # noqa: PTH115

    def is_dir(self, path: str, *, followsymlinks: bool) -> bool:
        assert followsymlinks
        return self._path(path).is_dir()

    def is_file(self, path: str, *, followsymlinks: bool) -> bool:
        assert followsymlinks
        return self._path(path).is_file()

    def exists(self, path: str) -> bool:
        return self._path(path).exists()

    def pread(self, path: str, count: int, offset: int) -> bytes:
        return self._path(path).read_bytes()[offset : offset + count]

    def realpath(self, path: str) -> str:
        real = self._path(path).resolve(strict=False)
        if not real.exists():
            raise RuntimeError("realpath: No such file or directory")
        return f"/{real.relative_to(self.folder.resolve())}"

    def ping_daemon(self) -> None:
        self.asked += 1


def appliance(folder: Path, files: Mapping[str, str]) -> FakeAppliance:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return FakeAppliance(folder)


def files_of(fake: FakeAppliance) -> GuestFiles:
    return GuestFiles(cast("guestfs.GuestFS", fake))


ETC, LOCAL, USR = "etc/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system"


def test_units_are_taken_from_the_first_folder_that_has_them(tmp_path: Path) -> None:
    what = "[Mount]\nWhat={}\n"
    fake = appliance(
        tmp_path,
        {
            f"{ETC}/a.mount": what.format("etc"), f"{USR}/a.mount": what.format("usr"),
            f"{LOCAL}/b.mount": what.format("local"), f"{USR}/b.mount": what.format("usr"),
            "lib/systemd/system/c.mount": what.format("lib"),
            f"{ETC}/mount.d/10.conf": "[Mount]\nOptions=all\n", f"{USR}/a.mount.d/20.conf": "[Mount]\nType=usr\n",
            f"{ETC}/a.mount.d/20.conf": "[Mount]\nType=etc\n", f"{ETC}/a.mount.d/no": "[Mount]\nType=no\n",
            f"{ETC}/d.mount.d/x.conf": "[Mount]\nWhat=drop-in\n",
        },
    )  # fmt: skip
    (tmp_path / ETC / "a.mount.d/30.conf").symlink_to("/dev/null")
    units = read_units(files_of(fake)).by_name
    whats = {name: unit.value("Mount", "What") for name, unit in units.items()}
    assert whats == {"a.mount": "etc", "b.mount": "local", "c.mount": "lib", "d.mount": "drop-in"}
    assert units["a.mount"].value("Mount", "Type") == "etc"
    assert units["a.mount"].value("Mount", "Options") == "all"
    assert units["a.mount"].is_by_administrator
    assert not units["b.mount"].is_by_administrator
    assert units["d.mount"].file is None


def test_masked_units_and_what_pulls_units_in(tmp_path: Path) -> None:
    service = "[Unit]\nRequiresMountsFor=/x\n"
    files = {f"{USR}/a@.service": service, f"{ETC}/empty.mount": "", f"{USR}/x.wants/m.mount": ""}
    fake = appliance(tmp_path, files)
    (tmp_path / "lib").symlink_to("usr/lib")
    (tmp_path / ETC / "null.mount").symlink_to("/dev/null")
    (tmp_path / ETC / "multi-user.target.wants").mkdir()
    (tmp_path / ETC / "multi-user.target.wants/a@1.service").symlink_to("/x")
    units = read_units(files_of(fake)).by_name
    assert {name for name, unit in units.items() if unit.is_masked} == {"empty.mount", "null.mount"}
    assert units["a@1.service"].words("Unit", "RequiresMountsFor")[0][0] == "/x"
    assert units["a@1.service"].pulled_in_by == {"multi-user.target.wants"}
    assert "m.mount" not in units, "it has no file"


def test_reading_stays_within_bounds_and_says_what_it_left_out(tmp_path: Path) -> None:
    many = {f"{ETC}/m{number}.mount": "[Mount]\nWhat=x\n" for number in range(1100)}
    many |= {f"{USR}/t{number}.wants/x.service": "" for number in range(100)}
    fake = appliance(tmp_path, many)
    config = read_config(cast("guestfs.GuestFS", fake), [])
    assert fake.asked < 3500
    assert "too much was read before it" in config.unread.values()
    big = appliance(tmp_path / "big", {"etc/x": "x" * (MAX_FILE + 1), "etc/y": "y"})
    files = files_of(big)
    assert files.read("/etc/x") is None
    assert "larger than" in files.unread["/etc/x"]
    assert files.read("/etc/y") is not None
    assert files.read("/etc/none") is None
    assert list(files.unread) == ["/etc/x"], "what is not there is no gap"


def test_folders_of_very_many_names_are_cut_and_told(tmp_path: Path) -> None:
    fake = appliance(tmp_path, {f"etc/f/{number}": "" for number in range(MAX_NAMES + 1)})
    files = files_of(fake)
    assert len(files.names("/etc/f")) == MAX_NAMES
    assert "/etc/f" in files.unread


def test_folder_that_cannot_be_listed_is_told(tmp_path: Path) -> None:
    fake = appliance(tmp_path, {f"{ETC}/a.mount": ""})
    fake.broken = f"/{ETC}"
    assert read_config(cast("guestfs.GuestFS", fake), []).unread == {f"/{ETC}": "its names cannot be read: I/O error"}


def test_pipes_and_devices_are_not_opened(tmp_path: Path) -> None:
    fake = appliance(tmp_path, {"etc/x": ""})
    os.mkfifo(tmp_path / "etc/fifo")
    files = files_of(fake)
    assert files.read("/etc/fifo") is None
    assert files.unread == {"/etc/fifo": "it is no regular file"}


def test_guest_without_any_of_the_files_has_nothing_to_tell(tmp_path: Path) -> None:
    config = read_config(cast("guestfs.GuestFS", appliance(tmp_path, {})), ["/data"])
    assert config.unread == {}
    assert config.cloud == GuestConfig().cloud
    assert config.autofs == ()
    assert config.links == {}
