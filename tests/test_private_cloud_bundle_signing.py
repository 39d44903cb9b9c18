"""A bundle is signed and checked by the real ssh-keygen; what is not signed, or not checked, is never called good."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from migration.errors import InvalidInput
from tests.bundle_fixtures import SYSTEM, bundle_of, sha256, verify

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen (openssh-client)")


def make_key(folder: Path, name: str, *, kind: str = "ed25519") -> Path:
    key = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", name, "-f", key], check=True)
    return key


def allow(folder: Path, *keys: Path) -> Path:
    file = folder / "allowed"
    lines = [f"{key.name}@example.com {key.with_suffix('.pub').read_text()}" for key in keys]
    file.write_text("".join(lines))
    return file


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
@pytest.mark.parametrize("split", [None, 1_500_000])
def test_signature_is_made_and_found_good(kind: str, split: int | None, tmp_path: Path) -> None:
    key = make_key(tmp_path, "alice", kind=kind)
    made = bundle_of(tmp_path / "workspace", tmp_path / "near", sign=key, split=split)
    root = made.path if split is None else made.path / "volume-001"
    assert made.is_signed
    answer = verify(root / "verify.py", "--allowed-signers", allow(tmp_path, key), made.path, where=tmp_path)
    assert (answer.code, answer.problems) == (0, set())
    assert answer.said["notes"] == ["signature: good, by alice@example.com"]
    named = ("--allowed-signers", tmp_path / "allowed", "--signer", "bob@example.com")
    assert verify(root / "verify.py", *named, made.path, where=tmp_path).code == 1


def test_signature_that_nobody_checks_is_not_called_good(tmp_path: Path) -> None:
    made = bundle_of(tmp_path / "workspace", tmp_path / "near", sign=make_key(tmp_path, "alice"))
    answer = verify(made.path / "verify.py", where=tmp_path)
    assert answer.code == 0
    assert answer.said["notes"] == ["signature: NOT CHECKED; --allowed-signers FILE checks it"]


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("signed")
    bundle_of(folder / "workspace", folder, sign=make_key(folder, "alice"))
    make_key(folder, "mallory")
    return folder


@pytest.mark.parametrize("what", ["unsigned", "stranger", "resigned", "damaged", "no signature", "another namespace"])
def test_wrong_signature_is_named(what: str, signed: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "web1"
    shutil.copytree(signed / "web1", bundle)
    allowed, signature = allow(tmp_path, signed / "alice"), bundle / "manifest.json.sig"
    if what == "unsigned":
        bundle = bundle_of(tmp_path / "workspace", tmp_path / "near").path
    elif what == "stranger":
        allowed = allow(tmp_path, signed / "mallory")
    elif what == "damaged":
        signature.write_text(re.sub("[a-y]", "z", signature.read_text(), count=40))
    elif what == "no signature":
        signature.unlink()
    else:
        signer, namespace = ("mallory", "ferry-bundle") if what == "resigned" else ("alice", "git")
        signature.unlink()
        command: list[str | Path] = [
            "ssh-keygen",
            "-q",
            "-Y",
            "sign",
            "-f",
            signed / signer,
            "-n",
            namespace,
            bundle / "manifest.json",
        ]
        subprocess.run(command, check=True, capture_output=True)
    answer = verify(signed / "web1/verify.py", "--allowed-signers", allowed, bundle, where=tmp_path)
    assert answer.code == 1
    assert {kind for kind, _, _ in answer.problems} == {"SIGNATURE"}


def test_tampered_bundle_with_digests_made_anew_is_not_signed(signed: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "web1"
    shutil.copytree(signed / "web1", bundle)
    before = sha256(bundle / "manifest.json")
    manifest = (bundle / "manifest.json").read_text().replace('"m-bp1"', '"m-bp2"')
    (bundle / "manifest.json").write_text(manifest)
    for sums in ("manifest.sha256", "SHA256SUMS"):
        (bundle / sums).write_text((bundle / sums).read_text().replace(before, sha256(bundle / "manifest.json")))
    assert verify(signed / "web1/verify.py", bundle, where=tmp_path).code == 0  # it is consistent, and not the sender's
    allowed = allow(tmp_path, signed / "alice")
    answer = verify(signed / "web1/verify.py", "--allowed-signers", allowed, bundle, where=tmp_path)
    assert answer.problems == {("SIGNATURE", "manifest.json.sig", 0)}


def test_missing_ssh_keygen_is_no_verdict(signed: Path, tmp_path: Path) -> None:
    command: list[str | Path] = [
        sys.executable,
        "-I",
        "-S",
        signed / "web1/verify.py",
        "--allowed-signers",
        allow(tmp_path, signed / "alice"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": str(tmp_path)})
    assert done.returncode == 2
    assert "ssh-keygen is not installed" in done.stderr


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run an ssh-agent of our own for one test."""
    said = subprocess.run(["ssh-agent", "-a", tmp_path / "agent", "-s"], capture_output=True, text=True, check=True)
    [pid] = re.findall(r"SSH_AGENT_PID=(\d+)", said.stdout)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    yield
    os.kill(int(pid), 15)


@pytest.mark.usefixtures("agent")
def test_agent_signs_with_a_key_that_is_not_on_this_disk(tmp_path: Path) -> None:
    key = make_key(tmp_path, "alice")
    subprocess.run(["ssh-add", "-q", key], check=True)
    allowed = allow(tmp_path, key)
    key.unlink()
    made = bundle_of(tmp_path / "workspace", tmp_path / "near", sign=key.with_suffix(".pub"))
    assert verify(made.path / "verify.py", "--allowed-signers", allowed, where=tmp_path).code == 0


@pytest.mark.parametrize("key", ["missing", "no-key"])
def test_key_that_cannot_sign_is_named_and_leaves_no_bundle(key: str, tmp_path: Path) -> None:
    (tmp_path / "no-key").write_text("nonsense")
    with pytest.raises(InvalidInput, match="cannot sign with it"):
        bundle_of(tmp_path / "workspace", tmp_path / "near", sign=tmp_path / key)
    assert not (tmp_path / "near/web1").exists()


def test_resent_pieces_carry_the_signature(signed: Path, tmp_path: Path) -> None:
    from migration.workspace import open_workspace  # noqa: PLC0415
    from private_cloud.bundle.resend import make_resend, read_request  # noqa: PLC0415

    bundle = tmp_path / "web1"
    shutil.copytree(signed / "web1", bundle)
    (bundle / SYSTEM).unlink()
    (bundle / "manifest.json.sig").unlink()
    request = verify(bundle / "verify.py", where=tmp_path).request
    with open_workspace(signed / "workspace") as workspace:
        sent = make_resend(workspace, read_request(request), tmp_path)
    allowed = allow(tmp_path, signed / "alice")
    answer = verify(bundle / "verify.py", "--accept", sent.path, "--allowed-signers", allowed, where=tmp_path)
    assert (answer.code, answer.problems) == (0, set())
