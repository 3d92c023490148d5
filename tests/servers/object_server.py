"""An S3 server (moto) on loopback, and a proxy before it that fails on demand."""

from __future__ import annotations

import email.utils
import http.client
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

BUCKET = "phyletic-test"
SECRET = "never-to-be-shown/secret"
_EXPIRED = (
    "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message>"
    f"<Token-0>{SECRET}</Token-0></Error>"
)
_SLOW = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


def moto_server() -> str:
    """Return the program of the server, or skip the test."""
    pytest.importorskip("obstore", reason="obstore is not installed: make test-object-store")
    beside = Path(sys.prefix, "moto", "bin", "moto_server")
    found = str(beside) if beside.exists() else shutil.which("moto_server")
    if found is None:
        pytest.skip("moto_server is not installed: make test-object-store")
    return found


@contextmanager
def moto() -> Iterator[int]:
    """Run the server for the length of the block; give its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([moto_server(), "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log)
        try:
            _make_bucket(port, process)
            yield port
        finally:
            process.kill()
            process.wait()


def _make_bucket(port: int, process: subprocess.Popen[bytes]) -> None:
    while True:
        assert process.poll() is None, "moto_server ended"
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request("PUT", f"/{BUCKET}", headers={"Content-Length": "0"})
            assert connection.getresponse().status == 200
            return
        except ConnectionRefusedError:
            time.sleep(0.05)
        finally:
            connection.close()


def environment(port: int) -> dict[str, str]:
    """Return the variables that lead a client to a server on loopback."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "AKIATESTTESTTEST",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
    }


@dataclass
class Proxy:
    """A proxy before the server.

    Attributes:
        behind: The server's port.
        port: Its own.
        requests: Method and path of each request that came.
        sent: Bytes of parts of checkpoints that it sent.
        received: Bytes of bodies that came with PUT.
        fault: Called with the method and the path; returns what goes wrong, or None. ``"503"``, ``"expired"`` and
            ``"denied"`` are answers; ``"lose"``: the request has its effect, and its answer is lost; ``"hang up"``: the
            connection ends before; ``"cut"``: the answer ends half way; ``"spoil"``: a byte of it changes; ``"hang"``:
            no answer comes for as long as ``patience`` says.
        unconditional: Whether the server seems to ignore ``If-None-Match``.
        skew: Seconds that the server's clock seems to be off.
        patience: Seconds that a hanging answer takes.
    """

    behind: int
    port: int = 0
    requests: list[tuple[str, str]] = field(default_factory=list)
    sent: int = 0
    received: int = 0
    fault: Callable[[str, str], str | None] = lambda method, path: None
    unconditional: bool = False
    skew: float = 0.0
    patience: float = 3.0

    def next(self, *faults: str, method: str = "", path: str = "") -> None:
        """Let the next requests fail, one after another.

        Args:
            *faults: What goes wrong.
            method: Only with requests of this method.
            path: Only with paths that contain this.
        """
        left = list(faults)

        def fault(one: str, where: str) -> str | None:
            return left.pop(0) if left and method in one and path in where else None

        self.fault = fault


@contextmanager
def proxied(behind: int) -> Iterator[Proxy]:
    """Run a proxy for the length of the block.

    Args:
        behind: The port of the server.
    """
    proxy = Proxy(behind)

    class Handler(_Handler):
        settings = proxy

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    settings: Proxy

    def log_message(self, *args: Any) -> None:
        pass

    def _serve(self) -> None:
        proxy = self.settings
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        proxy.requests.append((self.command, self.path))
        proxy.received += len(body) if self.command == "PUT" else 0
        fault = proxy.fault(self.command, self.path)
        if fault == "hang":
            time.sleep(proxy.patience)
        if fault in ("hang", "hang up"):
            self._hang_up()
            return
        if fault in ("503", "expired", "denied"):
            text, status = {
                "503": (_SLOW, 503),
                "expired": (_EXPIRED, 400),
                "denied": ("<Error><Code>AccessDenied</Code></Error>", 403),
            }[fault]
            self._answer(status, {"Content-Type": "application/xml"}, text.encode())
            return
        status, headers, content = self._forward(body)
        if fault == "lose":
            self._hang_up()
            return
        if fault == "spoil" and content:
            content = bytes([content[0] ^ 1]) + content[1:]
        self._answer(status, headers, content, cut=fault == "cut")

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve

    def _forward(self, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        if self.settings.unconditional:
            headers = {name: value for name, value in headers.items() if name.lower() != "if-none-match"}
        connection = http.client.HTTPConnection("127.0.0.1", self.settings.behind, timeout=60)
        try:
            connection.request(self.command, self.path, body=body, headers=headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: Mapping[str, str], content: bytes, cut: bool = False) -> None:
        proxy = self.settings
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() in ("connection", "transfer-encoding", "content-length", "date", "last-modified"):
                continue
            self.send_header(name, value)
        now = email.utils.formatdate(time.time() + proxy.skew, usegmt=True)
        self.send_header("Date", now)
        if "Last-Modified" in headers or self.command in ("GET", "HEAD"):
            self.send_header("Last-Modified", now)
        if proxy.skew:
            year = str(time.gmtime(time.time() + proxy.skew).tm_year).encode()
            content = re.sub(rb"<LastModified>\d{4}", b"<LastModified>" + year, content)
        length = headers.get("Content-Length", str(len(content))) if self.command == "HEAD" else str(len(content))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command == "HEAD":
            return
        proxy.sent += len(content) if self.command == "GET" and re.search(r"/\d+$", self.path) else 0
        self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        # a reset, and not an orderly end
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.connection.shutdown(socket.SHUT_RDWR)
