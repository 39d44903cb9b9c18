"""Knows how every shell script of ours begins: what it does, what can be told to it, and where the images lie."""

from __future__ import annotations

import shlex

Assignments = dict[str, str]  # variable of the environment → its default, in words

_HEADER = """\
#!/bin/sh
# {purpose} Made by Ferry.
{variables}set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
images=${{IMAGES:-$here/{images}}}
"""


def header(purpose: str, variables: Assignments, images: str) -> str:
    """Return the first lines of a POSIX shell script, after which `$images` is the folder of the images.

    `purpose` must be a line of harmless characters; `images` is relative to the script's folder.
    """
    assert purpose.isprintable()  # noqa: S101  # a line break would end the comment
    told = {**variables, "IMAGES": "the folder that Ferry found them in, from here"}
    lines = "".join(f"#   {name:<8} {meaning}\n" for name, meaning in told.items())
    # In the middle of a word: `'` quotes what follows `$here/`, which must not be quoted itself.
    return _HEADER.format(
        purpose=purpose, variables=f"# Told by the environment:\n{lines}", images=_within_quotes(images)
    )


def _within_quotes(text: str) -> str:
    """Return `text` as it stands within `${…}`, where it is neither expanded nor split."""
    return shlex.quote(text)
