"""Puts a run's question to whoever sits at the terminal."""

from __future__ import annotations

import getpass
import socket
import time
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ferry.progress import Display
    from flows.question import Question
    from migration.decision import Decision


def ask_at_terminal(display: Display, question: Question) -> Decision:
    """Show what was found and what a repair would change, and return what is chosen."""
    from fstab_check.render import render_text  # noqa: PLC0415
    from migration.decision import Choice, Decision  # noqa: PLC0415

    with display.paused():
        click.echo(render_text(question.repair.before), err=True)
        click.echo(question.repair.diff or "Nothing of it can be repaired safely.", err=True)
        for left in question.repair.left:
            click.echo(f"it would leave {left.file}:{left.line}: {left.why}", err=True)
        word = click.prompt("What shall be done", type=click.Choice([str(choice) for choice in Choice]), err=True)
        note = click.prompt("Why (for the report)", default="", show_default=False, err=True)
    return Decision(choice=Choice(word), decided_by=local_user(), note=note, when=time.time(), asked="this terminal")


def local_user() -> str:
    """Return who is asking, as user@host."""
    return f"{getpass.getuser()}@{socket.gethostname()}"
