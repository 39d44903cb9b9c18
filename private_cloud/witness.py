"""A witness in the guest that says on the serial port what its kernel has mounted, once the boot has settled.

It goes into the layers that are thrown away. systemd falls silent on the console when the login prompt is there, and
what is behind `nofail` may be waited for, or given up, after that.

Each record is a line `ferry-witness NONCE KIND LENGTH TEXT`. The kernel may write into the middle of any line on
that port: the length tells a damaged record, the count at the end a lost one, and the account is given three times.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from private_cloud.account import Account, FstabLine, Mount, unescape

_FOLDER = "/etc/systemd/system"
LONGEST_RECORD = 16384  # bytes
MOST_RECORDS = 20_000  # of one account

# `simple`, and without default dependencies: nothing of the boot waits for it, and it starts with the first jobs, so
# that it is known to be there long before a login prompt. It outlives the isolation that is emergency mode.
_UNIT = """\
[Unit]
Description=Says what is mounted, for ferry boot-test
DefaultDependencies=no
IgnoreOnIsolate=yes

[Service]
Type=simple
Environment=LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ExecStart=/bin/sh {script}
StandardInput=null
StandardOutput=null
StandardError=null
"""

# The port is opened in subshells only: the shell itself leads a session, would take the terminal from getty, and
# would be hung up with it. A mount point is not resolved where that might set off an automount.
_SCRIPT = r"""#!/bin/sh
# Put here by `ferry boot-test`, in a layer that is thrown away: says on the serial port what is mounted.
set -f
newline='
'

say() {
    n=$((n + 1))
    printf '\nferry-witness @NONCE@ %s %d %s\n' "$1" "${#2}" "$2"
}

seconds() {
    read -r s rest </proc/uptime
    s=${s%%.*}
}

# The boot has settled when systemd has no job left, or for half a minute none that may mount something: others may
# wait for a network that is not there. Without an answer from systemd, a device has had its 90 seconds.
settle() {
    seconds
    begun=$s calm=$s
    while :; do
        (say here '') >/dev/ttyS0
        sleep 2
        seconds
        state=$(systemctl is-system-running 2>/dev/null)
        case $state in
        running | degraded | maintenance) return ;;
        '' | unknown | offline)
            state=unknown
            [ $((s - begun)) -ge 120 ] && return
            continue
            ;;
        esac
        case $(systemctl --no-legend --no-pager --full list-jobs 2>/dev/null) in
        *.mount* | *.swap* | *.device* | *systemd-fsck* | *systemd-cryptsetup*) calm=$s ;;
        esac
        [ $((s - calm)) -ge 30 ] && return
    done
}

# Where a line of fstab is to be found: the device of a swap, the mount point without symbolic links.
place() {
    value=${1#*=} value=${value#\"} value=${value%\"}
    case $3,$1 in
    swap,UUID=*) place=/dev/disk/by-uuid/$value ;;
    swap,LABEL=*) place=/dev/disk/by-label/$value ;;
    swap,PARTUUID=*) place=/dev/disk/by-partuuid/$value ;;
    swap,PARTLABEL=*) place=/dev/disk/by-partlabel/$value ;;
    swap,*) place=$1 ;;
    *) place=$2 ;;
    esac
    case $3,$4,$points in
    swap,*) ;;
    *automount* | *noauto*) place='' ;;
    *" $place "*) return ;;
    esac
    [ -z "$place" ] || place=$(readlink -f -- "$(printf %b "$place")" 2>/dev/null)
    case $place in *[[:cntrl:]]*) place='' ;; esac
}

