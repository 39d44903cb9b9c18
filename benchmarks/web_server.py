"""Runs nginx on loopback as a stand-in for OSS that costs almost nothing: files by range, with an ETag and a CRC-64."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

BUCKET = "benchmark"


@contextmanager
def nginx(folder: Path, crcs: Mapping[str, int]) -> Iterator[str]:
    """Serve `folder/benchmark/` and yield the URL, `http://127.0.0.1:PORT`.

    Each file in `crcs` is answered with that CRC-64 in the header that OSS uses.
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = folder / "nginx.conf"
    config.write_text(_config(folder, port, crcs), encoding="utf-8")
    argv = ["nginx", "-c", str(config), "-p", str(folder), "-e", str(folder / "error.log")]
    env = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin"}
    with subprocess.Popen([*argv, "-g", "daemon off;"], env=env) as server:
        try:
            _wait_until_it_answers(("127.0.0.1", port))
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def _config(folder: Path, port: int, crcs: Mapping[str, int]) -> str:
    crc_map = "".join(f'    "/{BUCKET}/{name}" "{crc}";\n' for name, crc in crcs.items())
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    scratch = "\n".join(f"  {kind}_temp_path {folder}/nginx-{kind};" for kind in kinds)
    return f"""\
worker_processes 2;
pid {folder}/nginx.pid;
events {{ worker_connections 256; }}
http {{
  map $uri $crc64 {{
{crc_map}  }}
  access_log off;
  sendfile on;
{scratch}
  keepalive_requests 100000;
  server {{
    listen 127.0.0.1:{port};
    root {folder};
    add_header x-oss-hash-crc64ecma $crc64;
  }}
}}
"""


def _wait_until_it_answers(address: tuple[str, int]) -> None:
    deadline = time.monotonic() + 20
    while True:
        with socket.socket() as client:
            client.settimeout(2)
            if client.connect_ex(address) == 0:
                return
        if time.monotonic() > deadline:
            raise SystemExit("nginx does not answer")
        time.sleep(0.05)
