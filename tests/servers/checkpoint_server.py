"""Serve checkpoints over HTTP on loopback, in a thread of the test's process, with faults on demand."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette

from phyletic.checkpoints import FolderBlobs
from phyletic.checkpoints.http_blobs import HttpBlobs
from phyletic.checkpoints.http_requests import Patience
from phyletic.credentials import Credentials
from phyletic.errors import NotFound
from phyletic.service.checkpoint_limits import CheckpointLimits
from phyletic.service.checkpoint_routes import CheckpointRoutes
from phyletic.service.tokens import Tokens
from phyletic.service.uploads import Uploads


@dataclass
class Studies:
    """One study, ``digits``, whose checkpoints all may be read and written unless a test says otherwise."""

    folder: Path
    refused: set[tuple[str, str]] = field(default_factory=set)

    def blobs(self, study: str) -> FolderBlobs:
        if study not in ("digits", "a/b"):
            raise NotFound(f"there is no study {study!r}")
        return FolderBlobs(self.folder)

    def may(self, study: str, id: str, action: str) -> bool:
        return (id, action) not in self.refused


@dataclass
class Server:
    """A running server.

    Attributes:
        url: Its address.
        tokens: Its tokens.
        studies: Its studies.
        routes: Its routes.
        requests: The method and path of each request that came.
        sent: Bytes of bodies that it sent in answer to GET.
        fault: Called with the method before a request is answered; returns what goes wrong: ``"lose"`` (the request has
            its effect, and the answer is lost), ``"cut"`` or ``"cut late"`` (the answer ends half way), ``"spoil"`` (a
            byte is flipped), ``"hang up"`` (half of the request's body is read, then the connection ends), or None.
    """

    url: str
    tokens: Tokens
    studies: Studies
    routes: CheckpointRoutes
    requests: list[tuple[str, str]] = field(default_factory=list)
    sent: int = 0
    fault: Callable[[str], str | None] = lambda method: None

    @property
    def address(self) -> str:
        return f"{self.url}/v1/studies/digits/checkpoints"

    @property
    def folder(self) -> FolderBlobs:
        return self.studies.blobs("digits")

    def token(self, role: str = "worker", **more: Any) -> str:
        return self.tokens.create(role, now=time.time(), **more)[1]

    def blobs(
        self, kind: type[HttpBlobs] = HttpBlobs, part: int = 1 << 20, role: str = "worker", **patience: Any
    ) -> HttpBlobs:
        patience = {"give_up_after": 20.0, "sleep": lambda seconds: time.sleep(min(seconds, 0.01)), **patience}
        return kind(self.address, Credentials(self.token(role)), Patience(**patience), part)


class _Broken(Exception):
    pass


def _faulty(application: Any, server: Server) -> Any:
    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await application(scope, receive, send)
            return
        server.requests.append((scope["method"], scope["raw_path"].decode()))
        fault, bodies, read = server.fault(scope["method"]), 0, 0

        async def received() -> Any:
            nonlocal read
            read += 1
            if fault == "hang up" and read > 1:
                return {"type": "http.disconnect"}
            message = await receive()
            return {**message, "more_body": True} if fault == "hang up" else message

        async def forward(message: Any) -> None:
            nonlocal bodies
            if fault == "hang up" or (fault == "lose" and message["type"] == "http.response.body"):
                raise _Broken
            if message["type"] == "http.response.body" and message.get("body"):
                bodies += 1
                server.sent += len(message["body"]) if scope["method"] == "GET" else 0
                if (fault == "cut" and bodies == 1) or (fault == "cut late" and bodies == 100):
                    await send({**message, "body": message["body"][: len(message["body"]) // 2], "more_body": True})
                    raise _Broken
                if fault == "spoil" and bodies == 1:
                    body = bytearray(message["body"])
                    body[0] ^= 1
                    message = {**message, "body": bytes(body)}
            await send(message)

        await application(scope, received, forward)

    return answer


@contextmanager
def serving(
    folder: Path, limits: CheckpointLimits | None = None, idle: float = 20.0, studies: Any = None, port: int = 0
) -> Iterator[Server]:
    """Serve for the length of the block.

    Args:
        folder: Where to keep tokens, uploads and checkpoints.
        limits: Limits of bytes.
        idle: As of the routes.
        studies: As of the routes; by default one study, ``digits``.
        port: The port; 0 takes a free one.
    """
    tokens, studies = Tokens(folder / "tokens"), studies or Studies(folder / "checkpoints")
    routes = CheckpointRoutes(
        studies, tokens, Uploads(folder / "uploads"), limits or CheckpointLimits(), time.time, idle
    )
    server = Server("", tokens, studies, routes)
    application = Starlette(routes=routes.routes())
    config = uvicorn.Config(
        _faulty(application, server), host="127.0.0.1", port=port, log_level="critical", lifespan="off", ws="none"
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, name="server", daemon=True)
    thread.start()
    while not running.started:
        assert thread.is_alive()
        time.sleep(0.005)
    server.url = f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        running.should_exit = True
        thread.join()


if __name__ == "__main__":
    with serving(Path(sys.argv[1]), port=int(sys.argv[2])) as server:
        print(server.url, flush=True)
        sys.stdin.read()
