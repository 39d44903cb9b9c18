"""Parses what cloud-init is told about disks, in /etc/cloud/cloud.cfg and the files of cloud.cfg.d.

A later file replaces the lists of an earlier one, and adds to its mappings. (Read in cloud-init's `cc_mounts.py` and
`cc_disk_setup.py`; both run once for each instance, and a machine over there is a new one.)

YAML of strangers: neither anchors nor deep nesting are followed, and nothing is constructed of it but strings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import yaml

from fstab_check.guest_files import GuestText

MAIN = "/etc/cloud/cloud.cfg"
FOLDER = "/etc/cloud/cloud.cfg.d"
MAX_SIZE = 64 * 1024  # characters; a real cloud.cfg has 4 thousand
MAX_EVENTS = 5000  # PyYAML takes about a second for so many
MAX_DEPTH = 20


class Unparsed(Exception):
    """The file is not followed; the argument says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudMount:
    """An entry of `mounts:`; `fields` are as in fstab, "" where nothing or null stands."""

    file: str
    line: int
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSetup:
    """An entry of `fs_setup:`, or of `disk_setup:`, which has a `table` and neither type nor partition."""

    file: str
    line: int
    device: str
    overwrite: bool
    table: str = ""
    filesystem: str = ""
    label: str = ""
    partition: str = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudInit:
    """What a cloud-init that is there and not switched off will do with disks at the first start."""

    is_enabled: bool = False
    mounts: tuple[CloudMount, ...] = ()
    setups: tuple[DiskSetup, ...] = ()
    datasources: tuple[str, ...] = ()
    datasources_at: tuple[str, int] = (MAIN, 1)  # file and line


def parse_cloud_config(files: Iterable[GuestText]) -> tuple[CloudInit, dict[str, str]]:
    """Return what `files` say, in the order in which cloud-init reads them, and why some could not be followed."""
    mounts: tuple[CloudMount, ...] = ()
    filesystems: tuple[DiskSetup, ...] = ()
    tables: dict[str, DiskSetup] = {}
    sources: tuple[str, ...] = ()
    sources_at = (MAIN, 1)
    unread = {}
    for file in files:
        try:
            top = dict(_items(_compose(file.text)))
        except Unparsed as reason:
            unread[file.path] = f"{reason}"
            continue
        if "mounts" in top:
            mounts = tuple(_mounts(file.path, top["mounts"]))
        if "fs_setup" in top:
            filesystems = tuple(_filesystems(file.path, top["fs_setup"]))
        if "disk_setup" in top:
            tables |= {setup.device: setup for setup in _tables(file.path, top["disk_setup"])}
        if "datasource_list" in top:
            sources = tuple(_scalar(node) for node in _elements(top["datasource_list"]))
            sources_at = (file.path, _line(top["datasource_list"]))
    config = CloudInit(
        is_enabled=True, mounts=mounts, setups=(*tables.values(), *filesystems),
        datasources=sources, datasources_at=sources_at,
    )  # fmt: skip
    return config, unread


def _compose(text: str) -> yaml.Node | None:
    if len(text) > MAX_SIZE:
        raise Unparsed(f"it is larger than {MAX_SIZE // 1024} KiB")
    try:
        depth = 0
        for number, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH or number > MAX_EVENTS:
                raise Unparsed("it is nested too deeply, or holds too much")
            if isinstance(event, yaml.AliasEvent):
                raise Unparsed("it holds aliases, which are not followed")
        node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError) as error:
        raise Unparsed(f"it is no YAML: {str(error).partition(chr(10))[0]}") from error
    return node


def _mounts(file: str, node: yaml.Node) -> Iterator[CloudMount]:
    for entry in _elements(node):
        fields = tuple(_scalar(field) for field in _elements(entry))
        if fields and fields[0]:
            yield CloudMount(file=file, line=_line(entry), fields=fields)


def _filesystems(file: str, node: yaml.Node) -> Iterator[DiskSetup]:
    for entry in _elements(node):
        said = {name: _scalar(value) for name, value in _items(entry)}
        if said.get("device"):
            yield DiskSetup(
                file=file, line=_line(entry), device=said["device"], overwrite=_is_true(said.get("overwrite", "")),
                filesystem=said.get("filesystem", ""), label=said.get("label", ""),
                partition=said.get("partition", "any") or "none",
            )  # fmt: skip


def _tables(file: str, node: yaml.Node) -> Iterator[DiskSetup]:
    for device, entry in _items(node):
        said = {name: _scalar(value) for name, value in _items(entry)}
        yield DiskSetup(
            file=file, line=_line(entry), device=device, overwrite=_is_true(said.get("overwrite", "")),
            table=said.get("table_type", "") or "mbr",
        )  # fmt: skip


def _items(node: yaml.Node | None) -> Sequence[tuple[str, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        return []
    return [(_scalar(key), value) for key, value in node.value]


def _elements(node: yaml.Node) -> Sequence[yaml.Node]:
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _scalar(node: yaml.Node) -> str:
    """Return a scalar as it is written; "" for null, and for what is no scalar."""
    if not isinstance(node, yaml.ScalarNode) or node.tag == "tag:yaml.org,2002:null":
        return ""
    return str(node.value)


def _is_true(value: str) -> bool:
    """Return what YAML 1.1, as PyYAML reads it, makes of a boolean; Python takes any other text for true."""
    return value.lower() not in {"", "false", "no", "off", "0"}


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
