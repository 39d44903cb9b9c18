"""Reads the guest's other files that decide about mounts, all from the root file system that is mounted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fstab_check import autofs, lvm_config, md_config
from fstab_check.autofs import AutofsEntry
from fstab_check.cloud_init import FOLDER, MAIN, CloudInit, parse_cloud_config
from fstab_check.guest_config import GuestConfig
from fstab_check.guest_files import GuestFiles
from fstab_check.lvm_config import LvmConfig
from fstab_check.md_config import MdConfig
from fstab_check.unit_reading import read_units
from migration.appliance import Refused, refusals

if TYPE_CHECKING:
    import guestfs

_CLOUD_INIT = (
    "/usr/bin/cloud-init",
    "/usr/lib/systemd/system/cloud-init.service",
    "/lib/systemd/system/cloud-init.service",
)
_AUTOFS = ("/usr/sbin/automount", "/sbin/automount")
_SWITCHED_OFF = "/etc/cloud/cloud-init.disabled"
MAX_LINKS = 64  # mount points of which it is asked whether a symlink is in the way


def read_config(g: guestfs.GuestFS, mountpoints: Sequence[str]) -> GuestConfig:
    """Read all of them; `mountpoints` are the normal paths of those in fstab that lie on the root."""
    files = GuestFiles(g)
    return GuestConfig(
        units=read_units(files), cloud=_read_cloud_init(files), lvm=_read_lvm(files), md=_read_md(files),
        autofs=_read_autofs(files),
        links=_read_links(files, mountpoints),
        unread=files.unread,
    )  # fmt: skip


def _read_lvm(files: GuestFiles) -> LvmConfig:
    texts = [text for path in lvm_config.FILES if (text := files.read(path)) is not None]
    return lvm_config.parse_lvm_config(texts, files.read(lvm_config.DEVICES_FILE))


def _read_md(files: GuestFiles) -> MdConfig:
    texts = [text for path in md_config.FILES if (text := files.read(path)) is not None]
    for folder in md_config.FOLDERS:
        texts += files.read_folder(folder, suffix=".conf")
    hostname = files.read("/etc/hostname")
    return md_config.parse_md_config(texts, hostname.text if hostname else "")


def _read_autofs(files: GuestFiles) -> tuple[AutofsEntry, ...]:
    """Read the maps of kind `file` that the master map names; others are told as not examined."""
    if not files.is_there(*_AUTOFS):
        return ()
    main = files.read(autofs.MASTER)
    masters = [*([main] if main else []), *files.read_folder(autofs.FOLDER, suffix=autofs.SUFFIX)]
    found: list[AutofsEntry] = []
    for entry in [entry for text in masters for entry in autofs.parse_master(text)][: autofs.MAX_MAPS]:
        if entry.map.startswith("-"):
            continue  # -hosts and -null: nothing but what somebody asks for
        path = entry.map if entry.map.startswith("/") else f"/etc/{entry.map}"
        if entry.kind != "file":
            files.unread[path] = f"a map of kind {entry.kind} for {entry.mountpoint}, which is not followed"
        elif (text := files.read(path)) is not None and text.text.startswith("#!"):
            files.unread[path] = f"a program that makes the map for {entry.mountpoint}, which is not followed"
        elif text is not None:
            found += autofs.parse_map(text, entry)
    return tuple(found[: autofs.MAX_ENTRIES])


def _read_cloud_init(files: GuestFiles) -> CloudInit:
    if not files.is_there(*_CLOUD_INIT) or files.is_there(_SWITCHED_OFF):
        return CloudInit()
    main = files.read(MAIN)
    config, unread = parse_cloud_config([*([main] if main else []), *files.read_folder(FOLDER, suffix=".cfg")])
    files.unread.update(unread)
    return config


def _read_links(files: GuestFiles, mountpoints: Sequence[str]) -> dict[str, str]:
    found = {}
    for path in mountpoints[:MAX_LINKS]:
        try:
            with refusals(files.g):
                real = files.g.realpath(path)
        except (Refused, UnicodeDecodeError):  # mostly: nothing is there
            continue
        if real != path:
            found[path] = real
    return found
