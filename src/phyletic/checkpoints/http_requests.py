"""Requests to a service over HTTP: said again, with growing pauses, until they are answered."""

from __future__ import annotations

import errno
import json
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phyletic.backoff import pauses
from phyletic.credentials import Credentials
from phyletic.errors import MissingDependency

if TYPE_CHECKING:
    import urllib3

_logger = logging.getLogger("phyletic")
_SAID_AFTER = 5.0
_PASSING = {408, 425, 429, 500, 502, 503, 504}
_ERRNOS = {401: errno.EACCES, 403: errno.EACCES, 409: errno.EEXIST, 413: errno.EFBIG, 507: errno.ENOSPC}


@dataclass(frozen=True)
class Patience:
    """How long to go on trying.

    Attributes:
        give_up_after: Seconds without progress after which a call fails.
        connect: Seconds to wait for a connection.
        answer: Seconds to wait for the next byte of an answer.
        clock: Seconds that only grow.
        sleep: Waits for some seconds.
        draw: Draws from [0, 1); not from the global generator, which training code seeds.
    """

    give_up_after: float = 600.0
    connect: float = 10.0
    answer: float = 60.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    draw: Callable[[], float] = field(default_factory=lambda: random.Random().random)


class HttpRequests:
    """Makes requests below one address; safe to use from several threads, and after a fork.

    Args:
        address: What the URLs of all requests begin with.
        credentials: What to show to the server.
        patience: How long to go on trying.
    """

    def __init__(self, address: str, credentials: Credentials, patience: Patience) -> None:
        self._address, self._credentials, self._patience = address, credentials, patience
        _require_library()
        self._pool: tuple[int, urllib3.PoolManager] | None = None
        self._lock = threading.Lock()

    def tries(self, what: str) -> Tries:
        """Return the tries of one call.

        Args:
            what: What fails if the call does, for the error.
        """
        return Tries(f"{what}: {self._address}", self._patience)

    def once(
        self,
        method: str,
        path: str,
        tries: Tries,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        stream: bool = False,
    ) -> urllib3.BaseHTTPResponse | None:
        """Make one request; return None, after a pause, if it may be answered another time.

        Args:
            method: The HTTP method.
            path: What follows the address, percent-encoded.
            tries: Pauses, or gives up.
            headers: Further headers.
            body: What to send.
            stream: Whether the caller reads the answer's body piece by piece.
        """
        import urllib3

        shown = {"Authorization": f"Bearer {self._credentials.token}", **(headers or {})}
        url = f"{self._address}/{path}"
        try:
            answer = self._connections().request(
                method, url, body=body, headers=shown, preload_content=not stream, redirect=False, retries=False
            )
        except urllib3.exceptions.SSLError as error:
            raise OSError(errno.EACCES, f"TLS failed: {error}", self._address) from None
        except urllib3.exceptions.HTTPError as error:
            tries.pause(str(error))
            return None
        if answer.status in _PASSING and "Phyletic-Missing" not in answer.headers:
            tries.pause(f"status {answer.status}, {text_of(answer)}")
            return None
        return answer

    def _connections(self) -> urllib3.PoolManager:
        """Return the connections of this process: a fork must not share its parent's."""
        with self._lock:
            if self._pool is None or self._pool[0] != os.getpid():
                import urllib3

                timeout = urllib3.Timeout(connect=self._patience.connect, read=self._patience.answer)
                secure = self._address.startswith("https")
                self._pool = os.getpid(), connection_pool(self._credentials, secure=secure, maxsize=8, timeout=timeout)
            return self._pool[1]

    def refused(self, path: str, answer: urllib3.BaseHTTPResponse) -> OSError:
        """Return the error for an answer that trying again would not change."""
        if answer.headers.get("Phyletic-Missing") == "blob":
            return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"{self._address}/{path}")
        code = _ERRNOS.get(answer.status, errno.EAGAIN)
        return OSError(code, f"the server answered {answer.status}: {text_of(answer)}", f"{self._address}/{path}")


def connection_pool(credentials: Credentials, *, secure: bool, **options: Any) -> urllib3.PoolManager:
    """Return a pool of connections to a service.

    Args:
        credentials: What to show to it, and which certificates to trust.
        secure: Whether it has TLS.
        **options: Of the pool.
    """
    import urllib3

    if secure:
        options |= {"cert_reqs": "CERT_REQUIRED", "ca_certs": _path(credentials.ca)}
        options |= {"cert_file": _path(credentials.certificate), "key_file": _path(credentials.key)}
    return urllib3.PoolManager(**options)


class Tries:
    """The tries of one call: pauses between them, and gives up after a time without progress.

    Args:
        what: What fails, for the error.
        patience: How long to go on.
    """

    def __init__(self, what: str, patience: Patience) -> None:
        self._what, self._patience = what, patience
        self.progress()

    def progress(self) -> None:
        """Note that something arrived."""
        self._pauses = pauses(self._patience.draw)
        self._said = False
        self._since = self._patience.clock()

    def pause(self, why: str) -> None:
        """Wait before the next try.

        Raises:
            OSError: There was no progress for too long.
        """
        silent = self._patience.clock() - self._since
        if silent >= _SAID_AFTER and not self._said:
            self._said = True
            _logger.warning(
                "%s: no answer for %.0f s (%s); trying again until there is one", self._what, silent, why[:300]
            )
        if silent >= self._patience.give_up_after:
            raise OSError(
                errno.ETIMEDOUT, f"{self._what} did not answer for {self._patience.give_up_after:g} s ({why[:300]})"
            )
        self._patience.sleep(next(self._pauses))


def _require_library() -> None:
    try:
        import urllib3  # noqa: F401
    except ImportError:
        raise MissingDependency("urllib3", "service", "reaching a service") from None


def text_of(answer: urllib3.BaseHTTPResponse) -> str:
    """Return what an answer says of an error."""
    try:
        return str(json.loads(answer.data)["message"])[:500]
    except (ValueError, KeyError, TypeError):
        return answer.headers.get("Phyletic-Error", "") or f"without a reason that phyletic knows ({answer.reason})"


def _path(path: Path | None) -> str | None:
    return None if path is None else str(path)
