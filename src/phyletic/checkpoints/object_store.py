"""Requests to an object store, each made again with growing pauses until it is answered or ``store_timeout`` is over.

The library obstore reaches S3, GCS and Azure. Credentials come from the environment or the machine's role: obstore
reads them, and nothing here does. Its own retries are off, so that there is one limit. No time that a store tells is
read: not when an object was written, nor the date of an answer.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import random
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from phyletic.backoff import LONGEST, pauses
from phyletic.checkpoints.object_address import OBJECT_STORES
from phyletic.errors import MissingDependency, StoreUnreachable

if TYPE_CHECKING:
    import obstore.store

Item = TypeVar("Item")
Result = TypeVar("Result")

STORE_TIMEOUT = 120.0
"""Seconds after which a request is given up, unless the user says otherwise."""
AT_ONCE = 4
"""Requests that one transfer makes at the same time."""

_CONNECT_SECONDS = 3.0
_SAID_AFTER = 5.0
_LONGEST_REASON = 300
_CLIENT_OPTIONS = ("allow_http", "allow_invalid_certificates", "proxy_url", "proxy_excludes")
_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted"}
_CREDENTIALS = {"ExpiredToken", "TokenRefreshRequired", "InvalidToken", "RequestExpired", "AuthenticationFailed"}

_logger = logging.getLogger("phyletic")


class ObjectStore:
    """An object store, below a prefix; several threads may use it.

    Args:
        address: As :func:`phyletic.checkpoints.object_address.check_object_address` returns it.
        timeout: Seconds from a request's first try after which no other try begins. A try that hangs ends after half
            of it.
        open_store: Opens the store that an address names; obstore by default.
        clock: Seconds that only grow.
        sleep: Waits for some seconds.
        draw: Draws from [0, 1); not from the global generator, which training code seeds.

    Raises:
        MissingDependency: obstore is not installed.
        StoreUnreachable: The environment lacks something that is needed to reach the store, such as the account.
    """

    def __init__(
        self,
        address: str,
        timeout: float = STORE_TIMEOUT,
        *,
        open_store: Callable[[str, float], obstore.store.ObjectStore] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        draw: Callable[[], float] | None = None,
    ) -> None:
        self.location, self.timeout = address, timeout
        self._open_store = open_store or opened
        self._clock, self._sleep, self._draw = clock, sleep, draw or random.Random().random
        self._lock = threading.Lock()
        self._store: Any = None
        require_obstore()
        self._connected()

    def put(self, key: str, content: bytes | memoryview) -> None:
        """Write an object, in place of one that may be there."""
        import obstore

        self._answer(f"{key} cannot be written", lambda store: obstore.put(store, key, content, use_multipart=False))

    def create(self, key: str, content: bytes) -> bool:
        """Write an object unless there is one, and return whether it has these bytes now.

        If the answer to a create was lost, the next try meets the object that it made; so equal bytes are success.
        """
        import obstore

        def create(store: obstore.store.ObjectStore) -> bool:
            try:
                obstore.put(store, key, content, mode="create")
            except obstore.exceptions.AlreadyExistsError:
                return False
            return True

        while not self._answer(f"{key} cannot be written", create):
            try:
                return self.get(key) == content
            except FileNotFoundError:
                continue  # it was deleted meanwhile
        return True

    def get(self, key: str) -> memoryview:
        """Return an object's bytes.

        Raises:
            FileNotFoundError: There is no such object.
        """
        import obstore

        return memoryview(self._answer(f"{key} cannot be read", lambda store: obstore.get(store, key).bytes()))

    def keys(self, below: str, seconds: float | None = None) -> list[str]:
        """Return the keys of all objects below a key.

        Args:
            below: The key.
            seconds: How long to try, if that is less than ``timeout``.
        """
        import obstore

        def listed(store: obstore.store.ObjectStore) -> list[str]:
            return [found["path"] for page in obstore.list(store, f"{below}/") for found in page]

        return self._answer(f"the objects below {below} cannot be listed", listed, seconds)

    def first_names(self) -> list[str]:
        """Return the first names of all keys; it fails if there is no such bucket."""
        import obstore

        def listed(store: obstore.store.ObjectStore) -> list[str]:
            return [found.strip("/") for found in obstore.list_with_delimiter(store)["common_prefixes"]]

        return self._answer("the objects cannot be listed", listed)

    def delete(self, keys: Sequence[str], seconds: float | None = None) -> None:
        """Delete objects; one that is missing is fine.

        Args:
            keys: Their keys.
            seconds: How long to try, if that is less than ``timeout``.
        """
        import obstore

        def delete(store: obstore.store.ObjectStore, key: str | Sequence[str]) -> None:
            try:
                obstore.delete(store, key)
            except FileNotFoundError:
                # the local store raises at the first that is missing, and leaves the rest
                for each in () if isinstance(key, str) else key:
                    delete(store, each)

        if keys:
            self._answer(f"{keys[0]} cannot be deleted", lambda store: delete(store, list(keys)), seconds)

    # Tries

    def _answer(self, what: str, call: Callable[[Any], Result], seconds: float | None = None) -> Result:
        """Make a request until it is answered.

        Args:
            what: What fails if the request does, for the error.
            call: Makes it, with the store.
            seconds: How long to try, if that is less than ``timeout``.

        Raises:
            FileNotFoundError: There is no such object.
            StoreUnreachable: The time is over.
        """
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

        limit = self.timeout if seconds is None else min(seconds, self.timeout)
        began, said = self._clock(), False
        for pause in pauses(self._draw, min(LONGEST, limit / 8)):
            try:
                return call(self._connected())
            except FileNotFoundError as error:
                status, reason = _reason(error)
                if status not in _NO_BUCKET:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.location) from None
            except (BaseError, OSError) as error:
                status, reason = _reason(error)
                if isinstance(error, (PermissionDeniedError, UnauthenticatedError)) or status in _CREDENTIALS:
                    # made anew, the store reads the environment and the role's credentials again
                    self._forget()
            waited = self._clock() - began
            if waited + pause > limit:
                raise StoreUnreachable(
                    f"{self.location}: {what}; tried for {waited:.0f} s (store_timeout={self.timeout:g}): {reason}"
                ) from None
            if waited >= _SAID_AFTER and not said:
                said = True
                _logger.warning("%s: %s for %.0f s, trying again: %s", self.location, what, waited, reason)
            self._sleep(pause)
        raise AssertionError("pauses never end")

    def _connected(self) -> Any:
        with self._lock:
            if self._store is None:
                self._store = self._open_store(self.location, self.timeout)
            return self._store

    def _forget(self) -> None:
        with self._lock:
            self._store = None


def opened(address: str, timeout: float) -> obstore.store.ObjectStore:
    """Open the store of an address with the credentials of the environment or the machine's role.

    Args:
        address: The address.
        timeout: As for :class:`ObjectStore`.

    Raises:
        StoreUnreachable: The environment lacks something, such as the name of the account.
    """
    from obstore.exceptions import BaseError
    from obstore.store import from_url

    client: dict[str, Any] = {
        "timeout": timedelta(seconds=max(timeout / 2, 0.1)),
        "connect_timeout": timedelta(seconds=max(min(_CONNECT_SECONDS, timeout / 2), 0.1)),
    }
    # options of the client that are given replace those of the environment, so hand these on
    begin = OBJECT_STORES[address.partition("://")[0]]
    for option in _CLIENT_OPTIONS:
        value = os.environ.get(f"{begin}_{option.upper()}")
        if value:
            client[option] = value
    try:
        return from_url(address, client_options=client, retry_config={"max_retries": 0})
    except BaseError as error:
        raise StoreUnreachable(f"{address} cannot be opened: {_reason(error)[1]}") from None


def require_obstore() -> None:
    """Raise MissingDependency unless obstore is installed."""
    try:
        import obstore  # noqa: F401
    except ImportError:
        raise MissingDependency("obstore", "object-store", "keeping checkpoints in an object store") from None


def _reason(error: BaseException) -> tuple[str, str]:
    """Return the code of an error, if the store gave one, and what to show of it: never a header or a query.

    Example:
        >>> _reason(OSError("GET http://h/b?sig=SECRET - status code: 400: <Code>ExpiredToken</Code> <Token>T</Token>"))
        ('ExpiredToken', 'status 400, ExpiredToken')
        >>> _reason(OSError("GET http://h/b?sig=SECRET failed"))
        ('', 'GET http://h/b failed')
    """
    text = str(error).partition("\n\nDebug source")[0]
    codes, messages = re.findall(r"<Code>([^<]*)</Code>", text), re.findall(r"<Message>([^<]*)</Message>", text)
    status = re.search(r"status code: (\d+)", text)
    code = codes[0] if codes else ""
    if status is None and not codes:
        shown = re.sub(r"\?\S*", "", re.sub(r"\s+", " ", text))
    else:
        known = [f"status {status[1]}" if status else "", code, *messages[:1]]
        shown = ", ".join(one for one in known if one)
    return code, shown[:_LONGEST_REASON]


def in_order(call: Callable[[Item], Result], items: Iterable[Item]) -> Generator[Result]:
    """Yield the results of a function in the order of its items, computing a few of them ahead in threads.

    Example:
        >>> list(in_order(len, ["a", "bcd"]))
        [1, 3]
    """
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(AT_ONCE, "phyletic transfer") as pool:
        try:
            for item in items:
                pending.append(pool.submit(call, item))
                if len(pending) == AT_ONCE:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for one in pending:
                one.cancel()


def digest_of_part(part: bytes | memoryview) -> str:
    """Return the digest of a part, as text."""
    return "sha256:" + hashlib.sha256(part).hexdigest()
