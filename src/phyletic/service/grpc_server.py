"""The calls of ``phyletic.v1`` over gRPC, in one event loop; what blocks runs in threads.

A request is decoded here, so that bytes that are no request get an answer that says so. What a call raises becomes a
status with the error's name and text; of an error that phyletic does not know, only the log has the details.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import msgspec
from google.protobuf.message import DecodeError, Message

from phyletic import errors
from phyletic.coordinator.messages import Control, Refused
from phyletic.errors import InvalidArgument, PhyleticError
from phyletic.evolution.stateless import early_stop, suggest
from phyletic.records import StudyIdentity
from phyletic.remote.grpc_connection import REFUSED, SERVICE, TOKEN
from phyletic.remote.remote_owner import LONGEST_HOLD
from phyletic.remote.v1 import phyletic_v1_pb2 as pb
from phyletic.remote.wire import command_from_message, from_message, reply_to_message, take_values, to_message
from phyletic.service.door import CONTROLS, LARGEST_MESSAGE, admit, check, check_population, check_trials
from phyletic.service.hosted_studies import HostedStudies
from phyletic.service.hosts import QueueFull
from phyletic.service.logs import REQUEST, audit, begin_request, logger, note_token, request_id
from phyletic.service.own_code import OwnCode
from phyletic.service.tokens import Token, bearer
from phyletic.service.watching import committed_changes
from phyletic.space import Space
from phyletic.version import __version__

Authorise = Callable[[str | None, str, str | None], Token]
"""Returns the token of a call for a study, or raises: ``authorise(token, call, study)``."""

_LARGEST_REPLY = 256 << 20
_STATUS = (
    (errors.NotAuthenticated, grpc.StatusCode.UNAUTHENTICATED),
    (errors.NotAllowed, grpc.StatusCode.PERMISSION_DENIED),
    (errors.InvalidArgument, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.NotFound, grpc.StatusCode.NOT_FOUND),
    (errors.StudyMismatch, grpc.StatusCode.ALREADY_EXISTS),
    (QueueFull, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.StorageError, grpc.StatusCode.UNAVAILABLE),
    (PhyleticError, grpc.StatusCode.FAILED_PRECONDITION),
)


class GrpcServer:
    """Serves the studies of a database; all methods run in one event loop.

    Args:
        studies: The studies.
        authorise: Raises unless a call is allowed.
        http_port: The port of HTTP, which ``Hello`` names; 0 if there is none.
    """

    def __init__(self, studies: HostedStudies, *, authorise: Authorise, http_port: int = 0) -> None:
        self._studies = studies
        self._authorise = authorise
        self._http_port = http_port
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="phyletic service")
        self._server: Any = None
        self._serving = True

    async def start(self, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
        """Begin to listen; return the port.

        Args:
            address: ``"host:port"``; port 0 takes a free one.
            credentials: Of TLS; None for a server without it.

        Raises:
            InvalidArgument: Nothing can listen there.
        """
        options = [
            ("grpc.max_receive_message_length", LARGEST_MESSAGE),
            ("grpc.max_send_message_length", _LARGEST_REPLY),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.so_reuseport", 0),
        ]
        self._server = grpc.aio.server(options=options)
        self._server.add_generic_rpc_handlers((self._handlers(), self._health()))
        try:
            if credentials is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise InvalidArgument("address", address, f"an address that is free ({error})") from None
        await self._server.start()
        return int(port)

    def drain(self) -> None:
        """Say that the server is not ready any more."""
        self._serving = False

    async def stop(self, grace: float) -> None:
        """Answer what has come in, then stop.

        Args:
            grace: Seconds after which calls that are not answered are given up.
        """
        await self._server.stop(grace)
        self._threads.shutdown(wait=False)

    # --- calls --------------------------------------------------------------------------------------------------

    def _handlers(self) -> grpc.GenericRpcHandler:
        calls: dict[str, Callable[[Any], Any]] = {
            "Hello": self._hello,
            "CreateStudy": self._create_study,
            "GetStudy": self._get_study,
            "ListStudies": self._list_studies,
            "Exchange": self._exchange,
            "Control": self._control,
            "ListTrials": self._list_trials,
            "Suggest": self._suggest,
            "EarlyStop": self._early_stop,
        }
        handlers = {name: grpc.unary_unary_rpc_method_handler(self._unary(name, call)) for name, call in calls.items()}
        handlers["Watch"] = grpc.unary_stream_rpc_method_handler(self._watch)
        return grpc.method_handlers_generic_handler(SERVICE.full_name, handlers)

    def _unary(self, name: str, call: Callable[[Any], Awaitable[Message]]) -> Callable[[bytes, Any], Any]:
        """Return what serves a call: it decodes, authorises, calls, and turns errors into a status.

        Args:
            name: The call.
            call: What answers it.
        """

        async def serve(raw: bytes, context: Any) -> bytes:
            metadata = dict(context.invocation_metadata() or ())
            begin_request(metadata.get(REQUEST))
            try:
                request, token = self._admit(name, raw, context)
                reply = await (call(request) if name != "ListStudies" else self._list_studies(token))
                return reply.SerializeToString()
            except Exception as error:
                await _abort(context, name, error)
                raise

        return serve

    def _admit(self, name: str, raw: bytes, context: Any) -> tuple[Any, Token]:
        """Return the request of a call that is allowed, and its token.

        Args:
            name: The call.
            raw: Its bytes.
            context: Of gRPC.
        """
        shown = [value for key, value in context.invocation_metadata() or () if key == TOKEN and isinstance(value, str)]
        text = bearer(shown[0] if shown else None)
        # a stranger's bytes are not even decoded
        self._authorise(text, "Hello", None)
        try:
            request = getattr(pb, SERVICE.methods_by_name[name].input_type.name).FromString(raw)
        except DecodeError:
            raise InvalidArgument("request", f"{len(raw)} bytes", f"a message for {name}") from None
        study = request.identity.name if name == "CreateStudy" else getattr(request, "study", None)
        token = self._authorise(text, name, study if isinstance(study, str) else None)
        note_token(token.id)
        return request, token

    async def _in_thread(self, function: Callable[..., Any], *given: Any, **named: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: function(*given, **named))

    async def _hello(self, request: pb.HelloRequest) -> pb.HelloReply:
        return pb.HelloReply(
            version=__version__,
            protocols=[SERVICE.file.package],
            largest_message=LARGEST_MESSAGE,
            longest_wait=LONGEST_HOLD,
            http_port=self._http_port,
        )

    async def _create_study(self, request: pb.CreateStudyRequest) -> pb.StudyReply:
        identity = from_message(request.identity, StudyIdentity)
        control = from_message(request.control, Control)
        check(control)
        study = await self._in_thread(self._studies.create, identity, control)
        audit("CreateStudy", study.name, {"uuid": study.identity.uuid})
        reply: pb.StudyReply = await self._in_thread(self._found, study.name)
        return reply

    async def _get_study(self, request: pb.GetStudyRequest) -> pb.StudyReply:
        reply: pb.StudyReply = await self._in_thread(self._found, request.study)
        return reply

    def _found(self, name: str) -> pb.StudyReply:
        stored = self._studies.stored(name)
        address = self._studies.study(name).checkpoints.address
        return pb.StudyReply(study=to_message(stored, pb.StoredStudy), checkpoints=address)

    async def _list_studies(self, token: Token) -> pb.ListStudiesReply:
        found = await self._in_thread(self._studies.identities, token.study)
        return pb.ListStudiesReply(studies=[to_message(one, pb.StudyIdentity) for one in found])

    async def _exchange(self, request: pb.ExchangeRequest) -> pb.ExchangeReply:
        commands = admit([command_from_message(one) for one in request.commands])
        hold = request.wait_seconds
        if not 0 <= hold <= 3600:
            raise InvalidArgument("wait_seconds", hold, f"a number from 0 to {LONGEST_HOLD:g}")
        host = self._studies.hosts.get(request.study)
        if host is None:
            host = await self._in_thread(self._studies.host, request.study)
        replies = await asyncio.wrap_future(host.submit(commands, min(hold, LONGEST_HOLD)))
        answer = pb.ExchangeReply(replies=[reply_to_message(one) for one in replies])
        if request.HasField("changes_since"):
            changes = host.changes_since(request.changes_since)
            answer.changes_missed = changes is None
            answer.changes.extend([to_message(change, pb.StudyChange) for change in changes or ()])
        return answer

    async def _control(self, request: pb.ControlRequest) -> pb.ControlReply:
        command = command_from_message(request.command)
        if not isinstance(command, CONTROLS):
            raise InvalidArgument("command", type(command).__name__, "control, pin, enqueue or stop")
        check(command)
        host = await self._in_thread(self._studies.host, request.study)
        (reply,) = await asyncio.wrap_future(host.submit([command]))
        audit("Control", request.study, command, reply.message if isinstance(reply, Refused) else "done")
        return pb.ControlReply(reply=reply_to_message(reply))

    async def _list_trials(self, request: pb.ListTrialsRequest) -> pb.ListTrialsReply:
        if request.limit < 0:
            raise InvalidArgument("limit", request.limit, "at least 0; 0 is the server's own limit")
        if request.since < -1:
            raise InvalidArgument("since", request.since, "at least -1, which is for all")
        rows = await self._in_thread(
            self._studies.rows,
            request.study,
            request.since,
            after_trial=request.after_trial if request.HasField("after_trial") else None,
            after_event=request.after_event if request.HasField("after_event") else None,
            limit=request.limit,
        )
        return pb.ListTrialsReply(rows=await self._in_thread(to_message, rows, pb.StudyRows))

    async def _watch(self, raw: bytes, context: Any) -> AsyncIterator[bytes]:
        begin_request(dict(context.invocation_metadata() or ()).get(REQUEST))
        try:
            request, _ = self._admit("Watch", raw, context)
            study = await self._in_thread(self._studies.study, request.study)
            async for changes in committed_changes(study, request.since, lambda: self._serving):
                yield pb.WatchReply(
                    changes=[to_message(change, pb.StudyChange) for change in changes]
                ).SerializeToString()
        except Exception as error:
            await _abort(context, "Watch", error)

    async def _suggest(self, request: pb.SuggestRequest) -> pb.SuggestReply:
        definition, trials = await self._in_thread(_definition, request, self._studies.code)
        found = await self._in_thread(suggest, definition, trials, request.k or 1, request.seed)
        return pb.SuggestReply(suggestions=[to_message(one, pb.MemberSuggestion) for one in found])

    async def _early_stop(self, request: pb.EarlyStopRequest) -> pb.EarlyStopReply:
        definition, trials = await self._in_thread(_definition, request, self._studies.code)
        return pb.EarlyStopReply(trials=sorted(await self._in_thread(early_stop, definition, trials)))

    # --- health -------------------------------------------------------------------------------------------------

    def _health(self) -> grpc.GenericRpcHandler:
        """Return the service ``grpc.health.v1.Health``, whose messages are a text and a number."""

        async def check_health(raw: bytes, context: Any) -> bytes:
            return b"\x08\x01" if self._serving else b"\x08\x02"

        async def watch_health(raw: bytes, context: Any) -> AsyncIterator[bytes]:
            yield await check_health(raw, context)
            while self._serving:
                await asyncio.sleep(1.0)
            # the stream ends with the last word, or it would hold up the end of the server
            yield await check_health(raw, context)

        handlers = {
            "Check": grpc.unary_unary_rpc_method_handler(check_health),
            "Watch": grpc.unary_stream_rpc_method_handler(watch_health),
        }
        return grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers)


class _Definition(msgspec.Struct, frozen=True, kw_only=True):
    """A study's definition as it crosses the wire."""

    space: dict[str, Any]
    metric: str
    mode: str
    algorithm: dict[str, Any]
    steps: int | None
    initial: tuple[dict[str, Any], ...]


