"""What a run converts its disks to, and what it does with them then."""

from __future__ import annotations

from dataclasses import dataclass

from migration.disk import DiskFormat
from migration.errors import InvalidInput


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
