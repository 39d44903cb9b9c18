"""Has ssh-keygen check the signature; says so where nobody did."""

import hashlib
import os
import subprocess
from typing import List, Optional, Tuple

from private_cloud.bundle.far_side.look import Look, roots_of
from private_cloud.bundle.far_side.manifest import MAX_MANIFEST
from private_cloud.bundle.far_side.names import MANIFEST, NAMESPACE, SIGNATURE, Refusal, shown
from private_cloud.bundle.far_side.reading import read_small


def check_signature(look: Look, allowed: Optional[str], signer: str) -> None:
    """Have ssh-keygen check the signature, if we know whom to trust; else say that nobody did."""
    manifest = look.manifest
    if manifest is None:
        return
    root = next(iter(roots_of(look.bundle)))
    path = os.path.join(root, SIGNATURE)
    there = os.path.isfile(path) and not os.path.islink(path)
    if allowed is None:
        if there or manifest.is_signed:
            look.notes.append("signature: NOT CHECKED; --allowed-signers FILE checks it")
        else:
            look.notes.append("signature: none; compare the fingerprint with the one that the sender reads to you")
        return
    if not os.path.isfile(allowed):
        raise Refusal("%s: there is no such file; it should list who may sign" % shown(allowed))
    if not there:
        look.blame("SIGNATURE", SIGNATURE, "the bundle is not signed")
        return
    data = read_small(os.path.join(root, MANIFEST), MAX_MANIFEST)
    if hashlib.sha256(data).hexdigest() != manifest.digest:
        look.blame("SIGNATURE", SIGNATURE, "the manifest beside it is not the one that was proven")
        return
    who = signer
    if not who:
        code, said = _ssh_keygen(["-Y", "find-principals", "-s", path, "-f", allowed], b"")
        who = said.splitlines()[0] if code == 0 and said else ""
        if not who:
            look.blame("SIGNATURE", SIGNATURE, "made by none of those in %s" % shown(allowed))
            return
    code, said = _ssh_keygen(["-Y", "verify", "-f", allowed, "-I", who, "-n", NAMESPACE, "-s", path], data)
    if code == 0:
        look.notes.append("signature: good, by %s" % shown(who))
    else:
        look.blame("SIGNATURE", SIGNATURE, "not a good signature of this manifest: %s" % shown(said[-200:]))


def _ssh_keygen(words: List[str], data: bytes) -> Tuple[int, str]:
    try:
        done = subprocess.run(
            ["ssh-keygen", *words], input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
    except FileNotFoundError:
        raise Refusal("ssh-keygen is not installed here, so that no signature can be checked (OpenSSH 8.2 has it)")
    return done.returncode, done.stdout.decode("utf-8", "replace").strip()
