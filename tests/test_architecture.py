"""Holds the house to its plan: arrows point down, and stages know neither Prefect nor each other."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "prefect", "openstack", "pydantic", "oss2", "requests", "aliyunsdkcore", "rich", "guestfs", "asyncio", "jinja2",
}  # fmt: skip
PROJECT = Path(__file__).parent.parent
STAGES = ("image_export", "image_download", "fstab_check", "converters", "private_cloud")
# Room → rooms it may import besides itself and migration.
ALLOWED = {
    "migration": set[str](),
    **{stage: set[str]() for stage in STAGES},
    "emulator": set[str](),
    "demo": {"emulator", "private_cloud"},
    "report": set(STAGES),
    "flows": {*STAGES, "report"},
    "ferry": {*STAGES, "report", "flows", "emulator", "demo"},
    "deployments": {"flows"},
}


def imported_packages(file: Path) -> set[str]:
    """Return the top-level packages that a file imports anywhere, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("room", ALLOWED)
def test_room_imports_only_what_lies_below_it(room: str) -> None:
    allowed = {room, "migration"} | ALLOWED[room]
    for file in (PROJECT / room).rglob("*.py"):
        strangers = imported_packages(file) & {*ALLOWED, "tests", "benchmarks"} - allowed
        assert not strangers, f"{file.relative_to(PROJECT)} imports {strangers}"


@pytest.mark.parametrize("room", [*STAGES, "report", "migration", "emulator"])
def test_logic_does_not_mention_prefect(room: str) -> None:
    for file in (PROJECT / room).rglob("*.py"):
        assert "prefect" not in imported_packages(file), file.relative_to(PROJECT)


def test_emulator_is_reached_from_one_command_only() -> None:
    users = [
        str(file.relative_to(PROJECT))
        for room in ("ferry", "flows", "deployments")
        for file in (PROJECT / room).rglob("*.py")
        if imported_packages(file) & {"emulator", "demo"}
    ]
    assert users == ["ferry/commands/emulator.py"]


@pytest.mark.parametrize(
    "argv",
    [
        ["--help"],
        ["run", "--help"],
        ["check-fstab", "--help"],
        ["export", "--help"],
        ["download", "--help"],
        ["convert", "--help"],
        ["boot-test", "--help"],
        ["bundle", "--help"],
        ["verify-bundle", "--help"],
        ["report", "--help"],
        ["metrics", "--help"],
        ["decide", "--help"],
        ["define", "--help"],
        ["import", "--help"],
        ["import", "libvirt", "--help"],
        ["import", "glance", "--help"],
        ["doctor", "--help"],
        ["fleet", "--help"],
        ["images", "--help"],
        ["prune", "--help"],
    ],
)
def test_help_imports_nothing_of_weight(argv: list[str]) -> None:
    code = (
        "import sys, runpy\n"
        f"sys.argv = ['ferry', *{argv!r}]\n"
        "try: runpy.run_module('ferry', run_name='__main__')\n"
        "except SystemExit: pass\n"
        f"heavy = {HEAVY!r} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage:" in done.stdout


@pytest.mark.parametrize(
    "file",
    [file for room in ALLOWED for file in sorted((PROJECT / room).rglob("*.py"))],
    ids=lambda file: str(file.relative_to(PROJECT)),
)
def test_module_says_what_it_knows(file: Path) -> None:
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    assert docstring, f"{file} has no sentence at its top"
