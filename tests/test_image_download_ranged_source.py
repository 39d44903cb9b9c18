"""No answer is taken that is not exactly the range that was asked for; proxies and certificates are respected."""

from __future__ import annotations

import base64
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from image_download.ranged_source import RangedSource, open_source
from migration.cloud import Cloud
from migration.credentials import Credentials
from migration.disk import DiskFormat, DiskRole
from migration.errors import CloudRefused, CloudUnavailable, InvalidInput, SourceChanged
from migration.exported_object import ExportedObject, Packing
from tests.image_download_fixtures import QUICK

CONTENT = bytes(range(256)) * 4
EXPORTED = ExportedObject(
    bucket="bucket", key="system.raw", size=len(CONTENT), etag="ETAG", crc64=None, last_modified=0,
    storage_class="Standard", role=DiskRole.SYSTEM, device="xvda", format=DiskFormat.RAW,
    packing=Packing.NONE, disk_size=None,
)  # fmt: skip
KEYS = Credentials(access_key_id="id", access_key_secret="secret", security_token="t0ken")

Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def server_that(answers: Answer, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Run an HTTP server that does to every request what `answers` does; yield its port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answers(self)

        def do_CONNECT(self) -> None:
            answers(self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def source_at(endpoint: str) -> Iterator[RangedSource]:
    cloud = Cloud(region_id="cn-hangzhou", oss_endpoint=endpoint)
    with open_source(EXPORTED, cloud, lambda: KEYS, QUICK) as source:
        yield source


def read_range(source: RangedSource, start: int, end: int) -> bytes:
    """Read one range to its end, as far as the other side sends it."""
    buffer = bytearray(4096)
    view, count = memoryview(buffer), 0
    with source.open_range(start, end) as body:
        while got := body.readinto(view[count:]):
            count += got
    return bytes(view[:count])


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    handler.send_response(status)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    for name, value in {"Content-Length": str(len(body)), **given}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def right(handler: BaseHTTPRequestHandler) -> None:
    send(handler, 206, CONTENT[10:20], Content_Range=f"bytes 10-19/{len(CONTENT)}", ETag='"ETAG"')


def test_range_is_asked_for_with_everything_that_guards_it() -> None:
    seen: list[dict[str, str]] = []

    def note(handler: BaseHTTPRequestHandler) -> None:
        seen.append({name.lower(): value for name, value in handler.headers.items()})
        right(handler)

    with server_that(note) as port, source_at(f"127.0.0.1:{port}") as source:
        assert read_range(source, 10, 20) == CONTENT[10:20]
        assert read_range(source, 10, 20) == CONTENT[10:20]
    for headers in seen:
        assert headers["range"] == "bytes=10-19"
        assert headers["x-oss-range-behavior"] == "standard"
        assert headers["if-match"] == '"ETAG"'
        assert headers["accept-encoding"] == "identity"
        assert headers["authorization"].startswith("OSS4-HMAC-SHA256 ")
        assert headers["x-oss-security-token"] == "t0ken"


def test_connection_is_used_again_for_the_next_range() -> None:
    ports: set[int] = set()

    def note(handler: BaseHTTPRequestHandler) -> None:
        ports.add(handler.client_address[1])
        right(handler)

    with server_that(note) as port, source_at(f"127.0.0.1:{port}") as source:
        for _ in range(5):
            read_range(source, 10, 20)
    assert len(ports) == 1


def test_body_is_not_decoded_whatever_the_object_says_of_itself() -> None:
    def says_gzip(handler: BaseHTTPRequestHandler) -> None:
        length = f"bytes 10-19/{len(CONTENT)}"
        send(handler, 206, CONTENT[10:20], Content_Range=length, Content_Encoding="gzip")

    with server_that(says_gzip) as port, source_at(f"127.0.0.1:{port}") as source:
        assert read_range(source, 10, 20) == CONTENT[10:20]


TOTAL = str(len(CONTENT))


@pytest.mark.parametrize(
    ("status", "content_range"),
    [
        pytest.param(200, "", id="whole object"),
        pytest.param(204, "", id="nothing"),
        pytest.param(206, "", id="no range"),
        pytest.param(206, f"bytes 0-9/{TOTAL}", id="another start"),
        pytest.param(206, f"bytes 10-18/{TOTAL}", id="another end"),
        pytest.param(206, "bytes 10-19/*", id="no total"),
        pytest.param(206, "bytes", id="malformed"),
        pytest.param(206, "rows 10-19/20", id="another unit"),
        pytest.param(503, "", id="503 without a text"),
    ],
)
def test_answer_that_is_not_the_range_is_refused_as_a_passing_fault(status: int, content_range: str) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        send(handler, status, CONTENT[10:20] * (status != 204), Content_Range=content_range)

    with server_that(answer) as port, source_at(f"127.0.0.1:{port}") as source:
        with pytest.raises(CloudUnavailable) as caught:
            read_range(source, 10, 20)
        assert caught.value.remedy


def test_redirect_is_not_followed() -> None:
    asked: list[str] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        send(handler, 302, b"", Location="/elsewhere")

    with server_that(answer) as port, source_at(f"127.0.0.1:{port}") as source, pytest.raises(CloudRefused):
        read_range(source, 10, 20)
    assert asked == ["/bucket/system.raw"]


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Content_Range": "bytes 10-19/5000"}, id="another length"),
        pytest.param({"Content_Range": f"bytes 10-19/{TOTAL}", "ETag": '"OTHER"'}, id="another ETag"),
    ],
)
def test_answer_of_another_object_is_noticed_though_if_match_was_ignored(headers: dict[str, str]) -> None:
    with (
        server_that(lambda handler: send(handler, 206, CONTENT[10:20], **headers)) as port,
        source_at(f"127.0.0.1:{port}") as source,
        pytest.raises(SourceChanged),
    ):
        read_range(source, 10, 20)


