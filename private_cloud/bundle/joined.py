"""Joins the modules of the far side into the one file that a bundle carries."""

from __future__ import annotations

import ast
import inspect
from functools import cache
from types import ModuleType

from private_cloud.bundle.far_side import (
    accept,
    answer,
    command,
    filling,
    look,
    manifest,
    names,
    places,
    prove,
    reading,
    signature,
)

# Each uses only what stands before it.
MODULES = (names, manifest, reading, look, places, prove, signature, filling, accept, answer, command)


@cache
def join_verifier() -> str:
    """Return the source of `verify.py`: the docstring of its command, all imports, and the modules in their order."""
    imports: set[str] = set()
    bodies = [_body(module, imports) for module in MODULES]
    title = inspect.getsource(command).split('"""')[1]
    plain = sorted(line for line in imports if line.startswith("import"))
    chosen = sorted(line.removeprefix("from typing import ") for line in imports if line.startswith("from typing"))
    head = f'#!/usr/bin/env python3\n"""{title}"""\n\n' + "\n".join(plain)
    return f"{head}\nfrom typing import (\n    {', '.join(chosen)}\n)\n\n" + "\n\n".join(bodies)


def _body(module: ModuleType, imports: set[str]) -> str:
    """Return a module's source without its docstring and imports; those of the standard library join `imports`."""
    source = inspect.getsource(module)
    lines = source.splitlines()
    tree = ast.parse(source)
    start = 0
    for node in tree.body:
        if isinstance(node, ast.Import):
            imports.update(f"import {one.name}" for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "typing":
            imports.update(f"from typing import {one.name}" for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").startswith("private_cloud.bundle.far_side.")  # noqa: S101  # a bug else
        elif not isinstance(node, ast.Expr):
            break
        start = node.end_lineno or start
    about = "" if module is command else (ast.get_docstring(tree) or "")
    rule = f"# {about}\n# {'-' * 118}\n" if about else ""
    return rule + "\n".join(lines[start:]).rstrip() + "\n"
