"""Knows what all sparse extents of VMDK have in common: grains, tables, header, descriptor.

The source is VMware's technical note "Virtual Disk Format 5.0", chapters "Hosted Sparse Extents" and "Stream-Optimized
Compressed Sparse Extents".
"""

from __future__ import annotations

import secrets
import struct
from dataclasses import dataclass

SECTOR = 512
GRAIN = 128 * SECTOR  # what VMware makes, and the only size that streams have
GRAINS_PER_TABLE = 512
TABLE = GRAINS_PER_TABLE * GRAIN  # bytes of the disk that a grain table covers: 32 MiB
LARGEST = (1 << 32) * SECTOR  # a grain table holds sector numbers of 32 bits
DESCRIPTOR, DESCRIPTOR_SIZE = 1, 20  # sectors

_HEADER = struct.Struct("<4sIIQQQQIQQQB4sH433x")
_DESCRIPTOR_TEXT = """\
# Disk DescriptorFile
version=1
CID={content_id:08x}
parentCID=ffffffff
createType="{kind}"

# Extent description
{access} {sectors} SPARSE "{name}"

# The Disk Data Base
#DDB

ddb.adapterType = "lsilogic"
ddb.geometry.cylinders = "{cylinders}"
ddb.geometry.heads = "255"
ddb.geometry.sectors = "63"
ddb.virtualHWVersion = "4"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The first sector of a sparse extent; all places are sector numbers, `capacity` and `overhead` sectors."""

    version: int
    flags: int
    capacity: int
    directory: int
    redundant_directory: int = 0
    overhead: int
    compression: int = 0

    def pack(self) -> bytes:
        return _HEADER.pack(
            b"KDMV", self.version, self.flags, self.capacity, GRAIN // SECTOR, DESCRIPTOR, DESCRIPTOR_SIZE,
            GRAINS_PER_TABLE, self.redundant_directory, self.directory, self.overhead, 0, b"\n \r\n", self.compression,
        )  # fmt: skip


def describe(kind: str, access: str, name: str, sectors: int) -> bytes:
    """Return the descriptor of a disk that is one file, with the sectors that are kept for it."""
    content_id = secrets.randbelow(0xFFFFFFFE)  # ffffffff and fffffffe have meanings of their own
    cylinders = min(65535, max(1, sectors // (255 * 63)))
    text = _DESCRIPTOR_TEXT.format(
        content_id=content_id, kind=kind, access=access, sectors=sectors, name=name, cylinders=cylinders
    )
    return text.encode().ljust(DESCRIPTOR_SIZE * SECTOR, b"\0")
