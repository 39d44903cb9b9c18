"""What the guest's other files say about mounts, beside its fstab and its boot loader; pure values.

Filled by `config_reading` in the same launch of the appliance in which fstab is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fstab_check.autofs import AutofsEntry
from fstab_check.cloud_init import CloudInit
from fstab_check.lvm_config import LvmConfig
from fstab_check.md_config import MdConfig
from fstab_check.unit_files import Units


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestConfig:
    """All that was read, and in `unread`, by path, why a file is not among it: what it says is unknown then.

    `links` are the mount points of fstab that are symlinks or lie behind one, with the path that they lead to.
    """

    units: Units = field(default_factory=Units)
    cloud: CloudInit = field(default_factory=CloudInit)
    lvm: LvmConfig = field(default_factory=LvmConfig)
    md: MdConfig | None = None  # None: nobody looked
    autofs: tuple[AutofsEntry, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)
