"""The connections of this process, one for each server."""

from __future__ import annotations

import os
import threading
import weakref

from phyletic.remote.connection import Connection

_open: weakref.WeakValueDictionary[str, Connection] = weakref.WeakValueDictionary()
_opening = threading.Lock()


def connection_to(url: str) -> Connection:
    """Return the connection to a server, which all studies of this process share; nothing is sent yet.

    Raises:
        InvalidArgument: It is not the URL of a server.
        MissingDependency: The libraries for it are missing.
    """
    with _opening:
        connection = _open.get(url)
        if connection is None:
            connection = _open[url] = _connect(url)
        return connection


def _connect(url: str) -> Connection:
    if url.startswith("http://"):
        from phyletic.remote.http_connection import HttpConnection

        return HttpConnection(url)
    from phyletic.remote.grpc_connection import GrpcConnection

    return GrpcConnection(url)


def _forget_in_child() -> None:
    """Forget, in a forked child, what its parent opened: gRPC must not be carried across a fork."""
    global _opening
    _open.clear()
    _opening = threading.Lock()


os.register_at_fork(after_in_child=_forget_in_child)
