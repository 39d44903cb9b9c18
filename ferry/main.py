"""The `ferry` command: finds the subcommand, and turns failures into a message and an exit code.

Subcommands are imported when they are called: `ferry --help` imports click and nothing else of weight.
"""

from __future__ import annotations

import importlib
import json
import keyword
import logging
import os
import signal
import sys
import types

import click

from ferry import __version__

# Name → (module in ferry.commands, what `ferry --help` says).
COMMANDS = {
    "doctor": "Say what is installed, what is missing and how to get it.",
    "run": "Do all of it: export, download, check, convert.",
    "fleet": "The same for many images: a list, a file, or a selector.",
    "images": "List images, and what was migrated of them.",
    "export": "Export an ECS custom image to OSS.",
    "download": "Download exported disks, verified, to sparse RAW files.",
    "verify": "Re-read downloaded disks and compare them with what OSS had.",
    "check-fstab": "Check that /etc/fstab matches the exported disks.",
    "convert": "Convert RAW disks to qcow2, vmdk and others, proven equal.",
    "boot-test": "Boot the disks in a machine of our own and see what is mounted.",
    "decide": "Answer a run that waits because a guest does not match its disks.",
    "resume": "Go on with runs that crashed, on any worker.",
    "define": "Define the machine for libvirt, VMware, OpenStack, Proxmox, QEMU.",
    "bundle": "Bundle the images, with all that belongs to them, for a medium.",
    "verify-bundle": "Prove a bundle, and put in what was sent again.",
    "report": "Write the report of a workspace again, or print it.",
    "metrics": "Print what the workspaces tell, as metrics for Prometheus.",
    "import": "Bring the machine into a platform of this private cloud.",
    "prune": "Delete older workspaces, keeping the last proven ones.",
    "emulator": "Run ECS and OSS on this machine, for trying things out.",
}
STARTS_OVER = frozenset(
    {"doctor", "images", "verify", "check-fstab", "boot-test", "define", "verify-bundle", "metrics", "import"}
)  # the others keep what is done


class _LazyGroup(click.Group):
    """A group whose commands are imported on use; their short help is known without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        name = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name.replace("-", "_")
        module = importlib.import_module(f"ferry.commands.{name}")
        command = module.command
        assert isinstance(command, click.Command)  # noqa: S101  # a command module without one is a bug
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="ferry")
@click.option("-v", "--verbose", is_flag=True, help="Show the commands that are run, and other details.")
def cli(*, verbose: bool) -> None:
    """Take an Alibaba Cloud ECS custom image out of the cloud and make it run in a private cloud.

    Exit codes: 0 done, 1 findings in the guest, 2 could not look or bad input, 3 preflight refused,
    4 the cloud refused, 5 bytes are wrong, 6 no space, 7 workspace in use, 8 a tool failed, 9 a fleet has failures,
    130 stopped.
    """
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.DEBUG if verbose else logging.WARNING)
    for room in (
        "image_export",
        "image_download",
        "fstab_check",
        "converters",
        "private_cloud",
        "report",
        "migration",
        "flows",
    ):
        logging.getLogger(room).setLevel(logging.DEBUG if verbose else logging.INFO)


def main() -> None:
    """Run the command line and exit. A failure the operator can act on is a message, a bug a traceback."""
    # A supervisor's SIGTERM is as good a reason to stop tidily as Ctrl-C.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = cli.main(standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        message, remedy = "stopped", _after_a_stop()
        _tell_program("Interrupted", message, remedy)
        click.echo(f"ferry: {message}; {remedy}", err=True)
        code = 130
    except click.ClickException as error:
        _tell_program("InvalidInput", error.format_message(), "see --help")
        error.show()
        code = error.exit_code
    except BrokenPipeError:
        # Whoever read our output has left; Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    except Exception as error:  # noqa: BLE001  # sorted in _failed, which raises what it does not know
        code = _failed(error)
    sys.exit(code if isinstance(code, int) else 0)


def _failed(error: Exception) -> int:
    from migration.errors import MigrationError  # noqa: PLC0415

    if not isinstance(error, MigrationError):
        raise error
    _tell_program(type(error).__name__, error.message, error.remedy)
    click.echo(f"ferry: {error}", err=True)
    return error.exit_code


def _after_a_stop() -> str:
    """Say what the same command will do next time. As for --json, the words are all that is known of it here."""
    name = next((word for word in sys.argv[1:] if word in COMMANDS), "")
    if name in STARTS_OVER:
        return "run the same command again: it starts from the beginning"
    return "run the same command again and it goes on from here"


def _tell_program(kind: str, message: str, remedy: str) -> None:
    """Print a failure as JSON, if that was asked for: even where the command line itself is wrong."""
    if "--json" in sys.argv:
        click.echo(json.dumps({"error": {"kind": kind, "message": message, "remedy": remedy}}, indent=1))


def _interrupt(_signal: int, _frame: types.FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
