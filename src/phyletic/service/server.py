"""A server: the studies of a database, behind gRPC and HTTP, from its start to its end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from phyletic.service.grpc_server import Authorise, GrpcServer, allow_all
from phyletic.service.hosted_studies import HostedStudies

_GRACE_SECONDS = 10.0


class Server:
    """Serves the studies of a database.

    Args:
        storage: The database, as for ``Study``; this process owns it until the end.
        host: The address to listen at.
        grpc_port: The port of gRPC; 0 takes a free one.
        http_port: The port of HTTP; 0 takes a free one, None serves no HTTP.
        authorise: Raises unless a call is allowed.
        routes: Further routes of HTTP.

    Attributes:
        url: Where clients find it; set once it listens.
        http_url: The same over HTTP; empty without HTTP.
    """

    def __init__(
        self,
        storage: str,
        *,
        host: str = "127.0.0.1",
        grpc_port: int = 0,
        http_port: int | None = None,
        authorise: Authorise = allow_all,
        routes: Sequence[Any] = (),
    ) -> None:
        self.url = ""
        self.http_url = ""
        self._storage = storage
        self._host = host
        self._grpc_port = grpc_port
        self._http_port = http_port
        self._authorise = authorise
        self._routes = routes
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
        studies = HostedStudies(self._storage)
        try:
            http = None
            if self._http_port is not None:
                from phyletic.service.http_server import HttpServer

                http = HttpServer(studies, authorise=self._authorise, routes=self._routes)
                port = await http.start(self._host, self._http_port)
                self.http_url = f"http://{self._host}:{port}"
            server = GrpcServer(
                studies, authorise=self._authorise, http_port=int(self.http_url.rpartition(":")[2] or 0)
            )
            port = await server.start(f"{self._host}:{self._grpc_port}")
            self.url = f"grpc://{self._host}:{port}"
            began()
            await self._over.wait()
            # not ready, no new grants; then answer what came in
            server.drain()
            studies.drain()
            if http is not None:
                await http.stop()
            await server.stop(_GRACE_SECONDS)
        finally:
            await asyncio.to_thread(studies.close)

    def stop(self) -> None:
        """Ask the server to end; any thread may call this."""
        if self._loop is not None and self._over is not None:
            self._loop.call_soon_threadsafe(self._over.set)


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
