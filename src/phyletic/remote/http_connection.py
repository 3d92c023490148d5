"""The connection to a server over HTTP, for places that gRPC does not reach; it makes the same calls."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as StillHeld
from typing import Any, TypeVar

import msgspec

from phyletic import errors
from phyletic.checkpoints.checkpoint_names import STUDIES, study_path
from phyletic.checkpoints.http_requests import connection_pool
from phyletic.coordinator.messages import Command, Control, Done, Enqueue, Pin, Refused, Reply, Stop
from phyletic.credentials import Credentials
from phyletic.errors import MissingDependency, PhyleticError, StorageUnsupported, Unreachable
from phyletic.records import StudyChange, StudyIdentity
from phyletic.records.encodings import encode_numbers
from phyletic.remote.connection import Following, Found
from phyletic.remote.deferred_calls import DeferredCalls
from phyletic.remote.tls_hints import tls_hint
from phyletic.storage.mirror import StudyRows

try:
    import urllib3
except ModuleNotFoundError as error:  # pragma: no cover - the extra is missing
    raise MissingDependency(error.name or "urllib3", "service", "a study of a server over HTTP") from error

T = TypeVar("T")

_SECONDS = 20.0
"""Deadline of a call, beside the time that an ask may be held."""
_LOOK_SECONDS = 0.1
_TRY_AGAIN = (408, 429, 502, 503, 504)
_LATEST = 10**14
"""No write has such a sequence number yet."""


class ExchangeReply(msgspec.Struct, frozen=True, kw_only=True):
    """The replies to an exchange.

    Attributes:
        replies: One for each command; a Refused says why a command had no effect.
        changes: What was committed after ``changes_since``, if that was given.
        changes_missed: Whether some are not among them; the rows of the study have them.
    """

    replies: tuple[Reply, ...]
    changes: tuple[StudyChange, ...] = ()
    changes_missed: bool = False


class RowsPage(msgspec.Struct, frozen=True):
    """A page of a study's rows.

    Attributes:
        rows: The rows.
        checkpoints: Address of the study's checkpoints, as the server sees it.
    """

    rows: StudyRows
    checkpoints: str


class _Refusal(msgspec.Struct, frozen=True):
    error: str
    message: str
    name: str = ""
    value: str = ""


class _Studies(msgspec.Struct, frozen=True):
    studies: tuple[StudyIdentity, ...]


class _Program(msgspec.Struct, frozen=True):
    version: str


class _Description(msgspec.Struct, frozen=True):
    info: _Program
    paths: dict[str, Any]


class HttpConnection:
    """A server over HTTP; implements :class:`phyletic.remote.connection.Connection`.

    Args:
        url: ``"http://host:port"``, or ``"https://host:port"``.
        credentials: What to show to the server, and which certificates to trust.
    """

    def __init__(self, url: str, credentials: Credentials) -> None:
        self.url = url
        self.deferred = DeferredCalls()
        self._credentials = credentials
        self._answered = self._understood = False
        # what may be said again, and for how long, is decided above
        self._pool = connection_pool(credentials, secure=url.startswith("https"), maxsize=16, retries=False)

    def version(self) -> str:
        """Return the version of phyletic that the server runs.

        Raises:
            StorageUnsupported: It does not have the calls that this version makes.
        """
        described = self._decode(self._call("GET", "/openapi.json"), _Description)
        if STUDIES not in described.paths:
            raise StorageUnsupported(f"{self.url} runs version {described.info.version}, which has no {STUDIES}")
        return described.info.version

    def http_url(self) -> str:
        """Return the URL."""
        return self.url

    def create(self, identity: StudyIdentity, control: Control) -> Found:
        """Create a study, or return the one of that name.

        Raises:
            StudyMismatch: It exists with another identity.
        """
        document = {
            **{name: getattr(identity, name) for name in ("name", "space", "metrics", "algorithm", "seed")},
            "initial": identity.initial,
            "sampling": identity.sampling,
            **{
                name: value
                for name in ("budget", "max_failures", "max_losses", "keep_best")
                if (value := getattr(control, name)) is not None
            },
        }
        self._call("POST", STUDIES, document)
        found = self.study(identity.name)
        if found is None:
            raise errors.NotFound(f"study {identity.name!r} of {self.url} was deleted at once")
        return found

    def study(self, name: str) -> Found | None:
        """Return a study; None if the server has none of that name."""
        try:
            page = self._page(name, since=_LATEST)
        except errors.NotFound:
            return None
        return Found(page.rows.study, page.checkpoints)

    def studies(self) -> list[StudyIdentity]:
        """Return the identities of all studies."""
        return list(self._decode(self._call("GET", STUDIES), _Studies).studies)

    def exchange(
        self,
        study: str,
        commands: Sequence[Command],
        *,
        hold: float = 0.0,
        timeout: float | None = None,
        interrupted: Callable[[], bool] = lambda: False,
        following: Following | None = None,
    ) -> tuple[Reply, ...]:
        """Have commands of sessions decided; see :meth:`phyletic.remote.connection.Connection.exchange`."""
        since = None if following is None else following.since()
        document = {"commands": list(commands), "wait_seconds": hold}
        if since is not None:
            document["changes_since"] = since
        seconds = (_SECONDS if timeout is None else timeout) + hold
        if hold <= 0:
            raw = self._call("POST", f"{study_path(study)}/exchange", document, seconds=seconds)
        else:
            held = self._held_call(f"{study_path(study)}/exchange", document, seconds, interrupted)
            if held is None:
                return self.exchange(study, commands, timeout=timeout, following=following)
            raw = held
        reply = self._decode(raw, ExchangeReply)
        if following is not None and since is not None:
            following.take(reply.changes, reply.changes_missed)
        return reply.replies

    def _held_call(self, path: str, document: object, seconds: float, interrupted: Callable[[], bool]) -> bytes | None:
        """Return the answer to an exchange that may be held; None if it was interrupted, and must be said again.

        Args:
            path: The path.
            document: The exchange.
            seconds: Its deadline.
            interrupted: Whether to end it.
        """
        # a signal interrupts the wait for a thread, and not that for a socket
        call: Future[bytes] = Future()
        threading.Thread(
            target=_complete,
            args=(call, lambda: self._call("POST", path, document, seconds=seconds)),
            name="phyletic asking",
            daemon=True,
        ).start()
        while not interrupted():
            try:
                return call.result(_LOOK_SECONDS)
            except StillHeld:
                continue
        return None

    def control(self, study: str, command: Control | Pin | Enqueue | Stop) -> Reply:
        """Have a change of a study's control decided."""
        document: dict[str, object] = {}
        match command:
            case Pin(trial=trial, keep=keep):
                document = {"pin" if keep else "unpin": trial}
            case Enqueue(values=values):
                document = {"enqueue": values}
            case Stop(now=now):
                document = {"stop": "now" if now else "drain"}
            case Control():
                known = msgspec.structs.asdict(command)
                document = {name: value for name, value in known.items() if value is not None}
        try:
            self._call("POST", f"{study_path(study)}/control", document)
        except Unreachable:
            raise
        except PhyleticError as error:
            return Refused.of(error)
        return Done()

    def rows(
        self, study: str, since: int, *, after_trial: int | None = None, after_event: int | None = None
    ) -> StudyRows:
        """Return a page of rows; see :meth:`phyletic.remote.connection.Connection.rows`."""
        return self._page(study, since=since, after_trial=after_trial, after_event=after_event).rows

    def watch(self, study: str, since: int = -1) -> Iterator[StudyChange]:
        """Yield what is committed after a sequence number, as it happens, until the iterator is closed."""
        path = f"{study_path(study)}/watch?since={since}"
        response = self._send("GET", path, None, _SECONDS, preload_content=False)
        try:
            rest = b""
            for part in response.stream(65_536):
                *lines, rest = (rest + part).split(b"\n")
                for line in lines:
                    if line.startswith(b"data: "):
                        yield self._decode(line.removeprefix(b"data: "), StudyChange)
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(f"{self.url}: {error}") from None
        finally:
            response.close()

    def close(self) -> None:
        """Close the connection."""
        self._pool.clear()

    def _page(self, study: str, **query: int | None) -> RowsPage:
        asked = "&".join(f"{name}={value}" for name, value in query.items() if value is not None)
        return self._decode(self._call("GET", f"{study_path(study)}/rows?{asked}"), RowsPage)

    def _call(self, method: str, path: str, document: object = None, *, seconds: float = _SECONDS) -> bytes:
        """Return the body of an answer, or raise what the server refused with.

        Args:
            method: ``"GET"`` or ``"POST"``.
            path: The path.
            document: What to send as JSON; None for nothing.
            seconds: The deadline.
        """
        with self.deferred.calling():
            response = self._send(method, path, document, seconds)
        if response.status >= 400:
            raise self._refused(response)
        return bytes(response.data)

    def _send(self, method: str, path: str, document: object, seconds: float, **options: Any) -> Any:
        """Send a request, and return the response.

        Args:
            method: The method.
            path: The path.
            document: What to send as JSON; None for nothing.
            seconds: The deadline.
            **options: Of urllib3.
        """
        headers = {"accept": "application/json", "authorization": f"Bearer {self._credentials.token}"}
        if document is not None:
            headers["content-type"] = "application/json"
        try:
            response = self._pool.request(
                method,
                self.url + path,
                body=None if document is None else encode(document),
                headers=headers,
                timeout=urllib3.Timeout(connect=5.0, read=seconds),
                redirect=False,
                **options,
            )
        except urllib3.exceptions.HTTPError as error:
            hint = "" if self._answered else tls_hint(self.url, self._credentials, str(error))
            raise Unreachable(f"{self.url} does not answer: {error}{hint}") from None
        self._answered = True
        return response

    def _decode(self, raw: bytes, kind: type[T]) -> T:
        """Return what an answer says, or raise StorageUnsupported."""
        try:
            answer = msgspec.json.decode(raw, type=kind, strict=False)
        except msgspec.MsgspecError as error:
            shown = raw[:200].decode(errors="replace")
            text = f"{self.url} is no server of phyletic, or one of another version: it answers {shown!r} ({error})"
            raise StorageUnsupported(text) from None
        self._understood = True
        return answer

    def _refused(self, response: Any) -> PhyleticError:
        try:
            refusal = msgspec.json.decode(response.data, type=_Refusal)
        except msgspec.MsgspecError:
            if response.status == 404 and not self._understood:
                return StorageUnsupported(f"{self.url} is no server of phyletic, or not one that has {STUDIES}")
            return Unreachable(f"{self.url}: HTTP status {response.status}")
        self._understood = True
        if response.status in _TRY_AGAIN or not isinstance(getattr(errors, refusal.error, None), type):
            return Unreachable(f"{self.url}: {refusal.message}")
        return Refused(error=refusal.error, message=refusal.message, name=refusal.name, value=refusal.value).exception()


def encode(document: object) -> bytes:
    """Return records as JSON; numbers that are not finite become texts, which a decoder reads as numbers again."""
    return msgspec.json.encode(encode_numbers(msgspec.to_builtins(document)))


def _complete(call: Future[bytes], make: Callable[[], bytes]) -> None:
    try:
        call.set_result(make())
    except BaseException as error:
        call.set_exception(error)
