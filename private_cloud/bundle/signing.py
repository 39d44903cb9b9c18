"""Signs a manifest with the operator's own SSH key, which stays where it is: in a file, or with an agent."""

from __future__ import annotations

from pathlib import Path

from migration.errors import CommandFailed, InvalidInput
from migration.progress import Stop
from migration.run import run
from private_cloud.bundle.far_side.names import NAMESPACE, SIGNATURE


def check_key(key: Path) -> None:
    """Raise `InvalidInput` unless the file is an SSH key: better now than when everything else is done."""
    try:
        run(["ssh-keygen", "-l", "-f", key])
    except CommandFailed as error:
        raise _unusable(key, error) from error


def sign_manifest(manifest: Path, key: Path, *, stop: Stop | None = None) -> Path:
    """Return the signature made beside the manifest. A public key is one whose other half an agent has.

    Raises `InvalidInput` where the key cannot be used, `ToolMissing`.
    """
    signature = manifest.with_name(SIGNATURE)
    signature.unlink(missing_ok=True)  # or it would ask whether to overwrite it
    try:
        run(["ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", NAMESPACE, manifest], stop=stop)
    except CommandFailed as error:
        raise _unusable(key, error) from error
    return signature


def _unusable(key: Path, error: CommandFailed) -> InvalidInput:
    said = " ".join(error.stderr.split()) or f"exit status {error.returncode}"
    return InvalidInput(
        f"{key}: cannot sign with it: {said}",
        "give the path of a private SSH key, or of a public one that ssh-agent holds (`ssh-add -L` lists them)",
    )