def _definition(request: Any, code: OwnCode) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the definition and the trials of a request for suggestions.

    Args:
        request: The request.
        code: What its algorithm may use beside phyletic's own rules.
    """
    given = from_message(request.study, _Definition)
    space, algorithm = Space.from_json(given.space), code.algorithm(given.algorithm)
    check_population(algorithm, space)
    definition = {
        "space": space,
        "metric": given.metric,
        "mode": given.mode,
        "algorithm": algorithm,
        "steps": given.steps,
        "initial": given.initial,
    }
    trials = [take_values(one.entries) for one in request.trials]
    check_trials(trials)
    return definition, trials


async def _abort(context: Any, call: str, error: Exception) -> None:
    """End a call with the status of an error.

    Args:
        context: Of gRPC.
        call: Its name.
        error: What it raised.
    """
    if isinstance(error, grpc.aio.AbortError):
        raise error
    if isinstance(error, PhyleticError):
        status = next(status for kind, status in _STATUS if isinstance(error, kind))
        refused = Refused.of(error)
        metadata = ((REFUSED, to_message(refused, pb.Refused).SerializeToString()),)
        await context.abort(status, f"{refused.error}: {refused.message[:4000]}", metadata)
    logger.error("%s raised", call, exc_info=error)
    await context.abort(grpc.StatusCode.INTERNAL, f"an error inside of the server; its log has request {request_id()}")
