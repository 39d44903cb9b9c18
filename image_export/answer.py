"""Knows the many shapes in which one answer of the ECS API can come.

The vendor's pages, samples and SDK models disagree on types and names, so every reader here takes all
of them: a set wrapped or bare, a boolean or its word, a number or its digits, a time with or without
seconds. What is absent or makes no sense is None or empty, never an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

Answer = Mapping[str, Any]

# DescribeTaskAttribute's sample has no seconds; other copies of the page have them (vendor's pages).
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d)(:\d\d)?(?:\.\d+)?Z")


def read_items(answer: Answer, wrapper: str, name: str) -> list[Answer]:
    """Return the members of a set: `{"TaskSet": {"Task": […]}}`, `{"TaskSet": […]}`, a lone member, or none."""
    holder = answer.get(wrapper)
    if isinstance(holder, Mapping) and name in holder:
        holder = holder[name]
    elif isinstance(holder, Mapping):
        return []
    if isinstance(holder, Mapping):
        return [holder]
    return [item for item in holder if isinstance(item, Mapping)] if isinstance(holder, list) else []


def read_text(answer: Answer, *names: str) -> str:
    """Return the first of the fields that says something, as text; "" where none does."""
    for name in names:
        value = answer.get(name)
        if value is not None and not isinstance(value, (Mapping, list)) and str(value) != "":
            return str(value)
    return ""


def read_number(answer: Answer, *names: str) -> int | None:
    """Return a whole number that came as a number or as digits, `100%` included."""
    match = re.fullmatch(r"\s*(\d{1,18})(?:\.\d*)?\s*%?\s*", read_text(answer, *names))
    return int(match[1]) if match else None


def read_flag(answer: Answer, name: str) -> bool | None:
    """Return a boolean that came as `true`, "true" or "True"."""
    return {"true": True, "false": False}.get(read_text(answer, name).lower())


def read_time(answer: Answer, name: str) -> int | None:
    """Return a UTC time as Unix seconds; one without seconds is up to 59 s too early."""
    match = _TIME.fullmatch(read_text(answer, name))
    if match is None:
        return None
    try:
        moment = datetime.strptime(f"{match[1]}{match[2] or ':00'}Z", "%Y-%m-%dT%H:%M:%S%z")
    except ValueError:
        return None
    return int(moment.timestamp())


def write_time(seconds: float) -> str:
    """Return Unix seconds as the API's parameters want them: `2024-01-15T08:00:00Z`."""
    return datetime.fromtimestamp(seconds, tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
