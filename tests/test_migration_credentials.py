"""Credentials: found by the cloud's own chain, renewed, and never shown."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from migration.credentials import Credentials, find_credentials, redacted
from migration.errors import CloudUnavailable

PROJECT = Path(__file__).parent.parent

SECRET, TOKEN = "secret-half-of-the-key", "token/of+the-session=="
KEYS = Credentials(access_key_id="LTAI5t", access_key_secret=SECRET, security_token=TOKEN)

# The library reads the environment when it is imported and starts threads: a process for each case.
FIND = """
import json
import os
import shutil
from migration.credentials import find_credentials
from migration.errors import MigrationError
try:
    found = find_credentials()()
except MigrationError as error:
    print(json.dumps([type(error).__name__, str(error)]))
else:
    print(json.dumps([found.access_key_id, found.access_key_secret, found.security_token, found.source]))
"""


VARIABLES = (
    "ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_SECURITY_TOKEN",
    "ALIBABA_CLOUD_PROFILE", "ALIBABA_CLOUD_CREDENTIALS_FILE", "ALIBABA_CLOUD_CREDENTIALS_URI",
)  # fmt: skip


@pytest.fixture
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make this a machine without any credentials, and return its home."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")
    return tmp_path


def find() -> tuple[list[str], str]:
    """Ask a new process for credentials; return what it found, and what it wrote to stderr."""
    done = subprocess.run([sys.executable, "-c", FIND], capture_output=True, text=True, check=True, cwd=PROJECT)
    return json.loads(done.stdout), done.stderr


@pytest.mark.usefixtures("bare_machine")
def test_find_takes_a_key_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI5t")
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", SECRET)
    monkeypatch.setenv("ALIBABA_CLOUD_SECURITY_TOKEN", TOKEN)
    found, _ = find()
    assert found == ["LTAI5t", SECRET, TOKEN, "default/env"]


def test_find_takes_the_profile_of_the_aliyun_command(bare_machine: Path) -> None:
    profile = {"name": "default", "mode": "AK", "access_key_id": "LTAI5t", "access_key_secret": SECRET}
    folder = bare_machine / ".aliyun"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"current": "default", "profiles": [profile]}))
    found, _ = find()
    assert found[:3] == ["LTAI5t", SECRET, ""]


@pytest.mark.usefixtures("bare_machine")
def test_find_says_how_to_give_credentials_when_there_are_none() -> None:
    found, stderr = find()
    assert found[0] == "CloudRefused"
    assert "aliyun configure" in found[1]
    assert "RAM role" in found[1]
    assert "Traceback" not in stderr


def test_find_shows_nothing_of_a_key_whose_profile_is_broken(bare_machine: Path) -> None:
    folder = bare_machine / ".aliyun"
    folder.mkdir()
    (folder / "config.json").write_text('{"current": "default", "profiles": [{"access_key_secret": "' + SECRET)
    found, stderr = find()
    assert found[0] == "CloudRefused"
    assert SECRET not in found[1] + stderr


def test_source_that_can_renew_nothing_for_a_while_is_a_transient_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    # A stand-in for the library's chain: a real one fails later only when an instance loses its metadata service.
    class Failing:
        answers: ClassVar = [KEYS]

        def get_credentials(self) -> Any:
            if not self.answers:
                raise OSError(f"cannot refresh {SECRET}")
            keys = self.answers.pop()
            return SimpleNamespace(
                get_access_key_id=lambda: keys.access_key_id,
                get_access_key_secret=lambda: keys.access_key_secret,
                get_security_token=lambda: keys.security_token,
                get_provider_name=lambda: "test",
            )

    monkeypatch.setattr("alibabacloud_credentials.provider.DefaultCredentialsProvider", Failing)
    source = find_credentials()
    with pytest.raises(CloudUnavailable) as caught:
        source()
    assert SECRET not in str(caught.value)
    assert caught.value.__context__ is None


def test_credentials_do_not_show_their_secret_halves() -> None:
    assert SECRET not in repr(KEYS)
    assert TOKEN not in f"{KEYS}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param(f"key {SECRET} and {TOKEN}", "key *** and ***", id="secrets"),
        pytest.param("token%2Fof%2Bthe-session%3D%3D is old", "*** is old", id="quoted-secret"),
        pytest.param("GET https://h/b?Signature=abc&x=1 failed", "GET https://h/b?… failed", id="signed-url"),
        pytest.param("with url: /?AccessKeyId=L&Signature=s (Caused", "with url: /?… (Caused", id="relative-url"),
        pytest.param("is it so? yes=no", "is it so? yes=no", id="a-question"),
        pytest.param("two  spaces", "two spaces", id="runs-of-blanks"),
        pytest.param("\x1b[2J\r\nfake: all clear", "[2J fake: all clear", id="control-characters"),
        pytest.param("镜像 is fine", "镜像 is fine", id="other-scripts"),
        pytest.param("a\x85b\u200b", "a b", id="invisible-characters"),
    ],
)
def test_redacted_text_is_fit_to_be_shown(text: str, shown: str) -> None:
    assert redacted(text, KEYS) == shown


FIND_PROFILE = """
import json, os, pathlib, sys
from migration.credentials import find_profile_credentials
from migration.errors import MigrationError

