"""A real QEMU reads through our socket what is there, and nothing that a client says brings the server down."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from image_download.nbd import LONGEST_REQUEST, serve_readonly

SIZE = (3 << 20) + 777  # no multiple of anything
CONTENT = random.Random(7).randbytes(SIZE)


class Bytes:
    """A disk in memory, the second MiB of which cannot be read where `is_broken`."""

    def __init__(self) -> None:
        self.size = SIZE
        self.is_broken = False

    def read(self, offset: int, length: int) -> bytes:
        if self.is_broken and offset < 2 << 20 and offset + length > 1 << 20:
            raise OSError(5, "broken")
        return CONTENT[offset : offset + length]


@pytest.fixture
def source() -> Bytes:
    return Bytes()


@pytest.fixture
def path(tmp_path: Path, source: Bytes) -> Iterator[Path]:
    """A socket where `source` is served."""
    served = tmp_path / "disk"
    with serve_readonly(source, served):
        yield served
    assert not served.exists()


def qemu_io(path: Path, *commands: str) -> str:
    """Run qemu-io's commands on the served disk; return all it says."""
    words = [word for command in commands for word in ("-c", command)]
    options = f"driver=nbd,server.type=unix,server.path={path}"
    done = subprocess.run(
        ["qemu-io", "-r", "--image-opts", *words, options], capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout + done.stderr


def test_qemu_reads_the_very_bytes_to_the_odd_end(path: Path, tmp_path: Path) -> None:
    (tmp_path / "copy.raw").write_bytes(CONTENT)
    uri = f"nbd+unix:///?socket={path}"
    compared = subprocess.run(
        ["qemu-img", "compare", "-f", "raw", "-F", "raw", uri, tmp_path / "copy.raw"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert compared.returncode == 0, compared.stdout + compared.stderr
    info = subprocess.run(["qemu-nbd", "--list", "-k", path], capture_output=True, text=True, check=False, timeout=60)
    assert f"size:  {SIZE}" in info.stdout
    assert "readonly" in info.stdout


def test_qemu_reads_here_and_there(path: Path) -> None:
    chance = random.Random(11)
    for _ in range(5):
        offset = chance.randrange(SIZE // 512 - 8) * 512
        said = qemu_io(path, f"read -v {offset} 512")
        shown = bytes.fromhex("".join(line.partition(":  ")[2][:48] for line in said.splitlines() if ":  " in line))
        assert shown == CONTENT[offset : offset + 512]


def test_failed_read_is_an_error_for_the_client_and_the_next_one_is_served(path: Path, source: Bytes) -> None:
    source.is_broken = True
    said = qemu_io(path, "read 1536k 64k", "read 0 64k", "flush")
    assert "read failed: Input/output error" in said
    assert "read 65536/65536 bytes at offset 0" in said


def greet(path: Path, *, flags: int = 3) -> socket.socket:
    """Connect and say hello as a client does."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10)
    client.connect(str(path))
    assert receive(client, 18)[:8] == b"NBDMAGIC"
    client.sendall(struct.pack(">I", flags))
    return client


def receive(client: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length and (piece := client.recv(length - len(data))):
        data += piece
    return data


def ask(client: socket.socket, option: int, data: bytes = b"") -> list[tuple[int, bytes]]:
    """Send an option and return the replies (kind, data) up to the last of them."""
    client.sendall(struct.pack(">QII", 0x49484156454F5054, option, len(data)) + data)
    replies: list[tuple[int, bytes]] = []
    while not replies or replies[-1][0] in {2, 3}:
        _, _, kind, length = struct.unpack(">QIII", receive(client, 20))
        replies.append((kind, receive(client, length)))
    return replies


def request(client: socket.socket, command: int, offset: int = 0, length: int = 0, payload: bytes = b"") -> int:
    """Send a request and return the error of its answer; what is read is left unread."""
    client.sendall(struct.pack(">IHHQQI", 0x25609513, 0, command, 42, offset, length) + payload)
    magic, error, cookie = struct.unpack(">IIQ", receive(client, 16))
    assert (magic, cookie) == (0x67446698, 42)
    return int(error)


def is_alive(path: Path) -> bool:
    with greet(path) as client:
        return ask(client, 7, struct.pack(">IH", 0, 0))[-1][0] == 1 and request(client, 3) == 0


GO, EXPORT_NAME, ABORT, LIST, STRUCTURED = 7, 1, 2, 3, 8
ERR_UNSUP, ERR_INVALID, ERR_UNKNOWN = ((1 << 31) + number for number in (1, 3, 6))


def test_old_way_of_asking_is_answered_with_and_without_zeroes(path: Path) -> None:
    for flags, zeroes in ((3, 0), (1, 124)):
        with greet(path, flags=flags) as client:
            client.sendall(struct.pack(">QII", 0x49484156454F5054, EXPORT_NAME, 0))
            size, export = struct.unpack(">QH", receive(client, 10))
            assert (size, export & 2) == (SIZE, 2)
            assert receive(client, zeroes) == bytes(zeroes)
            assert request(client, 0, SIZE - 5, 5) == 0
            assert receive(client, 5) == CONTENT[-5:]


def test_options_are_answered_as_the_protocol_says(path: Path) -> None:
    with greet(path) as client:
        assert ask(client, LIST) == [(2, bytes(4)), (1, b"")]
        assert ask(client, STRUCTURED) == [(ERR_UNSUP, b"")]
        assert ask(client, GO, struct.pack(">I4sH", 4, b"disk", 0)) == [(ERR_UNKNOWN, b"")]
        assert ask(client, GO, b"\xff\xff") == [(ERR_INVALID, b"")]
        assert ask(client, GO, struct.pack(">IH", 0, 9)) == [(ERR_INVALID, b"")]
        assert ask(client, ABORT) == [(1, b"")]
        assert client.recv(1) == b""


def test_what_cannot_be_done_is_refused_and_the_conversation_goes_on(path: Path) -> None:
    with greet(path) as client:
        ask(client, GO, struct.pack(">IH", 0, 0))
        assert request(client, 0, SIZE - 1, 2) == 22, "beyond the end"
        assert request(client, 0, 1 << 63, 512) == 22
        assert request(client, 0, 0, LONGEST_REQUEST + 1) == 22
        assert request(client, 1, 0, 4, b"evil") == 1, "a write"
        assert request(client, 4, 0, 4096) == 22, "a trim"
        assert request(client, 0, 0, 4) == 0
        assert receive(client, 4) == CONTENT[:4]


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", id="another protocol"),
        pytest.param(struct.pack(">I", 0xFFFFFFFF), id="unknown flags"),
        pytest.param(struct.pack(">IQII", 3, 0x49484156454F5054, GO, 0xFFFFFFFF), id="endless option"),
        pytest.param(struct.pack(">IQII", 3, 0x49484156454F5054, EXPORT_NAME, 4) + b"evil", id="unknown export"),
        pytest.param(b"", id="nothing at all"),
    ],
)
def test_garbage_ends_its_own_conversation_only(path: Path, garbage: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(garbage)
        client.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):  # it hung up before it had read everything
            while client.recv(4096):
                pass
    assert is_alive(path)


def test_client_that_vanishes_in_the_middle_of_an_answer_harms_nobody(path: Path) -> None:
    with greet(path) as client:
        ask(client, GO, struct.pack(">IH", 0, 0))
        client.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 0, 1, 0, 3 << 20))
        receive(client, 100)
    assert is_alive(path)


def test_end_hangs_up_on_those_who_are_still_there(tmp_path: Path, source: Bytes) -> None:
    with serve_readonly(source, tmp_path / "s"):
        client = greet(tmp_path / "s")
    assert client.recv(1) == b""
    client.close()
