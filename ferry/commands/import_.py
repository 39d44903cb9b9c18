"""`ferry import`: brings converted images into a private cloud; one subcommand a platform, imported on use."""

from __future__ import annotations

import importlib

import click

# Name, which is also that of the module after `import_`, → what `ferry import --help` says.
PLATFORMS = {
    "glance": "Upload images into OpenStack Glance, proven equal.",
}


class _Platforms(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(PLATFORMS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in PLATFORMS:
            return None
        command = importlib.import_module(f"ferry.commands.import_{cmd_name}").command
        assert isinstance(command, click.Command)  # noqa: S101  # a command module without one is a bug
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(PLATFORMS.items()))


@click.group("import", cls=_Platforms)
def command() -> None:
    """Bring converted images into a private cloud."""
