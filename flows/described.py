"""Gives a flow the descriptions of its parameters, which Prefect reads from the docstring alone.

Prefect 3.8.8 makes the form from names, types and docstring; what an annotation says of its parameter is lost. It is
written once, in the annotation, and copied into the docstring here.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from pydantic.fields import FieldInfo

F = TypeVar("F", bound=Callable[..., Any])


def described(function: F) -> F:
    """Add what the annotations say to the `Args:` of the docstring, for parameters that it leaves out."""
    document = inspect.cleandoc(function.__doc__ or "")
    if "Args:" not in document:
        document += "\n\nArgs:"
    hints = get_type_hints(function, include_extras=True)
    for name in inspect.signature(function).parameters:
        text = _description(hints.get(name))
        if text and not re.search(rf"^    {name}:", document, re.MULTILINE):
            document += f"\n    {name}: {text}"
    function.__doc__ = document
    return function


def _description(hint: Any) -> str:
    """Return in one line what an annotation says: a field's description, or what a group of settings is."""
    if get_origin(hint) is Annotated:
        _, *notes = get_args(hint)
        return next((" ".join(note.description.split()) for note in notes
                     if isinstance(note, FieldInfo) and note.description), "")  # fmt: skip
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return inspect.cleandoc(hint.__doc__ or "").partition("\n")[0]
    return ""
