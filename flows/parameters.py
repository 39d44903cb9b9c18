"""The parameters of the flows, each with its description and its bounds.

What an operator changes from run to run is a parameter of its own, because Prefect merges a run's
parameters into its deployment's one top-level key at a time; what stays the same for a site is
grouped in models.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from flows.run_settings import BundleWish, ConversionSettings, DefinitionSettings, RunSettings
from image_export.limits import LIMITS, Limits
from migration.cloud import Cloud
from migration.disk import DiskFormat
from migration.errors import InvalidInput
from migration.image import GIB
from migration.target import ALL_TARGETS, Target
from private_cloud.bundle.medium import parse_medium
from private_cloud.machine_plan import Wishes
from private_cloud.platforms import Platform

ImageId = Annotated[
    str,
    Field(pattern=r"^m-[A-Za-z0-9]{3,64}$", title="Image", description="Id of the custom image, as m-bp1…"),
]
Region = Annotated[
    str,
    Field(
        pattern=r"^[a-z]{2}-[a-z0-9-]{2,40}$", title="Region", description="Region of image and bucket, as cn-hangzhou"
    ),
]
Bucket = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$",
        title="Bucket",
        description="OSS bucket that receives the export; it must be in the image's region",
    ),
]
Prefix = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9]{0,30}$",
        title="Object prefix",
        description="What the exported objects' names begin with, letters and digits only. Empty: one is chosen "
        "for the workspace, so that two exports of one image cannot be mistaken for each other",
    ),
]
WorkspacePath = Annotated[
    str,
    Field(
        min_length=1,
        title="Workspace",
        description="Folder on the worker for this migration; run again with the same folder, it goes on where it "
        "stopped. {image_id} and {date} (UTC, 2026-11) are filled in, ~ is the worker's home",
    ),
]
Formats = Annotated[
    list[DiskFormat],
    Field(min_length=1, title="Formats", description="What each disk is converted to"),
]
OnFstabMismatch = Annotated[
    Literal["fail", "warn", "repair", "ask"],
    Field(
        title="On fstab mismatch",
        description="fail: stop when /etc/fstab does not match the exported disks, before the download where that "
        "can be seen so early, before converting in any case; "
        "warn: convert all the same and say so in the report; "
        "repair: change what can be changed safely, in a layer over the downloaded disks, convert that, and stop "
        "only where errors are left or the guest cannot be examined; "
        "ask: suspend the run with the verdict and the proposed change as a question, and go on as a person decides",
    ),
]
Targets = Annotated[
    list[Target],
    Field(
        min_length=1,
        title="Targets",
        description="What the disks may hang on at the other side: the guest is judged for these alone, and what is "
        "wrong on all of them stops the run where a mismatch does. The first is the one that boot_test boots on",
    ),
]
Compress = Annotated[
    bool,
    Field(
        title="Compress",
        description="Make smaller images where the format can: qcow2 with zstd, VMDK as streamOptimized, "
        "which ESXi imports (OVA)",
    ),
]
KeepRaw = Annotated[
    bool,
    Field(
        title="Keep the RAW disks",
        description="Off: each downloaded disk is removed once its images are proven, the smallest first, so that less "
        "room is needed. The qcow2 image then stands in for it; what the guest had deleted is gone with the disk",
    ),
]
Shrink = Annotated[
    bool,
    Field(
        title="Leave out free space",
        description="Do not convert what the guest has deleted: the free space inside its file systems (ext2, ext3, "
        "ext4, xfs, btrfs, vfat) is trimmed in a layer over the downloaded disks, and reads as zeros in the images",
    ),
]
DecisionHours = Annotated[
    float | None,
    Field(
        gt=0,
        title="Hours for a decision",
        description="With on_fstab_mismatch=ask: the run fails if nobody has decided by then. Empty: it waits",
    ),
]
MakeBundle = Annotated[
    bool,
    Field(
        title="Bundle",
        description="Make a bundle for the way over an air gap: images, definitions, report, and a verifier that needs "
        "nothing but Python",
    ),
]
BootTest = Annotated[
    bool,
    Field(
        title="Boot test",
        description="Boot what was made in a throw-away machine on the worker, on the first of the targets. The run "
        "fails if the guest does not come up: emergency mode, kernel panic, no boot loader, no root, no answer",
    ),
]


class GroupOfSettings(BaseModel):
    """A group of settings in which a misspelled key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Endpoints(GroupOfSettings):
    """How the cloud is reached, where that is not the usual way. Always HTTPS, but to this machine itself."""

    ecs_endpoint: str = Field(default="", title="ECS endpoint", description="host[:port], if not the region's own")
    oss_endpoint: str = Field(
        default="", title="OSS endpoint", description="host[:port]: internal, accelerated or custom domain"
    )
    oss_is_cname: bool = Field(
        default=False, title="Custom domain", description="The OSS endpoint is a domain bound to this one bucket"
    )

    def cloud(self, region_id: str) -> Cloud:
        """Return the region as these endpoints reach it. Raises `InvalidInput`."""
        return Cloud(
            region_id=region_id, ecs_endpoint=self.ecs_endpoint,
            oss_endpoint=self.oss_endpoint, oss_is_cname=self.oss_is_cname,
        )  # fmt: skip


