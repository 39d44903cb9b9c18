"""Lays out the picture of where each disk goes: boxes and lines, side by side for a screen, stacked for a telephone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

from migration.verdict import Outcome
from report.disk_paths import DiskPath, Mount, Volume

MOST_MOUNTS = 60  # that are drawn; a table has no such limit to what the eye can follow
_PADDING, _LINE, _GAP = 8, 17, 10
_CHARACTER = 7.0  # width that is reckoned for one, in a monospace of 11.5 pixels
_BETWEEN = 34  # pixels that a line has to cross between two columns

COLUMNS = {
    "device": ("Cloud disk", 118), "object": ("OSS object", 190), "file": ("Disk file", 140),
    "volume": ("File system", 196), "mount": ("Mounted on", 150), "there": ("Over there", 236),
}  # fmt: skip
_STACKED_WIDTH = 340
_INDENTS = {"volume": 14, "mount": 28, "there": 42}
_HEADING = 26

_NOT_MOUNTED = {
    Outcome.IGNORED: "not mounted", Outcome.DELAYED: "waited for, not mounted", Outcome.UNKNOWN: "unknown",
    Outcome.WRONG_DISK: "wrong disk", Outcome.EMERGENCY: "does not boot",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Box:
    """A box with its lines of text; `kind` is a key of `COLUMNS`, `is_bad` makes it stand out."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    lines: tuple[str, ...]
    title: str
    is_bad: bool

    def baseline(self, number: int) -> float:
        """Where the line of text `number`, from 0, stands."""
        return self.y + _PADDING + _LINE * (number + 0.72)