def write(token, written):
    profile = {"name": "ferry", "mode": "StsToken", "access_key_id": "STS.x", "access_key_secret": "s"}
    profile["sts_token"] = token
    other = {"name": "default", "mode": "AK", "access_key_id": "other", "access_key_secret": "s"}
    file = pathlib.Path.home() / ".aliyun" / "config.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"current": "default", "profiles": [other, profile]}))
    os.utime(file, (written, written))

write("first", 1_000_000)
source = find_profile_credentials("ferry")
said = [source().access_key_id, source().security_token]
write("second", 1_000_001)
said.append(source().security_token)
try:
    find_profile_credentials("no such")
except MigrationError as error:
    said += [type(error).__name__, error.remedy]
print(json.dumps(said))
"""


@pytest.mark.usefixtures("bare_machine")
def test_profile_is_read_again_when_it_was_written_anew() -> None:
    done = subprocess.run([sys.executable, "-c", FIND_PROFILE], capture_output=True, text=True, check=True, cwd=PROJECT)
    assert json.loads(done.stdout) == [
        "STS.x", "first", "second",
        "CloudRefused", "`aliyun configure --profile 'no such'`, as the user who runs this",
    ]  # fmt: skip


# The metadata service has a fixed address: a network of its own holds it.
FIND_ROLE = """
import json, subprocess, threading
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
for words in ("link set lo up", "address add 100.100.100.200/32 dev lo"):
    subprocess.run(["ip", *words.split()], check=True)
given = []

class Metadata(BaseHTTPRequestHandler):
    def do_PUT(self):
        self.answer(b"metadata-token")
    def do_GET(self):
        if self.path != "/latest/meta-data/ram/security-credentials/ferry-role":
            self.send_error(404)
            return
        given.append(self.headers["X-aliyun-ecs-metadata-token"])
        ends = datetime.now(timezone.utc) + timedelta(minutes=10)  # soon enough to be asked for again
        self.answer(json.dumps({"Code": "Success", "AccessKeyId": f"STS.{len(given)}", "AccessKeySecret": "s",
            "SecurityToken": f"token-{len(given)}", "Expiration": f"{ends:%Y-%m-%dT%H:%M:%SZ}"}).encode())
    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass

threading.Thread(target=ThreadingHTTPServer(("100.100.100.200", 80), Metadata).serve_forever, daemon=True).start()
from migration.credentials import find_role_credentials
from migration.errors import MigrationError
source = find_role_credentials("ferry-role")
one, two = source(), source()
said = [one.security_token != two.security_token, two.access_key_id.startswith("STS."), {*given} == {"metadata-token"}]
try:
    find_role_credentials("another-role")
except MigrationError as error:
    said += [type(error).__name__, str(error)]
print(json.dumps(said))
"""


@pytest.mark.usefixtures("bare_machine")
@pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("ip") is None, reason="needs root and ip, for a network of its own"
)
def test_role_s_credentials_come_from_the_metadata_service_and_are_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALIBABA_CLOUD_ECS_METADATA_DISABLED")
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    argv = ["unshare", "--net", sys.executable, "-c", FIND_ROLE]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=PROJECT, timeout=120)
    assert done.returncode == 0, done.stderr
    renewed, is_sts, hardened, kind, message = json.loads(done.stdout)
    assert (renewed, is_sts, hardened, kind) == (True, True, True, "CloudRefused")
    assert "RAM role another-role" in message
