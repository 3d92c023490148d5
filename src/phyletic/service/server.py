"""A server: the studies of a database, behind gRPC and HTTP, from its start to its end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from phyletic.credentials import forget_server, note_server
from phyletic.service.checkpoint_limits import CheckpointLimits
from phyletic.service.grpc_server import GrpcServer
from phyletic.service.hosted_studies import HostedStudies
from phyletic.service.listening import TlsFiles, check_listening
from phyletic.service.logs import logger
from phyletic.service.own_code import OwnCode
from phyletic.service.session_limit import MOST_SESSIONS
from phyletic.service.stored_checkpoints import checkpoint_routes
from phyletic.service.tokens import Token, Tokens, first_token

GRACE_SECONDS = 10.0
"""Seconds that a server which ends gives to the calls that it has not answered."""
_EVERYWHERE = ("0.0.0.0", "::")


class Server:
    """Serves the studies of a database.

    Args:
        storage: The database, as for ``Study``; this process owns it until the end.
        host: The name or address to listen at.
        grpc_port: The port of gRPC; 0 takes a free one.
        http_port: The port of HTTP; 0 takes a free one, None serves no HTTP.
        tls: The files of TLS; None for none, which loopback alone allows.
        allow: Functions and classes of your own that studies may use, each as ``"module:name"``.
        most_sessions: How many sessions of workers it takes at once.
        checkpoints: The limits of checkpoints' bytes.

    Attributes:
        url: Where clients find it; set once it listens.
        http_url: The same over HTTP; empty without HTTP.
        token_file: The file with the token for clients on this machine, which the first start makes.

    Raises:
        InvalidArgument: An argument cannot be used, such as an address that others can reach and no TLS.
    """

    def __init__(
        self,
        storage: str,
        *,
        host: str = "127.0.0.1",
        grpc_port: int = 0,
        http_port: int | None = None,
        tls: TlsFiles | None = None,
        allow: Sequence[str] = (),
        most_sessions: int = MOST_SESSIONS,
        checkpoints: CheckpointLimits | None = None,
    ) -> None:
        self.url = ""
        self.http_url = ""
        self.token_file = Path()
        self._storage = storage
        self._address = check_listening(host, tls).address
        self._host = socket.gethostname() if self._address in _EVERYWHERE else host
        self._grpc_port = grpc_port
        self._http_port = http_port
        self._tls = tls
        self._code = OwnCode(allow)
        self._most_sessions = most_sessions
        self._limits = checkpoints
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None

    async def run(self, began: Callable[[], object] = lambda: None) -> None:
        """Serve until :meth:`stop`.

        Args:
            began: Called once it listens.

        Raises:
            StorageOwned: Another process owns the database.
            InvalidArgument: Nothing can listen at the address.
        """
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        studies = HostedStudies(self._storage, code=self._code, most_sessions=self._most_sessions)
        try:
            tokens = Tokens(studies.database.folder("tokens"))
            self.token_file = studies.database.folder("token")
            if first_token(tokens, self.token_file, now=time.time()):
                logger.info("made a token for clients of this user on this machine, in %s", self.token_file)
            await self._listen(studies, tokens, began)
        finally:
            await asyncio.to_thread(studies.close)

    async def _listen(self, studies: HostedStudies, tokens: Tokens, began: Callable[[], object]) -> None:
        """Serve studies until :meth:`stop`.

        Args:
            studies: The studies.
            tokens: Who may call.
            began: Called once it listens.
        """
        assert self._over is not None

        def authorise(token: str | None, call: str, study: str | None) -> Token:
            return tokens.authorise(token, call, study, now=time.time())

        http, secure = None, "" if self._tls is None else "s"
        if self._http_port is not None:
            from phyletic.service.http_server import HttpServer

            routes = checkpoint_routes(studies.database, tokens, now=time.time(), limits=self._limits)
            http = HttpServer(studies, authorise=authorise, routes=routes)
            port = await http.start(self._address, self._http_port, self._tls)
            self.http_url = f"http{secure}://{_bracketed(self._host)}:{port}"
        ports = [int(self.http_url.rpartition(":")[2])] if self.http_url else []
        server = GrpcServer(studies, authorise=authorise, http_port=ports[0] if ports else 0)
        ports.append(await server.start(f"{_bracketed(self._address)}:{self._grpc_port}", _credentials(self._tls)))
        self.url = f"grpc{secure}://{_bracketed(self._host)}:{ports[-1]}"
        if self.token_file.exists():
            try:
                note_server(ports, self.token_file)
            except OSError as error:
                logger.warning("clients on this machine do not find the token by themselves: %s", error)
        try:
            began()
            await self._over.wait()
        finally:
            # not ready, no new grants; then answer what came in
            server.drain()
            studies.drain()
            if http is not None:
                await http.stop(GRACE_SECONDS)
            await server.stop(GRACE_SECONDS)
            with contextlib.suppress(OSError):
                forget_server(ports)

    def stop(self) -> None:
        """Ask the server to end; any thread may call this."""
        if self._loop is not None and self._over is not None:
            self._loop.call_soon_threadsafe(self._over.set)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _credentials(tls: TlsFiles | None) -> grpc.ServerCredentials | None:
    """Return the credentials of gRPC; None without TLS."""
    if tls is None:
        return None
    return grpc.ssl_server_credentials(
        [(tls.key.read_bytes(), tls.certificate.read_bytes())],
        root_certificates=None if tls.client_ca is None else tls.client_ca.read_bytes(),
        require_client_auth=tls.client_ca is not None,
    )


@contextmanager
def serving(storage: str, **settings: Any) -> Iterator[Server]:
    """Serve a database from a thread of this process, for the length of the block.

    Args:
        storage: The database.
        **settings: As for :class:`Server`.
    """
    server = Server(storage, **settings)
    began, failed = threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            asyncio.run(server.run(began.set))
        except BaseException as error:
            failed.append(error)
        finally:
            began.set()

    thread = threading.Thread(target=run, name="phyletic server", daemon=True)
    thread.start()
    began.wait()
    try:
        if not failed:
            yield server
    finally:
        server.stop()
        thread.join()
    if failed:
        raise failed[0]
