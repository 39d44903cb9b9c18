"""`ferry import`: brings a defined machine into a platform of this private cloud, one subcommand for each."""

from __future__ import annotations

import importlib

import click

# Name, which is also that of the module after `import_`, → what `ferry import --help` says.
PLATFORMS = {
    "libvirt": "Define the machine in libvirt, with its images.",
    "glance": "Upload images into OpenStack Glance, proven equal.",
}


class _LazyGroup(click.Group):
    """A group whose commands are imported on use, as those of `ferry` itself."""

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


@click.group("import", cls=_LazyGroup)
def command() -> None:
    """Bring the machine into a platform of this private cloud."""
