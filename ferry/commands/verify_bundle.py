"""`ferry verify-bundle`: the very verifier that a bundle carries, where Ferry is installed."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ferry.options import json_option

_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(
    "verify-bundle",
    epilog="Exit codes: 0 whole, 1 damaged, missing or not signed as asked, 2 could not look, 6 no space, 130 stopped.",
)
@click.argument("folders", nargs=-1, required=True, type=_FOLDER, metavar="FOLDER...")
@click.option("--accept", multiple=True, type=_FOLDER, help="Put in what this folder has of the bundle.")
@click.option("--assemble", type=_FOLDER, help="Put the volumes in the folders together in this one.")
@click.option("--volume", type=click.IntRange(1), help="Look at this volume only.")
@click.option("--allowed-signers", type=_FILE, help="Check the signature, as ssh-keygen -Y does.")
@click.option("--signer", help="Who must have signed; any in that file, if not given.")
@click.option("--fingerprint", help="What the sender read to you.")
@click.option("--request", type=_FILE, help="Where to write what to ask for again.  [default: resend-request.txt]")
@click.option("--jobs", type=click.IntRange(1), help="Chunks at once; 1 is best for a disc.")
@json_option
def command(folders: tuple[Path, ...], accept: tuple[Path, ...], *, as_json: bool, **options: object) -> None:
    """Prove a bundle chunk by chunk, and put in what was sent again.

    The same as `python3 verify.py` in the bundle, but that the verifier is Ferry's own, and not one that came along.
    """
    from private_cloud.bundle.far_side.command import main  # noqa: PLC0415

    argv = [word for folder in accept for word in ("--accept", str(folder))]
    for name, value in options.items():
        if value is not None:
            argv += [f"--{name.replace('_', '-')}", str(value)]
    sys.exit(main([*argv, *(["--json"] if as_json else []), "--", *map(str, folders)]))
