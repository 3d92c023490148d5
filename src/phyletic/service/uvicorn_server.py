"""The server of HTTP underneath: it leaves signals to the program, and no silent client delays its end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

_CLOSING_SECONDS = 1.0


class UvicornServer(uvicorn.Server):
    """A server whose signals are the program's, and whose end no silent client delays."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what came in, then end; connections that are being closed get a second for it.

        A client that keeps a connection for later does not look at it, so over TLS it does not agree to its end.
        """
        closing = asyncio.create_task(self._end_closing())
        await super().shutdown(sockets)
        closing.cancel()

    async def _end_closing(self) -> None:
        before: set[Any] = set()
        while True:
            transports = {connection.transport for connection in self.server_state.connections}
            now = {transport for transport in transports if transport is not None and transport.is_closing()}
            for transport in now & before:
                transport.abort()
            before = now
            await asyncio.sleep(_CLOSING_SECONDS)
