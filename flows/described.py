"""Gives a flow's form the titles and descriptions of its parameters, as their annotations have them.

Prefect 3.8.8 makes the form from names, types and docstring; what an annotation says of its parameter is lost, but for
`json_schema_extra`. It is written once, in the annotation; the descriptions are copied into the docstring here, and the
titles to where they are kept.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from pydantic import BaseModel, Field
from pydantic.fields import FieldInfo

F = TypeVar("F", bound=Callable[..., Any])


def described(function: F) -> F:
    """Add what the annotations say to the `Args:` of the docstring, for parameters that it leaves out; and titles.

    A parameter without a title is called as its name reads.
    """
    document = inspect.cleandoc(function.__doc__ or "")
    if "Args:" not in document:
        document += "\n\nArgs:"
    hints = get_type_hints(function, include_extras=True)
    for name in inspect.signature(function).parameters:
        text = _description(hints.get(name))
        if text and not re.search(rf"^    {name}:", document, re.MULTILINE):
            document += f"\n    {name}: {text}"
        if name in hints:
            title = Field(json_schema_extra={"title": _title(name, hints[name])})
            function.__annotations__[name] = Annotated[hints[name], title]
    function.__doc__ = document
    return function


def _description(hint: Any) -> str:
    """Return in one line what an annotation says: a field's description, or what a group of settings is."""
    described = next((field.description for field in _fields(hint) if field.description), "")
    if described:
        return " ".join(described.split())
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return inspect.cleandoc(hint.__doc__ or "").partition("\n")[0]
    return ""


def _title(name: str, hint: Any) -> str:
    return next((field.title for field in _fields(hint) if field.title), name.replace("_", " ").capitalize())


def _fields(hint: Any) -> list[FieldInfo]:
    return [note for note in get_args(hint) if isinstance(note, FieldInfo)] if get_origin(hint) is Annotated else []
