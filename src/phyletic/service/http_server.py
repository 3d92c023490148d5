"""The calls of the service over HTTP, in JSON, for curl and any language; and what operations look at."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import msgspec

from phyletic.checkpoints.checkpoint_names import STUDIES, decoded
from phyletic.coordinator.messages import Command, Control, Enqueue, Pin, Refused, Reply, Stop
from phyletic.errors import InvalidArgument, MissingDependency
from phyletic.remote.http_connection import ExchangeReply, RowsPage, encode
from phyletic.remote.remote_owner import LONGEST_HOLD
from phyletic.service.door import LARGEST_MESSAGE, admit, check
from phyletic.service.grpc_server import Authorise
from phyletic.service.hosted_studies import HostedStudies
from phyletic.service.http_errors import error_response
from phyletic.service.json_requests import (
    AskRequest,
    ControlRequest,
    ExchangeRequest,
    FailRequest,
    HeartbeatRequest,
    NewStudy,
    StudyDocument,
    TellRequest,
    TrialPage,
    decode,
)
from phyletic.service.listening import TlsFiles
from phyletic.service.logs import REQUEST, audit, begin_request, note_token
from phyletic.service.metrics import metrics_text
from phyletic.service.openapi import openapi_document
from phyletic.service.tokens import Token, bearer
from phyletic.service.watching import committed_changes
from phyletic.storage.mirror import MOST_TRIALS

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response, StreamingResponse
    from starlette.routing import BaseRoute, Route

    from phyletic.service.uvicorn_server import UvicornServer
except ModuleNotFoundError as error:  # pragma: no cover - the extra is missing
    raise MissingDependency(error.name or "starlette", "service", "a server of studies over HTTP") from error

_Answer = Callable[[Request], Awaitable[Response]]


class HttpServer:
    """Serves the studies of a database over HTTP; all methods run in one event loop.

    Args:
        studies: The studies.
        authorise: Raises unless a call is allowed.
        routes: Further routes.

    Attributes:
        routes: All of its routes.
    """

    def __init__(self, studies: HostedStudies, *, authorise: Authorise, routes: Sequence[BaseRoute] = ()) -> None:
        self._studies = studies
        self._authorise = authorise
        self._serving = True
        study = f"{STUDIES}/{{study}}"
        own = [
            self._route(STUDIES, "CreateStudy", self._create, "POST"),
            self._route(STUDIES, "ListStudies", self._list),
            self._route(study, "GetStudy", self._get),
            self._route(f"{study}/trials", "ListTrials", self._trials),
            self._route(f"{study}/watch", "Watch", self._watch),
            self._route(f"{study}/rows", "ListTrials", self._rows),
            self._route(f"{study}/exchange", "Exchange", self._exchange_all, "POST"),
            self._route(f"{study}/ask", "Exchange", self._ask, "POST"),
            self._route(f"{study}/tell", "Exchange", self._tell, "POST"),
            self._route(f"{study}/fail", "Exchange", self._fail, "POST"),
            self._route(f"{study}/heartbeat", "Exchange", self._heartbeat, "POST"),
            self._route(f"{study}/control", "Control", self._control, "POST"),
            Route("/readyz", self._ready),
            self._route("/metrics", "Metrics", self._metrics),
            Route("/openapi.json", self._openapi),
        ]
        self.routes: Sequence[BaseRoute] = (*own, *routes)
        self._app = _by_raw_path(Starlette(routes=self.routes))
        self._server: Any = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int, tls: TlsFiles | None = None) -> int:
        """Begin to listen; return the port.

        Args:
            host: The address.
            port: The port; 0 takes a free one.
            tls: The files of TLS; None for a server without it.

        Raises:
            InvalidArgument: Nothing can listen there.
        """
        # asyncio turns Nagle's algorithm off only where the protocol is named; with it an answer takes 40 ms
        listening = socket.socket(
            socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP
        )
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except OSError as error:
            listening.close()
            raise InvalidArgument("address", f"{host}:{port}", f"an address that is free ({error.strerror})") from None
        files: dict[str, Any] = {}
        if tls is not None:
            files = {"ssl_certfile": tls.certificate, "ssl_keyfile": tls.key}
            if tls.client_ca is not None:
                files |= {"ssl_ca_certs": str(tls.client_ca), "ssl_cert_reqs": ssl.CERT_REQUIRED}
        config = uvicorn.Config(
            self._app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            **files,
        )
        self._server = UvicornServer(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[listening]))
        return int(listening.getsockname()[1])

    def drain(self) -> None:
        """Say that the server is not ready any more, and end the streams."""
        self._serving = False

    async def stop(self, grace: float) -> None:
        """Answer what has come in, then stop.

        Args:
            grace: Seconds after which requests that are not answered are given up.
        """
        self.drain()
        if self._server is not None and self._task is not None:
            self._server.config.timeout_graceful_shutdown = grace
            self._server.should_exit = True
            await self._task

    # --- how a request is answered ------------------------------------------------------------------------------

    def _route(self, path: str, call: str, answer: _Answer, method: str = "GET") -> Route:
        """Return a route whose requests are authorised, and whose errors are JSON.

        Args:
            path: The path.
            call: Name of the call, as over gRPC.
            answer: What answers it.
            method: The method.
        """

        async def serve(request: Request) -> Response:
            begin_request(request.headers.get(REQUEST))
            try:
                study = request.path_params.get("study")
                if study is not None:
                    request.path_params["study"] = study = decoded(study)
                # the study that is to be created is known later
                self._admit(request, "ListStudies" if call == "CreateStudy" else call, study)
                return await answer(request)
            except Exception as error:
                return error_response(error)

        return Route(path, serve, methods=[method])

    def _admit(self, request: Request, call: str, study: str | None) -> Token:
        """Return the token of a request whose call is allowed.

        Args:
            request: The request.
            call: Name of the call.
            study: The study that it is about; None if it is about none.
        """
        token = self._authorise(bearer(request.headers.get("authorization")), call, study)
        note_token(token.id)
        return token

    async def _exchange(self, study: str, commands: Sequence[Command], hold: float = 0.0) -> tuple[Reply, ...]:
        """Have commands decided.

        Args:
            study: The study's name.
            commands: The commands, as :func:`phyletic.service.door.admit` returned them.
            hold: Seconds for which an ask may be held.
        """
        host = self._studies.hosts.get(study)
        if host is None:
            host = await asyncio.to_thread(self._studies.host, study)
        return await asyncio.wrap_future(host.submit(commands, hold))

    # --- studies ------------------------------------------------------------------------------------------------

    async def _create(self, request: Request) -> Response:
        given = decode(await _body(request), NewStudy)
        self._admit(request, "CreateStudy", given.name)
        control = given.control()
        check(control)
        created = await asyncio.to_thread(self._studies.create, given.identity(), control, given.seed is None)
        audit("CreateStudy", created.name, {"uuid": created.identity.uuid})
        return _json(await asyncio.to_thread(self._document, created.name), 201)

    async def _list(self, request: Request) -> Response:
        only = self._admit(request, "ListStudies", None).study
        found = await asyncio.to_thread(self._studies.identities, only)
        return _json({"studies": found})

    async def _get(self, request: Request) -> Response:
        return _json(await asyncio.to_thread(self._document, request.path_params["study"]))

    def _document(self, name: str) -> StudyDocument:
        stored, study = self._studies.stored(name), self._studies.study(name)
        status = msgspec.to_builtins(study.status())
        return StudyDocument(
            identity=stored.identity,
            control=stored.control,
            sequence=stored.counters.sequence,
            checkpoints=study.checkpoints.address,
            status={key: value for key, value in status.items() if key not in ("logs", "storage")},
        )

    async def _trials(self, request: Request) -> Response:
        since, after = _number(request, "since", -1), _number(request, "after", -1)
        limit = _number(request, "limit", MOST_TRIALS)
        rows = await asyncio.to_thread(
            self._studies.rows,
            request.path_params["study"],
            since,
            after_trial=None if after < 0 else after,
            after_event=2**62,
            limit=max(1, limit),
        )
        trials = tuple(one.trial for one in rows.trials)
        following = trials[-1].number if rows.more and trials else None
        return _json(TrialPage(trials=trials, sequence=rows.study.counters.sequence, next=following))

    async def _watch(self, request: Request) -> Response:
        known = request.headers.get("last-event-id")
        since = _number(request, "since", -1) if known is None or not known.isdecimal() else int(known)
        study = await asyncio.to_thread(self._studies.study, request.path_params["study"])

        async def events() -> AsyncIterator[bytes]:
            async for changes in committed_changes(study, since, lambda: self._serving):
                # a change's id is known only once all of its write are sent
                for place, change in enumerate(changes):
                    last = place + 1 == len(changes) or changes[place + 1].sequence != change.sequence
                    id_line = b"id: %d\n" % change.sequence if last else b""
                    yield id_line + b"event: " + change.kind.encode() + b"\ndata: " + encode(change) + b"\n\n"
                if not changes:
                    yield b": nothing new\n\n"

        return StreamingResponse(events(), media_type="text/event-stream", headers={"cache-control": "no-store"})

    async def _rows(self, request: Request) -> Response:
        name = request.path_params["study"]
        after = {key: _number(request, key, -1) for key in ("after_trial", "after_event")}
        rows = await asyncio.to_thread(
            self._studies.rows,
            name,
            _number(request, "since", -1),
            after_trial=None if after["after_trial"] < 0 else after["after_trial"],
            after_event=None if after["after_event"] < 0 else after["after_event"],
        )
        return _json(RowsPage(rows, (await asyncio.to_thread(self._studies.study, name)).checkpoints.address))

    # --- sessions -----------------------------------------------------------------------------------------------

    async def _exchange_all(self, request: Request) -> Response:
        given = decode(await _body(request), ExchangeRequest)
        hold = _hold(given.wait_seconds)
        study = request.path_params["study"]
        reply = ExchangeReply(replies=await self._exchange(study, admit(given.commands), hold))
        if given.changes_since is not None:
            changes = self._studies.hosts[study].changes_since(given.changes_since)
            reply = msgspec.structs.replace(reply, changes=tuple(changes or ()), changes_missed=changes is None)
        return _json(reply)

    async def _ask(self, request: Request) -> Response:
        given = decode(await _body(request), AskRequest)
        hold = _hold(given.wait_seconds)
        study = await asyncio.to_thread(self._studies.study, request.path_params["study"])
        commands = admit(given.commands(study.identity.uuid))
        return _reply((await self._exchange(study.name, commands, hold))[-1])

    async def _tell(self, request: Request) -> Response:
        given = decode(await _body(request), TellRequest)
        study = await asyncio.to_thread(self._studies.study, request.path_params["study"])
        trial = await asyncio.to_thread(study.trial, given.lease.trial)
        return _reply((await self._exchange(study.name, admit([given.command(trial)])))[-1])

    async def _fail(self, request: Request) -> Response:
        command = decode(await _body(request), FailRequest).command()
        return _reply((await self._exchange(request.path_params["study"], admit([command])))[-1])

    async def _heartbeat(self, request: Request) -> Response:
        command = decode(await _body(request), HeartbeatRequest).command()
        return _reply((await self._exchange(request.path_params["study"], admit([command])))[-1])

    async def _control(self, request: Request) -> Response:
        given = decode(await _body(request), ControlRequest)
        commands: list[Command] = []
        settings = Control(
            budget=given.budget,
            population=given.population,
            paused=given.paused,
            max_failures=given.max_failures,
            max_losses=given.max_losses,
            keep_best=given.keep_best,
        )
        if settings != Control():
            commands.append(settings)
        commands += [Pin(trial=given.pin)] if given.pin is not None else []
        commands += [Pin(trial=given.unpin, keep=False)] if given.unpin is not None else []
        commands += [Enqueue(values=given.enqueue)] if given.enqueue is not None else []
        commands += [Stop(now=given.stop == "now")] if given.stop is not None else []
        for command in commands:
            check(command)
        for reply in await self._exchange(request.path_params["study"], commands):
            if isinstance(reply, Refused):
                audit("Control", request.path_params["study"], commands, reply.message)
                return _reply(reply)
        audit("Control", request.path_params["study"], commands)
        return _json(await asyncio.to_thread(self._document, request.path_params["study"]))

    # --- operations ---------------------------------------------------------------------------------------------

    async def _ready(self, request: Request) -> Response:
        reason = self._studies.unready if self._serving else "the server is stopping"
        return _json({"ready": not reason, "reason": reason}, 503 if reason else 200)

    async def _metrics(self, request: Request) -> Response:
        only = self._admit(request, "Metrics", None).study
        text = metrics_text(self._studies, only, ready=self._serving and not self._studies.unready)
        return Response(text, media_type="text/plain; version=0.0.4")

    async def _openapi(self, request: Request) -> Response:
        return _json(openapi_document())


def _by_raw_path(application: Any) -> Any:
    """Return an application that routes by the path as it was sent: in the name of a study, a ``/`` is encoded."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope = {**scope, "path": scope["raw_path"].decode("latin-1")}
        await application(scope, receive, send)

    return answer


async def _body(request: Request) -> bytes:
    """Return a request's body, or raise InvalidArgument if it is too long."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_MESSAGE:
            raise InvalidArgument("the request", f"more than {len(body)} bytes", f"at most {LARGEST_MESSAGE} bytes")
    return bytes(body)


def _hold(seconds: float) -> float:
    """Return for how long an ask may be held, or raise InvalidArgument."""
    if not 0 <= seconds <= LONGEST_HOLD:
        raise InvalidArgument("wait_seconds", seconds, f"a number from 0 to {LONGEST_HOLD:g}")
    return seconds


def _number(request: Request, name: str, default: int) -> int:
    """Return a whole number of a request's query.

    Args:
        request: The request.
        name: The number's name.
        default: If it is not given.
    """
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.removeprefix("-").isdecimal() or len(text) > 15 or not text.isascii():
        raise InvalidArgument(name, text, "a whole number")
    return int(text)


def _json(document: object, status: int = 200) -> Response:
    return Response(encode(document), status_code=status, media_type="application/json")


def _reply(reply: Reply) -> Response:
    return error_response(reply.exception()) if isinstance(reply, Refused) else _json(reply)