class MachineWishes(GroupOfSettings):
    """The machine that is defined for the other side. What is empty is chosen by what the image is."""

    platforms: list[Platform] = Field(
        default=[],
        title="Platforms",
        description="Empty: all that the images allow (libvirt, openstack, proxmox, qemu); ova and ovf hold the images "
        "once more. The run fails where one that is named cannot be defined",
    )
    name: str = Field(default="", title="Name", description="Of the machine. Empty: the image's")
    memory_mib: int = Field(default=2048, ge=128, title="Memory", description="MiB")
    cpus: int = Field(default=2, ge=1, le=512, title="Processors", description="Virtual ones")
    network: str = Field(default="", title="Network", description="What it is called over there. Empty: as usual there")

    def settings(self, targets: Sequence[Target], on_fstab_mismatch: str) -> DefinitionSettings:
        """Return what this means to a run; of all targets any will do, and the first of a choice is the one."""
        target = targets[0] if set(targets) != set(ALL_TARGETS) else None
        wishes = Wishes(
            name=self.name, memory=self.memory_mib, cpus=self.cpus, network=self.network, target=target,
            force=on_fstab_mismatch == "warn",
        )  # fmt: skip
        return DefinitionSettings(platforms=tuple(dict.fromkeys(self.platforms)), wishes=wishes)


class BundleOptions(GroupOfSettings):
    """How the bundle is made, where one is asked for."""

    name: str = Field(default="", title="Name", description="Empty: ferry- and the image's id")
    folder: str = Field(
        default="",
        title="Folder",
        description="On the worker. Empty: bundles, beside the workspace, where it shares the images' bytes",
    )
    split: str = Field(
        default="", title="Split", description="What a medium takes: 4G for FAT32, 25G. Empty: one folder"
    )
    signing_key: str = Field(
        default="",
        title="Signing key",
        description="Path of an SSH key on the worker (.pub: the agent has it). Empty: none",
    )

    def wish(self) -> BundleWish:
        """Return what this means to a run. Raises `InvalidInput`."""
        folder = Path(self.folder).expanduser() if self.folder else None
        if folder is not None and not folder.is_absolute():
            raise InvalidInput(
                f"bundle folder {self.folder!r} is relative, and a worker has no folder of its own", "start it with /"
            )
        return BundleWish(
            name=self.name, folder=folder, split=parse_medium(self.split) if self.split else None,
            sign=Path(self.signing_key).expanduser() if self.signing_key else None,
        )  # fmt: skip


def run_settings(
    *, formats: Sequence[DiskFormat], compress: bool, shrink: bool, on_fstab_mismatch: str, targets: Sequence[Target],
    boot_test: bool, machine: MachineWishes, bundle: bool, bundle_options: BundleOptions, decision_hours: float | None,
    keep_raw: bool = True,
) -> RunSettings:  # fmt: skip
    """Return what the parameters that all flows have in common mean to a run. Raises `InvalidInput`."""
    return RunSettings(
        conversion=ConversionSettings(
            formats=tuple(dict.fromkeys(formats)), compress=compress, leave_out_free_space=shrink, keep_raw=keep_raw
        ),
        on_fstab_mismatch=on_fstab_mismatch,
        targets=tuple(targets),
        boot_test=boot_test,
        definitions=machine.settings(targets, on_fstab_mismatch),
        bundle=bundle_options.wish() if bundle else None,
        decision_timeout=decision_hours and decision_hours * 3600,
    )


class LimitOverrides(GroupOfSettings):
    """The cloud's limits, where yours differ from what this version of Ferry knows. Empty: as known."""

    data_disks: int | None = Field(default=None, ge=0, title="Data disks", description="How many are accepted")
    data_disk_gib: int | None = Field(default=None, ge=1, title="Data disk size", description="Largest accepted, GiB")

    def limits(self) -> Limits:
        """Return the limits this version knows, with these in their place."""
        values = {"data_disks": self.data_disks, "data_disk_size": self.data_disk_gib and self.data_disk_gib * GIB}
        return LIMITS.override(**{name: value for name, value in values.items() if value is not None})


def workspace_path(template: str, image_id: str) -> Path:
    """Return the workspace that `template` means for `image_id` today. Raises `InvalidInput`."""
    try:
        text = template.format(image_id=image_id, date=f"{datetime.now(timezone.utc):%Y-%m}")
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise InvalidInput(
            f"workspace {template!r}: {error} is not something that can be filled in", "use {image_id} and {date} only"
        ) from error
    path = Path(text).expanduser()
    if not path.is_absolute():
        raise InvalidInput(
            f"workspace {text!r} is relative, and a worker has no folder of its own", "start it with / or ~"
        )
    return path
