"""Options that choose images by what they have in common, and the selector that they mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from image_export.selection import Selector

F = TypeVar("F", bound=Callable[..., Any])


def selector_options(*, which: str | None) -> Callable[[F], F]:
    """Return a decorator that adds the options; `which` is the default of `--which`, None leaves that one out."""

    def add(function: F) -> F:
        options = [
            click.option("--family", default="", help="Image family."),
            click.option("--name", default="", metavar="PATTERN", help="Image name, with * ? and [abc]."),
            click.option(
                "--tag", "tags", multiple=True, metavar="KEY=VALUE", help="Tag of the image. May be repeated."
            ),
        ]  # fmt: skip
        if which is not None:
            options.append(
                click.option(
                    "--which", type=click.Choice(("newest", "newer", "all")), default=which, show_default=True,
                    help="newer: what came since the first that was migrated here.",
                )
            )  # fmt: skip
        for option in reversed(options):
            function = option(function)
        return function

    return add


def make_selector(family: str, name: str, tags: Sequence[str], which: str = "all") -> Selector | None:
    """Return what the options mean, None where none of them is given. Raises `BadParameter`."""
    from image_export.selection import Selector, Which  # noqa: PLC0415  # an SDK of weight

    if not (family or name or tags):
        return None
    return Selector(family=family, name=name, tags=tuple(sorted(parse_tags(tags).items())), which=Which(which))


def parse_tags(words: Sequence[str]) -> dict[str, str]:
    """Return `KEY=VALUE` words as a mapping. Raises `BadParameter`."""
    tags = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not key or not equals:
            raise click.BadParameter(f"{word!r}: give KEY=VALUE")
        tags[key] = value
    return tags
