"""Makes what a cloud or a guest said fit to be shown: printable, and no longer than a person reads.

All of it is in report.json; a page has to stay small whatever a guest holds.
"""

from __future__ import annotations

import time

from migration.verdict import printable

LONGEST = 400  # characters of one value


def shown(text: str, longest: int = LONGEST) -> str:
    """Return `text` printable and in at most `longest` characters; its end stays, which often tells most."""
    # Cut twice: first so that a megabyte is not escaped in vain, then as escapes are longer than what they stand for.
    return cut(printable(cut(text, longest)), longest)


def cut(text: str, longest: int) -> str:
    """Return `text` without its middle where it is longer than `longest` characters."""
    if len(text) <= longest:
        return text
    head = longest * 2 // 3
    return f"{text[:head]} … {text[len(text) - (longest - head - 3) :]}"


def shown_lines(text: str, most: int, longest: int = LONGEST) -> list[str]:
    """Return at most `most` lines of `text`, each as `shown`, and one that says how many are left out, if any are."""
    lines = text.removesuffix("\n").split("\n")
    left = len(lines) - most
    told = [f"… {left} more lines, all of them in report.json"] if left > 0 else []
    return [*(shown(line, longest) for line in lines[:most]), *told]


def format_time(seconds: float) -> str:
    """Return Unix seconds as a time of day that is the same everywhere: `2026-11-27 04:05 UTC`."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def format_span(seconds: float) -> str:
    """Return a time span for people: `0.4 s`, `38 s`, `12 min 5 s`, `3 h 20 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
