"""The bucket is reached by its usual, internal, accelerated or own name, through the proxy that the environment names.

Real names need a network. Here a real proxy, which resolves them in place of the client as any proxy does,
takes all of them for one HTTPS server on loopback, with the emulator behind it.
"""

from __future__ import annotations

import logging
import random
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from emulator.account import read_settings
from emulator.object_store import add_bucket
from emulator.server import EmulatedCloud
from image_download.download import download_disk
from image_download.ranged_source import open_source
from migration.cloud import Cloud
from migration.errors import CloudRefused, InvalidInput
from migration.workspace import Workspace, open_workspace
from tests.conftest import BUCKET
from tests.connect_proxy import ConnectProxy, connect_proxy
from tests.image_download_fixtures import KIB, QUICK, put_disk
from tests.middle_box import MiddleBox, middle_box

CONTENT = random.Random(13).randbytes(300 * KIB)
REGION = "cn-hangzhou"
DOMAIN = "images.example.com"
USUAL = f"{BUCKET}.oss-{REGION}.aliyuncs.com"
USER, PASSWORD = "ferry", "p@ss/w0rd#1"
PROXY_NAMES = ("HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "https_proxy", "all_proxy", "no_proxy")


@dataclass
class Company:
    """A network with a proxy, the HTTPS server it leads to, and a place for downloads."""

    cloud: EmulatedCloud
    workspace: Workspace
    server: MiddleBox
    proxy: ConnectProxy

    def download(self, cloud: Cloud) -> bytes:
        exported = put_disk(self.cloud, CONTENT)
        return download_disk(self.workspace, cloud, self.cloud.credentials, exported, settings=QUICK).path.read_bytes()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a key and a certificate for all names that are used here."""
    folder = tmp_path_factory.mktemp("certificate")
    parents = (f"oss-{REGION}.aliyuncs.com", f"oss-{REGION}-internal.aliyuncs.com", "oss-accelerate.aliyuncs.com")
    names = ",".join(f"DNS:*.{parent}" for parent in (*parents, "example.com"))
    argv = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
        "-keyout", "both.pem", "-out", "cert.pem", "-subj", "/CN=company", "-addext", f"subjectAltName={names}",
    ]  # fmt: skip
    subprocess.run(argv, check=True, cwd=folder, capture_output=True)
    with (folder / "both.pem").open("ab") as both:
        both.write((folder / "cert.pem").read_bytes())
    return folder / "both.pem"


@pytest.fixture
def company(
    tmp_path: Path, emulated_cloud: EmulatedCloud, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Company]:
    add_bucket(emulated_cloud.folder, BUCKET, domain=DOMAIN)
    assert read_settings(emulated_cloud.folder).region_id == REGION
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    for name in PROXY_NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with (
        open_workspace(tmp_path / "workspace") as workspace,
        middle_box(emulated_cloud.oss_endpoint, tls=tls) as server,
        connect_proxy(server.port, USER, PASSWORD) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"http://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{proxy.port}")
        yield Company(emulated_cloud, workspace, server, proxy)


@pytest.mark.parametrize(
    ("cloud", "host"),
    [
        pytest.param(Cloud(region_id=REGION), USUAL, id="usual"),
        pytest.param(
            Cloud(region_id=REGION, oss_endpoint=f"oss-{REGION}-internal.aliyuncs.com"),
            f"{BUCKET}.oss-{REGION}-internal.aliyuncs.com", id="internal",
        ),
        pytest.param(
            Cloud(region_id=REGION, oss_endpoint="oss-accelerate.aliyuncs.com"),
            f"{BUCKET}.oss-accelerate.aliyuncs.com", id="accelerated",
        ),
        pytest.param(Cloud(region_id=REGION, oss_endpoint=DOMAIN, oss_is_cname=True), DOMAIN, id="custom domain"),
    ],
)  # fmt: skip
def test_disk_comes_home_by_every_kind_of_endpoint_through_a_proxy(
    company: Company, cloud: Cloud, host: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert company.download(cloud) == CONTENT
    assert set(company.proxy.asked) == {f"{host}:443"}
    assert len(company.proxy.asked) <= QUICK.connections
    shown = caplog.text + (company.workspace.path / "journal.json").read_text()
    assert PASSWORD not in shown
    assert quote(PASSWORD, safe="") not in shown


def test_proxy_that_wants_another_password_is_refused_at_once_and_no_password_is_shown(
    company: Company, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HTTPS_PROXY", f"http://{USER}:wr0ng-word@127.0.0.1:{company.proxy.port}")
    with pytest.raises(CloudRefused, match="proxy") as caught:
        company.download(Cloud(region_id=REGION))
    assert not caught.value.transient
    assert "HTTPS_PROXY" in caught.value.remedy
    assert "wr0ng-word" not in f"{caught.value}{caught.value.__cause__}{caught.value.__context__}{caplog.text}"
    assert company.proxy.refused <= QUICK.connections


@pytest.mark.parametrize("but", [USUAL, ".aliyuncs.com", "10.0.0.1,aliyuncs.com"])
def test_no_proxy_leads_past_the_proxy(company: Company, monkeypatch: pytest.MonkeyPatch, but: str) -> None:
    # Patched, because past a proxy the name is resolved here, and must not be the real one.
    resolve = socket.getaddrinfo

    def here(host: Any, *rest: Any, **options: Any) -> Any:
        return resolve("127.0.0.1" if host == USUAL else host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", here)
    monkeypatch.setenv("NO_PROXY", but)
    endpoint = f"oss-{REGION}.aliyuncs.com:{company.server.port}"
    assert company.download(Cloud(region_id=REGION, oss_endpoint=endpoint)) == CONTENT
    assert company.proxy.asked == []


def test_certificate_of_another_name_is_refused(company: Company) -> None:
    with pytest.raises(CloudRefused, match="not to be trusted") as caught:
        company.download(Cloud(region_id=REGION, oss_endpoint="disks.example.org", oss_is_cname=True))
    assert not caught.value.transient


@pytest.mark.parametrize("password", ["wr0ng/word", "wr0ng#word", "wr0ng?word"])
def test_proxy_whose_password_is_not_written_as_in_a_url_is_refused_without_showing_it(
    company: Company, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://{USER}:{password}@127.0.0.1:{company.proxy.port}")
    exported = put_disk(company.cloud, CONTENT)
    with (
        pytest.raises(InvalidInput) as caught,
        open_source(exported, Cloud(region_id=REGION), company.cloud.credentials, QUICK),
    ):
        pass
    assert "wr0ng" not in f"{caught.value}{caught.value.__cause__}"