@dataclass(frozen=True, slots=True)
class Edge:
    """A line between two boxes, as the path that SVG draws."""

    path: str
    is_bad: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """All that is drawn; `headings` are (x, words)."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]
    headings: tuple[tuple[float, str], ...]


@dataclass(slots=True)
class _Node:
    kind: str
    words: tuple[str, ...]
    is_bad: bool = False
    children: list[_Node] = field(default_factory=list)

    @property
    def height(self) -> float:
        return 2 * _PADDING + _LINE * len(self.words)


def left_out(paths: Sequence[DiskPath]) -> int:
    """Return how many lines of fstab the picture has no room for."""
    return max(0, sum(len(volume.mounts) for path in paths for volume in path.volumes) - MOST_MOUNTS)


def draw_side_by_side(paths: Sequence[DiskPath]) -> Picture:
    """Return the picture with a column for each station of the way."""
    widths = [width for _, width in COLUMNS.values()]
    starts = dict(zip(COLUMNS, accumulate([0.5, *(width + _BETWEEN for width in widths)]), strict=False))
    boxes: list[Box] = []
    edges: list[Edge] = []

    def place(node: _Node, top: float) -> tuple[Box, float]:
        """Put `node` beside the middle of what follows it; return its box and where the next may begin."""
        below, placed = top, []
        for child in node.children:
            box, below = place(child, below)
            placed.append(box)
        bottom = max(below - _GAP if placed else top, top + node.height)
        x, width = starts[node.kind], COLUMNS[node.kind][1]
        box = _box(node, x, top + (bottom - top - node.height) / 2, width)
        boxes.append(box)
        edges.extend(_across(box, child_box) for child_box in placed)
        return box, bottom + _GAP

    top = float(_HEADING)
    for root in _trees(paths):
        _, top = place(root, top)
        top += _GAP
    headings = tuple((starts[kind], words) for kind, (words, _) in COLUMNS.items())
    return Picture(starts["there"] + widths[-1] + 0.5, top, tuple(boxes), tuple(edges), headings)


def draw_stacked(paths: Sequence[DiskPath]) -> Picture:
    """Return the picture with one station below the other, for a narrow screen."""
    boxes: list[Box] = []
    edges: list[Edge] = []

    def place(node: _Node, top: float) -> tuple[Box, float]:
        x = 0.5 + _INDENTS.get(node.kind, 0)
        box = _box(node, x, top, _STACKED_WIDTH - x - 0.5)
        boxes.append(box)
        bottom = top + node.height + _GAP * 1.6
        for child in node.children:
            child_box, bottom = place(child, bottom)
            edges.append(_down(box, child_box))
        return box, bottom

    top = 4.0
    for root in _trees(paths):
        _, top = place(root, top)
        top += _GAP * 2
    return Picture(_STACKED_WIDTH, top, tuple(boxes), tuple(edges), ())


def _across(left: Box, right: Box) -> Edge:
    x1, y1 = left.x + left.width, left.y + left.height / 2
    x2, y2 = right.x, right.y + right.height / 2
    middle = x2 - _BETWEEN / 2 if right.x - x1 <= _BETWEEN else x2 - _BETWEEN
    return Edge(f"M{x1:g} {y1:g}C{middle:g} {y1:g} {middle:g} {y2:g} {x2:g} {y2:g}", right.is_bad)


def _down(upper: Box, lower: Box) -> Edge:
    if lower.x - upper.x < 1:
        x = upper.x + upper.width / 2
        return Edge(f"M{x:g} {upper.y + upper.height:g}V{lower.y:g}", lower.is_bad)
    x = upper.x + (lower.x - upper.x) / 2
    return Edge(f"M{x:g} {upper.y + upper.height:g}V{lower.y + lower.height / 2:g}H{lower.x:g}", lower.is_bad)


def _box(node: _Node, x: float, y: float, width: float) -> Box:
    room = int((width - 2 * _PADDING) / _CHARACTER)
    return Box(
        node.kind, x, y, width, node.height, tuple(_fit(word, room) for word in node.words),
        " · ".join(node.words), node.is_bad,
    )  # fmt: skip


def _fit(word: str, room: int) -> str:
    """Return a word that fits: what goes is after its beginning, as the ends of names tell them apart."""
    if len(word) <= room:
        return word
    head = (room - 1) // 3
    return f"{word[:head]}…{word[len(word) - (room - 1 - head) :]}"


def _trees(paths: Sequence[DiskPath]) -> list[_Node]:
    room = MOST_MOUNTS
    trees = []
    for path in paths:
        volumes = []
        for volume in path.volumes:
            mounts = volume.mounts[:room]
            room -= len(mounts)
            if mounts:
                volumes.append(_of_volume(volume, mounts))
        trees.append(_of_disk(path, volumes))
    return trees


def _of_disk(path: DiskPath, volumes: list[_Node]) -> _Node:
    if not path.device:
        return _Node("device", ("no disk", "of the export"), is_bad=True, children=volumes)
    stations = [_Node("device", (f"{path.device} {path.role}".strip(), path.size))]
    if path.object_name:
        stations.append(_Node("object", (path.object_name, path.object_size)))
    if path.file_name:
        stations.append(_Node("file", (path.file_name, path.size)))
    for station, following in pairwise(stations):
        station.children = [following]
    stations[-1].children = volumes
    return stations[0]


def _of_volume(volume: Volume, mounts: Sequence[Mount]) -> _Node:
    return _Node(
        "volume", (volume.place, volume.content or "nothing known"), children=[_of_mount(one) for one in mounts]
    )


def _of_mount(mount: Mount) -> _Node:
    words = tuple(
        f"{one.device or 'mounted'} on {', '.join(one.targets)}" if one.is_good
        else f"✗ {', '.join(one.targets)}: {_NOT_MOUNTED.get(one.outcome, one.outcome)}"
        for one in mount.arrivals
    )  # fmt: skip
    is_bad = any(not one.is_good for one in mount.arrivals)
    there = [_Node("there", words, is_bad=is_bad)] if words else []
    return _Node("mount", (mount.place, f"fstab:{mount.line}"), children=there)
