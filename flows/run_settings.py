"""What a run does with its disks once they are here, and which wishes contradict each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from migration.disk import DiskFormat
from migration.errors import InvalidInput
from migration.target import ALL_TARGETS, Target
from private_cloud.machine_plan import Wishes
from private_cloud.platforms import Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionSettings:
    """What the disks are converted to, and what becomes of them."""

    formats: tuple[DiskFormat, ...]
    compress: bool = False
    leave_out_free_space: bool = True
    keep_raw: bool = True

    def check(self) -> None:
        """Raise `InvalidInput` if nothing would be left of a disk that is let go."""
        if not self.keep_raw and DiskFormat.QCOW2 not in self.formats:
            raise InvalidInput(
                "without the RAW disks there must be qcow2 images, from which other formats can be made later",
                "add qcow2 to the formats, or keep the RAW disks",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionSettings:
    """The machine that is defined for the other side. Without `platforms`: for all that the images allow."""

    platforms: tuple[Platform, ...] = ()
    wishes: Wishes = field(default_factory=Wishes)


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleWish:
    """The bundle that is made in `folder`, None for the usual one. `split` is in bytes, None for one folder."""

    name: str = ""
    folder: Path | None = None
    split: int | None = None
    sign: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """All of it. The boot test is on the first of `targets`; without `bundle` there is none."""

    conversion: ConversionSettings
    on_fstab_mismatch: str
    targets: tuple[Target, ...] = ALL_TARGETS
    boot_test: bool = False
    definitions: DefinitionSettings = field(default_factory=DefinitionSettings)
    bundle: BundleWish | None = None
    decision_timeout: float | None = None  # seconds; None: as long as it takes
