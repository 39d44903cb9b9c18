"""Writes the manifest of a bundle, and the few files that every volume has."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from private_cloud.bundle.far_side.names import FORMAT, README, VERIFIER, VERSION
from private_cloud.bundle.joined import join_verifier
from private_cloud.bundle.layout import Cut

SIGNATURE_SIZE = 16 << 10  # bytes at most, of the largest RSA key
_NO_DIGEST = "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedFile:
    """A file as it lies in the bundle, with its digests."""

    path: str
    size: int
    sha256: str
    chunks: tuple[str, ...]
    pieces: tuple[tuple[Cut, str], ...]


def render_manifest(
    files: Sequence[PlacedFile], head: Mapping[str, bytes], provenance: Mapping[str, Any], *,
    name: str, chunk_size: int, is_signed: bool,
) -> bytes:  # fmt: skip
    """Return the manifest; the same bundle has the same, whenever and wherever it is made."""
    document = {
        "format": FORMAT,
        "version": VERSION,
        "name": name,
        "chunk_size": chunk_size,
        "volumes": max((cut.volume for file in files for cut, _ in file.pieces), default=1),
        "signature": "ssh" if is_signed else None,
        "head": [
            {"name": one, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for one, data in sorted(head.items())
        ],
        "files": [
            {
                "path": file.path,
                "size": file.size,
                "sha256": file.sha256,
                "pieces": [{"volume": cut.volume, "size": cut.size, "sha256": digest} for cut, digest in file.pieces],
                "chunks": list(file.chunks),
            }
            for file in sorted(files, key=lambda file: file.path)
        ],
        "provenance": provenance,
    }
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


def measure_head(
    sizes: Mapping[str, int], cuts: Sequence[Sequence[Cut]], head: Mapping[str, bytes], provenance: Mapping[str, Any],
    *, name: str, chunk_size: int,
) -> int:  # fmt: skip
    """Return the bytes that each volume needs for what every volume has, before any digest is known."""
    files = [
        PlacedFile(
            path=path, size=size, sha256=_NO_DIGEST, chunks=(_NO_DIGEST,) * -(-size // chunk_size),
            pieces=tuple((cut, _NO_DIGEST) for cut in file_cuts),
        )
        for (path, size), file_cuts in zip(sizes.items(), cuts, strict=True)
    ]  # fmt: skip
    manifest = render_manifest(files, head, provenance, name=name, chunk_size=chunk_size, is_signed=True)
    sums = sum(len(path) + 80 for path, size in sizes.items()) + sum(80 + 200 for one in cuts for _ in one)
    return len(manifest) + sum(map(len, head.values())) + SIGNATURE_SIZE + sums


def make_head(name: str, volumes: int, *, is_signed: bool) -> dict[str, bytes]:
    """Return the verifier and the text that says what to type; the text is as long for any number of volumes."""
    return {VERIFIER: join_verifier().encode(), README: _readme(name, volumes, is_signed=is_signed).encode()}


def _readme(name: str, volumes: int, *, is_signed: bool) -> str:
    signed = (
        "The bundle is signed. With the sender's line for an allowed_signers file (man ssh-keygen):\n\n"
        "    python3 verify.py --allowed-signers FILE\n"
        if is_signed
        else "The bundle is not signed: compare the fingerprint it prints with what the sender reads to you.\n"
    )
    together = (
        f"It comes in {volumes:3} volumes. To put them together in a folder, once for each disc or for all at once:\n\n"
        f"    python3 verify.py --assemble /srv/{name} /media/disc\n\n"
        "To prove one volume alone:\n\n    python3 verify.py --volume 1 /media/disc\n\n"
        if volumes > 1
        else ""
    )
    return f"""\
{name}: converted disk images, and what belongs to them, made by Ferry.

{together}To prove everything, in the folder of the bundle (Python 3.6 or newer; nothing to install):

    python3 verify.py

{signed}
Without Python: sha256sum -c SHA256SUMS (of a volume: SHA256SUMS.volume-001).

What is damaged is named, and listed in resend-request.txt. Send or read that list to the sender, whose
`ferry bundle --resend resend-request.txt` makes just those pieces, and then:

    python3 verify.py --accept /media/what-came

Exit status: 0 whole, 1 damaged, 2 could not look, 6 no space, 130 stopped.
"""
