"""The connections of this process, one for each server."""

from __future__ import annotations

import os
import socket
import threading
import time
import weakref

from phyletic.credentials import Credentials, ServerUrl, credentials_for, noted_token_file, server_url
from phyletic.errors import InvalidArgument, NotAuthenticated, Unreachable
from phyletic.remote.connection import Connection

_Key = tuple[str, Credentials]
_open: weakref.WeakValueDictionary[_Key, Connection] = weakref.WeakValueDictionary()
_opening = threading.Lock()
_CONNECT_SECONDS = 5.0
_STARTING_SECONDS = 2.0


def connection_to(url: str) -> Connection:
    """Return the connection to a server, which all studies of this process share; nothing is sent yet.

    Raises:
        InvalidArgument: It is not the URL of a server, or the token or a TLS file cannot be used.
        NotAuthenticated: There is no token for it.
        Unreachable: There is no token for it, and nothing listens there.
        MissingDependency: The libraries for it are missing.
    """
    server = server_url(url)
    if server.path:
        raise InvalidArgument("storage", url, "the URL of a server, without a path")
    key = (str(server), _shown_to(server))
    with _opening:
        connection = _open.get(key)
        if connection is None:
            connection = _open[key] = _connect(*key)
        return connection


def is_here(url: str) -> bool:
    """Whether a server runs on this machine for this user, so that its files are those that this process sees."""
    server = server_url(url)
    return server.loopback and noted_token_file(server) is not None


def _shown_to(server: ServerUrl) -> Credentials:
    """Return what to show to a server; one on this machine that has just begun to listen gets a moment to say it."""
    until = time.monotonic() + _STARTING_SECONDS
    while True:
        try:
            return credentials_for(server)
        except NotAuthenticated:
            try:
                socket.create_connection((server.host, server.port), _CONNECT_SECONDS).close()
            except OSError as error:
                raise Unreachable(f"{server} does not answer ({error.strerror or error})") from None
            if not server.loopback or time.monotonic() >= until:
                raise
        time.sleep(0.1)


def _connect(url: str, credentials: Credentials) -> Connection:
    if url.startswith("http"):
        from phyletic.remote.http_connection import HttpConnection

        return HttpConnection(url, credentials)
    from phyletic.remote.grpc_connection import GrpcConnection

    return GrpcConnection(url, credentials)


def _forget_in_child() -> None:
    """Forget, in a forked child, what its parent opened: gRPC must not be carried across a fork."""
    global _opening
    _open.clear()
    _opening = threading.Lock()


os.register_at_fork(after_in_child=_forget_in_child)
