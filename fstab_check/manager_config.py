"""Reads how long the guest's systemd waits by default, from system.conf and what overrides it."""

from __future__ import annotations

import contextlib
import math
import posixpath
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from fstab_check.timespan import parse_timespan
from migration.appliance import Refused, names_in, refusals

if TYPE_CHECKING:
    import guestfs

AS_IT_COMES = 90.0  # seconds: DefaultTimeoutStartSec of systemd without any configuration

MAX_SIZE = 64 * 1024  # bytes of one file
MAX_FILES = 50

_MAIN = ("/usr/lib/systemd/system.conf", "/etc/systemd/system.conf")
_FOLDERS = ("/usr/lib/systemd/system.conf.d", "/etc/systemd/system.conf.d")
# The first is systemd 254's own for devices, and counts before the general one.
_SETTING = re.compile(r"^\s*(?P<name>DefaultDeviceTimeoutSec|DefaultTimeoutStartSec)\s*=\s*(?P<value>.*?)\s*$")


def parse_device_timeout(texts: Iterable[str]) -> float:
    """Return the seconds that systemd waits for a device, `math.inf` for ever; later texts override earlier ones."""
    found: dict[str, float] = {}
    for text in texts:
        for line in text.splitlines():
            match = _SETTING.match(line)
            seconds = parse_timespan(match["value"]) if match else None
            if match and seconds is not None:
                found[match["name"]] = seconds or math.inf  # 0 switches the limit off
    return found.get("DefaultDeviceTimeoutSec", found.get("DefaultTimeoutStartSec", AS_IT_COMES))


def read_device_timeout(g: guestfs.GuestFS) -> float:
    """Return the seconds that the systemd of the mounted guest waits for a device by default."""
    paths = list(_MAIN)
    for folder in _FOLDERS:
        names = sorted(name for name in names_in(g, folder) if name.endswith(".conf"))[:MAX_FILES]
        paths += [posixpath.join(folder, name) for name in names]
    texts = []
    for path in paths:
        with contextlib.suppress(Refused), refusals(g):
            if g.is_file(path, followsymlinks=True):
                texts.append(bytes(g.pread(path, MAX_SIZE, 0)).decode("utf-8", "replace"))
    return parse_device_timeout(texts)