tell() {
    n=-1 points=' '
    say begin ''
    while read -r id parent number root point rest; do
        points="$points$point "
        options=${rest%% *}
        set -- ${rest#*- }
        say mount "$point ${1-} ${2-} $options,${3-}"
    done </proc/self/mountinfo
    while read -r name rest; do
        case $name in /*) say swap "$name" ;; esac
    done </proc/swaps
    uuids=$(findmnt -rn -o TARGET,UUID 2>/dev/null)
    ifs=$IFS IFS=$newline
    set -- $uuids
    IFS=$ifs
    for line; do
        case $line in *' '*) say uuid "$line" ;; esac
    done
    if [ -r /etc/fstab ]; then
        while read -r line || [ -n "$line" ]; do
            set -- $line
            case ${1-} in '' | '#'*) continue ;; esac
            place "$1" "${2-}" "${3-}" "${4-}"
            say fstab "$*"
            say place "$place"
        done </etc/fstab
    fi
    say end "$n $state"
}

settle
for copy in 1 2 3; do
    (tell) >/dev/ttyS0
    sleep 3
done
"""


def witness_files(nonce: str) -> dict[str, str]:
    """Return the files, by path, that make a witness of a guest with systemd; it marks its words with `nonce`."""
    script = f"{_FOLDER}/ferry-witness.sh"
    return {script: _SCRIPT.replace("@NONCE@", nonce), f"{_FOLDER}/ferry-witness.service": _UNIT.format(script=script)}


# Wanted by the target that all others but the most broken start with, and not ordered against it.
WITNESS_LINKS = {f"{_FOLDER}/sysinit.target.wants/ferry-witness.service": "../ferry-witness.service"}


@dataclass(frozen=True, slots=True)
class _Record:
    kind: str
    text: str


class Witness:
    """What the witness that knows `nonce` has said so far. `account` is its first account that came whole."""

    def __init__(self, nonce: str) -> None:
        self.has_begun = False
        self.account: Account | None = None
        self._mark = f"ferry-witness {nonce} ".encode()
        self._records: list[_Record] | None = None  # None outside an account, and in one that is damaged
        self._rest = b""  # of a line that may be ours
        self._is_others = False  # the line that is under way

    def hear(self, data: bytes) -> bytes:
        """Take in what the serial port said next, wherever it was cut, and return what of it is not the witness's."""
        others = bytearray()
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = b""
        for line in lines:
            if self._is_others or not self._take(line):
                others += line + b"\n"
            self._is_others = False
        start = rest[: len(self._mark)]
        if not self._is_others and self._mark.startswith(start) and len(rest) < LONGEST_RECORD:
            self._rest = rest
        else:
            self._is_others = True
            others += rest
        return bytes(others)

    def _take(self, line: bytes) -> bool:
        """Take in a whole line; return whether it is a record."""
        if not line.startswith(self._mark):
            return False
        match = re.fullmatch(rb"([a-z]+) (\d{1,6}) (.*)", line[len(self._mark) :], re.DOTALL)
        length = int(match[2]) if match else 0
        # A terminal ends lines by a carriage return too.
        if match is None or match[3][length:] not in {b"", b"\r"} or len(match[3]) < length:
            self._records = None  # of the three accounts, another may be whole
            return False
        self.has_begun = True
        self._note(_Record(match[1].decode(), match[3][:length].decode("utf-8", "surrogateescape")))
        return True

    def _note(self, record: _Record) -> None:
        if record.kind == "begin":
            self._records = []
        elif self._records is None or len(self._records) >= MOST_RECORDS:
            self._records = None
        elif record.kind != "end":
            self._records.append(record)
        else:
            count, _, state = record.text.partition(" ")
            if self.account is None and count == str(len(self._records)):
                self.account = _account(self._records, state)
            self._records = None


def _account(records: list[_Record], state: str) -> Account:
    uuids, mounts, swaps, lines = dict[str, str](), list[Mount](), list[str](), list[FstabLine]()
    for record in records:
        words = [*record.text.split(" "), "", "", "", ""]
        if record.kind == "uuid":
            uuids[_unescape_hex(words[0])] = words[1]
        elif record.kind == "swap":
            swaps.append(unescape(record.text))
    for record, following in zip(records, [*records[1:], _Record("", "")], strict=True):
        words = [*record.text.split(" "), "", "", "", ""]
        if record.kind == "mount":
            point = unescape(words[0])
            read_only = "ro" in words[3].split(",")
            mounts.append(
                Mount(
                    point=point, type=words[1], source=unescape(words[2]), uuid=uuids.get(point, ""),
                    is_read_only=read_only,
                )
            )  # fmt: skip
        elif record.kind == "fstab":
            place = following.text if following.kind == "place" else ""
            lines.append(
                FstabLine(
                    text=record.text, source=words[0], point=words[1], type=words[2], options=words[3], place=place
                )
            )
    return Account(state=state, mounts=tuple(mounts), swaps=tuple(swaps), lines=tuple(lines))


def _unescape_hex(text: str) -> str:
    """Return what findmnt means, which writes a blank as `\\x20`."""
    return re.sub(r"\\x([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), text)
