"""Knows that xvdb, vdb, sdb, hdb and nvme1n1 are five spellings of one thing: the second disk.

ECS and its exports say `xvdb`; an I/O-optimised guest says `vdb` for the same disk, an NVMe
instance `nvme1n1`, and the target may say `sdb`. What they share is the position.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_LETTERS = re.compile(r"(?:/dev/)?(?P<bus>xvd|vd|sd|hd)(?P<letters>[a-z]{1,3})(?P<partition>[1-9]\d{0,2})?")
_NVME = re.compile(r"(?:/dev/)?nvme(?P<index>\d{1,3})n1(?:p(?P<partition>[1-9]\d{0,2}))?")


@dataclass(frozen=True, slots=True, order=True)
class DeviceName:
    """A kernel name of a whole disk or of a partition, reduced to what all spellings share.

    `index` counts disks from 0 (xvda); `partition` counts from 1, None for the whole disk.
    """

    index: int
    partition: int | None = None

    @property
    def disk(self) -> str:
        """The whole disk as ECS spells it, without `/dev/`: `xvdb`."""
        return "xvd" + _letters_from_index(self.index)

    def __str__(self) -> str:
        return self.disk if self.partition is None else f"{self.disk}{self.partition}"

    def spelled(self, bus: str) -> str:
        """Return the `/dev` path on `bus`: "xvd", "vd", "sd", "hd" or "nvme"."""
        if bus == "nvme":
            part = "" if self.partition is None else f"p{self.partition}"
            return f"/dev/nvme{self.index}n1{part}"
        part = "" if self.partition is None else str(self.partition)
        return f"/dev/{bus}{_letters_from_index(self.index)}{part}"


def parse_device_name(text: str) -> DeviceName | None:
    """Return the position that a kernel disk name stands for, or None where `text` is no such name."""
    if match := _LETTERS.fullmatch(text):
        index = _index_from_letters(match["letters"])
    elif match := _NVME.fullmatch(text):
        index = int(match["index"])
    else:
        return None
    return DeviceName(index, int(match["partition"]) if match["partition"] else None)


def _index_from_letters(letters: str) -> int:
    """Count as the kernel does: a=0 … z=25, aa=26."""
    index = 0
    for letter in letters:
        index = index * 26 + ord(letter) - ord("a") + 1
    return index - 1


def _letters_from_index(index: int) -> str:
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(ord("a") + rest) + letters
    return letters