def test_body_that_ends_early_is_a_passing_fault() -> None:
    def cut(handler: BaseHTTPRequestHandler) -> None:
        length = f"bytes 10-19/{TOTAL}"
        send(handler, 206, CONTENT[10:15], Content_Range=length, Content_Length="10")
        handler.close_connection = True

    with (
        server_that(cut) as port,
        source_at(f"127.0.0.1:{port}") as source,
        pytest.raises(CloudUnavailable, match="broke"),
    ):
        read_range(source, 10, 20)


def test_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=127.0.0.1", "-days", "1"]  # fmt: skip
    subprocess.run(argv, check=True, cwd=tmp_path, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with (
        server_that(right, tls) as port,
        source_at(f"https://127.0.0.1:{port}") as source,
        pytest.raises(CloudRefused, match="not to be trusted") as caught,
    ):
        read_range(source, 10, 20)
    assert not caught.value.transient


def test_proxy_of_the_environment_is_asked_and_its_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str]] = []

    def refuse(handler: BaseHTTPRequestHandler) -> None:
        seen.append((handler.path, handler.headers["Proxy-Authorization"]))
        send(handler, 403, b"")

    with server_that(refuse) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:pass%77ord@127.0.0.1:{port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        with source_at("oss.example.invalid") as source, pytest.raises(CloudUnavailable) as caught:
            read_range(source, 10, 20)
    assert seen == [("bucket.oss.example.invalid:443", "Basic " + base64.b64encode(b"user:password").decode())]
    assert "pass" not in str(caught.value)


def test_no_proxy_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    with server_that(lambda handler: asked.append(handler.path)) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("NO_PROXY", "example.invalid")
        with source_at("oss.example.invalid") as source, pytest.raises(CloudUnavailable):
            read_range(source, 10, 20)
    assert asked == []


def test_proxy_of_a_kind_that_is_not_spoken_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://user:password@127.0.0.1:1080")
    with pytest.raises(InvalidInput, match="socks5") as caught, source_at("oss.example.invalid"):
        pass
    assert "password" not in str(caught.value)
