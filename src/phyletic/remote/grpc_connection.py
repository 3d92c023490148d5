"""The connection to a server over gRPC.

Every call is unary (but Watch) and has a deadline. A failure is Unreachable, which says that trying again may help, or
the typed error that the server raised.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from phyletic import errors
from phyletic.coordinator.messages import Command, Control, Enqueue, Pin, Refused, Reply, Stop
from phyletic.credentials import Credentials, server_url
from phyletic.errors import MissingDependency, StorageUnsupported, Unreachable

try:
    import grpc
    from google.protobuf.message import DecodeError, Message

    from phyletic.remote.v1 import phyletic_v1_pb2 as pb
except ModuleNotFoundError as error:  # pragma: no cover - the extra is missing
    raise MissingDependency(error.name or "grpcio", "service", "a study of a server") from error

from phyletic.records import StudyChange, StudyIdentity
from phyletic.remote.connection import Following, Found
from phyletic.remote.deferred_calls import DeferredCalls
from phyletic.remote.tls_hints import tls_hint
from phyletic.remote.wire import command_to_message, from_message, reply_from_message, to_message
from phyletic.storage.changes import StoredStudy
from phyletic.storage.mirror import StudyRows

SERVICE = pb.DESCRIPTOR.services_by_name["Phyletic"]
REFUSED = "phyletic-refused-bin"
"""Key of the metadata in which a failed call carries its error."""
TOKEN = "authorization"
"""Key of the metadata in which a call carries its token."""
_SECONDS = 20.0
"""Deadline of a call, beside the time that an ask may be held."""
_WATCH_SECONDS = 3600.0
_KEEPALIVE_MS = 30_000
_LARGEST_REPLY = 256 << 20
_LOOK_SECONDS = 0.1
_TRY_AGAIN = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "CANCELLED", "ABORTED"})


class GrpcConnection:
    """A server over gRPC; implements :class:`phyletic.remote.connection.Connection`.

    Args:
        url: ``"grpc://host:port"``, or ``"grpcs://host:port"`` with TLS.
        credentials: What to show to the server, and which certificates to trust.
    """

    def __init__(self, url: str, credentials: Credentials) -> None:
        self.url = url
        self.deferred = DeferredCalls()
        self._credentials = credentials
        self._metadata = [(TOKEN, f"Bearer {credentials.token}")]
        options = [
            ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
            ("grpc.keepalive_timeout_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", 0),
            ("grpc.max_receive_message_length", _LARGEST_REPLY),
            # a server that comes back is found soon
            ("grpc.max_reconnect_backoff_ms", 2_000),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            # two connections of one process share nothing, so that closing one harms no other
            ("grpc.use_local_subchannel_pool", 1),
        ]
        scheme, _, target = url.partition("://")
        self._channel = (
            grpc.insecure_channel(target, options)
            if scheme == "grpc"
            else grpc.secure_channel(target, _tls(credentials), options)
        )
        self._calls = {name: self._method(name) for name in SERVICE.methods_by_name}
        self._spoken = False

    # --- calls --------------------------------------------------------------------------------------------------

    def hello(self) -> pb.HelloReply:
        """Return the server's versions and limits.

        Raises:
            StorageUnsupported: It speaks no protocol that this version speaks.
        """
        from phyletic.version import __version__

        with self._translated(), self.deferred.calling():
            request = pb.HelloRequest(version=__version__)
            reply: pb.HelloReply = self._calls["Hello"](request, timeout=_SECONDS, metadata=self._metadata)
        if SERVICE.file.package not in reply.protocols:
            there, here = ", ".join(reply.protocols) or "nothing", SERVICE.file.package
            raise StorageUnsupported(
                f"{self.url} runs phyletic {reply.version}, which speaks {there}, but phyletic {__version__} here "
                f"speaks {here}: install versions that have a protocol in common"
            )
        self._spoken = True
        return reply

    def version(self) -> str:
        """Return the version of phyletic that the server runs."""
        return str(self.hello().version)

    def http_url(self) -> str | None:
        """Return where the server answers over HTTP; None if it does not."""
        port = self.hello().http_port
        server = server_url(self.url)
        return str(replace(server, scheme="https" if server.secure else "http", port=port)) if port else None

    def create(self, identity: StudyIdentity, control: Control) -> Found:
        """Create a study, or return the one of that name.

        Raises:
            StudyMismatch: It exists with another identity.
        """
        request = pb.CreateStudyRequest(
            identity=to_message(identity, pb.StudyIdentity), control=to_message(control, pb.Control)
        )
        return _found(self._call("CreateStudy", request))

    def study(self, name: str) -> Found | None:
        """Return a study; None if the server has none of that name."""
        try:
            return _found(self._call("GetStudy", pb.GetStudyRequest(study=name)))
        except errors.NotFound:
            return None

    def studies(self) -> list[StudyIdentity]:
        """Return the identities of all studies."""
        reply = self._call("ListStudies", pb.ListStudiesRequest())
        return [from_message(one, StudyIdentity) for one in reply.studies]

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
        request = pb.ExchangeRequest(study=study, wait_seconds=hold, changes_since=since)
        request.commands.extend([command_to_message(command) for command in commands])
        seconds = (_SECONDS if timeout is None else timeout) + hold
        if hold <= 0:
            reply = self._call("Exchange", request, seconds)
        else:
            reply = self._held_call(request, seconds, interrupted)
            if reply is None:
                return self.exchange(study, commands, timeout=timeout, following=following)
        if following is not None and since is not None:
            changes = [from_message(change, StudyChange) for change in reply.changes]
            following.take(changes, reply.changes_missed)
        return tuple([reply_from_message(one) for one in reply.replies])

    def _held_call(
        self, request: pb.ExchangeRequest, seconds: float, interrupted: Callable[[], bool]
    ) -> pb.ExchangeReply | None:
        """Return the reply to an exchange that may be held; None if it was interrupted, and must be said again.

        Args:
            request: The exchange.
            seconds: Its deadline.
            interrupted: Whether to end it.
        """
        with self.deferred.calling(), self._translated():
            call = self._calls["Exchange"].future(request, timeout=seconds, metadata=self._metadata)
            try:
                while not call.done():
                    if interrupted():
                        call.cancel()
                        return None
                    _wait_for(call)
            except BaseException:
                call.cancel()
                raise
            reply: pb.ExchangeReply = call.result()
            return reply

    def control(self, study: str, command: Control | Pin | Enqueue | Stop) -> Reply:
        """Have a change of a study's control decided."""
        request = pb.ControlRequest(study=study, command=command_to_message(command))
        return reply_from_message(self._call("Control", request).reply)

    def rows(
        self, study: str, since: int, *, after_trial: int | None = None, after_event: int | None = None
    ) -> StudyRows:
        """Return a page of rows; see :meth:`phyletic.remote.connection.Connection.rows`."""
        request = pb.ListTrialsRequest(study=study, since=since, after_trial=after_trial, after_event=after_event)
        return from_message(self._call("ListTrials", request).rows, StudyRows)

    def watch(self, study: str, since: int = -1) -> Iterator[StudyChange]:
        """Yield what is committed after a sequence number, as it happens, until the iterator is closed."""
        while True:
            request = pb.WatchRequest(study=study, since=since)
            stream = self._calls["Watch"](request, timeout=_WATCH_SECONDS, metadata=self._metadata)
            try:
                for reply in stream:
                    changes = [from_message(change, StudyChange) for change in reply.changes]
                    yield from changes
                    # a reply has all changes of a write
                    since = changes[-1].sequence if changes else since
                return
            except grpc.RpcError as error:
                # at its deadline the stream is asked for again, from where it was
                if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                    raise translated(error, self.url, self._credentials) from None
            finally:
                stream.cancel()

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def _method(self, name: str) -> Any:
        """Return what makes a call."""
        method = SERVICE.methods_by_name[name]
        make = self._channel.unary_stream if method.server_streaming else self._channel.unary_unary
        return make(
            f"/{SERVICE.full_name}/{name}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=getattr(pb, method.output_type.name).FromString,
        )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise errors of gRPC in the block as those of phyletic."""
        try:
            yield
        except (grpc.RpcError, grpc.FutureCancelledError) as error:
            raise translated(error, self.url, self._credentials) from None

    def _call(self, name: str, request: Message, timeout: float = _SECONDS) -> Any:
        if not self._spoken:
            self.hello()
        with self._translated(), self.deferred.calling():
            return self._calls[name](request, timeout=timeout, metadata=self._metadata)


def _tls(credentials: Credentials) -> grpc.ChannelCredentials:
    files = (credentials.ca, credentials.key, credentials.certificate)
    return grpc.ssl_channel_credentials(*[None if file is None else file.read_bytes() for file in files])


def _found(reply: pb.StudyReply) -> Found:
    return Found(from_message(reply.study, StoredStudy), reply.checkpoints)


def _wait_for(call: Any) -> None:
    """Wait a moment for a call, in a way that signals interrupt."""
    done = threading.Event()
    call.add_done_callback(lambda _: done.set())
    until = time.monotonic() + _LOOK_SECONDS
    done.wait(max(0.0, until - time.monotonic()))


def translated(error: Any, url: str, credentials: Credentials) -> errors.PhyleticError:
    """Return the error of phyletic that a failed call stands for.

    Args:
        error: What gRPC raised.
        url: The server, for the message.
        credentials: What was shown to it.
    """
    if isinstance(error, grpc.FutureCancelledError):
        return Unreachable(f"the call to {url} was cancelled")
    code = error.code().name
    for key, value in error.trailing_metadata() or ():
        if key == REFUSED and code not in _TRY_AGAIN:
            try:
                refused = from_message(pb.Refused.FromString(value), Refused)
            except DecodeError:
                break
            if isinstance(getattr(errors, refused.error, None), type):
                return refused.exception()
    text = f"{url}: {error.details() or code}"
    if code in _TRY_AGAIN or code in ("UNKNOWN", "INTERNAL"):
        never = text.startswith(f"{url}: failed to connect")
        return Unreachable(text + (tls_hint(url, credentials, text) if never else ""))
    if code == "UNIMPLEMENTED":
        other = (
            f"{url} is no server of phyletic, or one of another version: it has no such call of {SERVICE.file.package}"
        )
        return StorageUnsupported(f"{other} ({error.details()})")
    if code == "INVALID_ARGUMENT":
        return errors.InvalidArgument("the call", url, f"one that the server takes: {error.details()}")
    return errors.PhyleticError(text)
