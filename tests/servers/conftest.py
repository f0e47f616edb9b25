"""Servers as long as the tests last: a small HTTP server in this process, and Redis where it is installed."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import redis


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything below this folder is marked `servers`."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("servers")


class PriceServer(ThreadingHTTPServer):
    """Answers /prices/{key} with JSON, /many?of=a,b with an object; what it is asked is noted."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.values: dict[str, object] = {"AAPL": 150.25, "a/b c": "slashed", "nothing": None}
        self.asked: list[str] = []
        self.status = 200
        self.drips = threading.Event()
        self.ended = threading.Event()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: PriceServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        parts = urlsplit(self.path)
        name = unquote(parts.path.rpartition("/")[2])
        if self.server.drips.is_set():
            self._drip()
        elif self.server.status != 200:
            self._say(self.server.status, b"no")
        elif parts.path == "/many":
            wanted = parse_qs(parts.query)["of"][0].split(",")
            self._say(200, json.dumps({key: self.server.values[key] for key in wanted if key in self.server.values}))
        elif parts.path == "/html/x":
            self._say(200, "<html>")
        elif name in self.server.values:
            self._say(200, json.dumps(self.server.values[name]))
        else:
            self._say(404, b"{}")

    def _say(self, status: int, body: bytes | str) -> None:
        raw = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _drip(self) -> None:
        """Send a byte now and then, so that no single step of the request takes long."""
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(1000):
                self.wfile.write(b" ")
                self.wfile.flush()
                if self.server.ended.wait(0.05):
                    break
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def prices() -> Iterator[PriceServer]:
    """The HTTP server."""
    with PriceServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server
        server.ended.set()
        server.shutdown()
        thread.join(10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _redis_server(folder: Path, *options: str) -> Iterator[int]:
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip("no redis-server here: install the package 'redis-server'")
    port = _free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder), *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        client = redis.Redis(port=port)
        end_s = time.monotonic() + 20
        while True:
            try:
                client.ping()
                break
            except redis.ConnectionError:
                assert time.monotonic() < end_s, "redis-server did not come up"
                threading.Event().wait(0.05)
        client.close()
        yield port
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def redis_port(tmp_path: Path) -> Iterator[int]:
    """The port of a Redis with nothing in it."""
    with _redis_server(tmp_path) as port:
        yield port


@pytest.fixture
def redis_cluster_port(tmp_path: Path) -> Iterator[int]:
    """The port of a Redis Cluster of one node that has all slots."""
    with _redis_server(tmp_path, "--cluster-enabled", "yes", "--cluster-port", str(_free_port())) as port:
        with redis.Redis(port=port) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            end_s = time.monotonic() + 20
            while client.cluster("INFO")["cluster_state"] != "ok":
                assert time.monotonic() < end_s, "the cluster did not form"
                threading.Event().wait(0.05)
        yield port
