"""Every call of a server, over the wire, for every kind of token: refused exactly if the table of roles says so."""

from __future__ import annotations

import http.client
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("grpc")
pytest.importorskip("starlette")

import grpc

from phyletic.coordinator.messages import Ask, Granted, Join
from phyletic.remote.connections import connection_to
from phyletic.remote.grpc_connection import REFUSED, SERVICE, TOKEN
from phyletic.remote.v1 import phyletic_v1_pb2 as pb
from phyletic.remote.wire import to_message
from phyletic.service.hosted_studies import HostedStudies
from phyletic.service.http_server import HttpServer
from phyletic.service.logs import JsonLines
from phyletic.service.openapi import openapi_document
from phyletic.service.roles import CALLS, Role
from phyletic.service.server import Server, serving
from phyletic.service.stored_checkpoints import checkpoint_routes
from phyletic.service.tokens import Tokens
from phyletic.testing.example import example_study

STUDY, OTHER = "served", "hidden"
SESSION = "a" * 32
LEASE = {"trial": 0, "fence": 1, "token": "t", "session": SESSION}


@dataclass(frozen=True)
class Caller:
    """Who calls.

    Attributes:
        header: The Authorization header; None for none.
        role: The role of the token; None if the server must not know the caller.
        study: The only study of the token.
    """

    header: str | None
    role: Role | None = None
    study: str | None = None

    def may(self, call: str) -> bool:
        """Whether the table of roles allows a call about STUDY."""
        rule = CALLS[call]
        return (
            self.role is not None
            and self.role.covers(rule.role)
            and (self.study in (None, STUDY) or not rule.names_a_study)
        )


class Lines(logging.Handler):
    """Keeps all that is logged, as the server writes it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines += [JsonLines().format(record), repr(record.__dict__)]


@dataclass
class Served:
    """A server with two studies.

    Attributes:
        server: The server.
        callers: Who calls, by a name.
        secrets: The texts of all tokens.
        checkpoint: The id of a running attempt's checkpoint.
        requests: A good request of each gRPC call.
        log: What was logged.
    """

    server: Server
    callers: dict[str, Caller]
    secrets: list[str]
    checkpoint: str
    requests: dict[str, Any]
    log: Lines


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    log, root = Lines(), logging.getLogger("phyletic")
    before = root.level
    root.addHandler(log)
    root.setLevel(logging.DEBUG)
    try:
        with serving(f"sqlite:///{folder}/study.db", http_port=0) as server:
            study = example_study(server.url, name=STUDY)
            example_study(server.url, name=OTHER)
            commands = [Join(session=SESSION, worker="w"), Ask(session=SESSION)]
            granted = connection_to(server.url).exchange(STUDY, commands)[-1]
            assert isinstance(granted, Granted)
            callers, secrets = _callers(Tokens(folder / "study.tokens"))
            secrets.append(server.token_file.read_text().strip())
            yield Served(server, callers, secrets, granted.first.checkpoint, _requests(study.identity), log)
    finally:
        root.removeHandler(log)
        root.setLevel(before)


def _callers(tokens: Tokens) -> tuple[dict[str, Caller], list[str]]:
    """Return who calls, and the texts of their tokens."""
    now, texts = time.time(), []

    def made(role: Role, **more: Any) -> str:
        _, text = tokens.create(role, now=now, **more)
        texts.append(text)
        return text

    revoked = made(Role.ADMIN)
    tokens.revoke(revoked.split("_")[1])
    wrong = made(Role.ADMIN)
    wrong = wrong[:-1] + ("A" if wrong[-1] != "A" else "B")
    texts += [unknown := f"phyletic_{'0' * 16}_{'S' * 43}", wrong]
    admin = made(Role.ADMIN)
    callers = {
        "no token": Caller(None),
        "empty header": Caller(""),
        "no text": Caller("Bearer"),
        "another kind": Caller(f"Basic {admin}"),
        "token alone": Caller(admin),
        "two tokens": Caller(f"Bearer {admin} {admin}"),
        "unknown": Caller(f"Bearer {unknown}"),
        "wrong secret": Caller(f"Bearer {wrong}"),
        "revoked": Caller(f"Bearer {revoked}"),
        "expired": Caller(f"Bearer {made(Role.ADMIN, lasting=1e-9)}"),
    }
    for role in Role:
        callers[role] = Caller(f"Bearer {made(role)}", role)
        callers[f"{role} of it"] = Caller(f"bearer  {made(role, study=STUDY)}", role, STUDY)
        callers[f"{role} of another"] = Caller(f"Bearer {made(role, study=OTHER)}", role, OTHER)
    return callers, texts


# --- over gRPC ---


def _requests(identity: Any) -> dict[str, Any]:
    """Return a good request of each call."""
    made = to_message(identity, pb.StudyIdentity)
    definition = pb.StudyDefinition(space=made.space, metric="score", mode="max", algorithm=made.algorithm)
    return {
        "Hello": pb.HelloRequest(),
        "CreateStudy": pb.CreateStudyRequest(identity=made),
        "GetStudy": pb.GetStudyRequest(study=STUDY),
        "ListStudies": pb.ListStudiesRequest(),
        "Exchange": pb.ExchangeRequest(study=STUDY),
        "Control": pb.ControlRequest(study=STUDY, command=pb.Command(control=pb.Control(keep_best=3))),
        "ListTrials": pb.ListTrialsRequest(study=STUDY),
        "Watch": pb.WatchRequest(study=STUDY, since=-1),
        "Suggest": pb.SuggestRequest(study=definition),
        "EarlyStop": pb.EarlyStopRequest(study=definition),
    }


def called(served: Served, name: str, raw: bytes, header: str | None) -> grpc.RpcError | None:
    """Make a call; return the error with which it ends, or None if it gives an answer."""
    method = SERVICE.methods_by_name[name]
    metadata = [] if header is None else [(TOKEN, header)]
    with grpc.insecure_channel(served.server.url.removeprefix("grpc://")) as channel:
        make = channel.unary_stream if method.server_streaming else channel.unary_unary
        try:
            reply = make(f"/{SERVICE.full_name}/{name}")(raw, timeout=20, metadata=metadata)
            if method.server_streaming:
                next(reply)
                reply.cancel()
        except grpc.RpcError as error:
            return error
    return None


@pytest.mark.parametrize("name", list(SERVICE.methods_by_name))
def test_each_call_of_grpc_takes_the_tokens_of_the_table_and_no_others(served: Served, name: str) -> None:
    raw = served.requests[name].SerializeToString()
    found, expected = {}, {}
    for who, caller in served.callers.items():
        error = called(served, name, raw, caller.header)
        found[who] = None if error is None else error.code().name
        expected[who] = None if caller.may(name) else "UNAUTHENTICATED" if caller.role is None else "PERMISSION_DENIED"
        if error is not None:
            refused = pb.Refused.FromString(dict(error.trailing_metadata())[REFUSED])
            assert refused.error == ("NotAuthenticated" if caller.role is None else "NotAllowed")
            assert not any(secret in f"{error}{refused}" for secret in served.secrets)
            assert OTHER not in refused.message or caller.study == OTHER
    assert found == expected


@pytest.mark.parametrize("name", list(SERVICE.methods_by_name))
def test_who_has_no_token_learns_nothing_of_what_was_sent(served: Served, name: str) -> None:
    """A stranger's bytes are not even read: good and bad ones get the same answer."""
    for raw in (served.requests[name].SerializeToString(), b"\xff" * 50, b"\x0a\x05no", b""):
        error = called(served, name, raw, None)
        assert error is not None
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED


# --- over HTTP ---


def body(call: str) -> Callable[[Served], bytes]:
    """Return what gives the body of a POST."""
    bodies: dict[str, Any] = {
        "ask": {"worker": "w", "session": SESSION},
        "tell": {"lease": LEASE, "metrics": {"score": 1}},
        "fail": {"lease": LEASE, "error": "x"},
        "heartbeat": {"lease": LEASE},
        "exchange": {"commands": []},
        "control": {"keep_best": 3},
        "create": {
            "name": STUDY,
            "space": {"lr": {"type": "float", "low": 0, "high": 1}},
            "metrics": [{"name": "score", "mode": "max"}],
            "algorithm": {"type": "PBT", "population": 4, "interval": 5},
        },
    }
    return lambda served: json.dumps(bodies[call]).encode()


def nothing(served: Served) -> None:
    return None


HOME = "/v1/studies/{study}"
REQUESTS: list[tuple[str, str, str, Callable[[Served], bytes | None]]] = [
    ("POST", "/v1/studies", "CreateStudy", body("create")),
    ("GET", "/v1/studies", "ListStudies", nothing),
    ("GET", HOME, "GetStudy", nothing),
    ("GET", f"{HOME}/trials", "ListTrials", nothing),
    ("GET", f"{HOME}/rows", "ListTrials", nothing),
    ("GET", f"{HOME}/watch", "Watch", nothing),
    ("POST", f"{HOME}/exchange", "Exchange", body("exchange")),
    ("POST", f"{HOME}/ask", "Exchange", body("ask")),
    ("POST", f"{HOME}/tell", "Exchange", body("tell")),
    ("POST", f"{HOME}/fail", "Exchange", body("fail")),
    ("POST", f"{HOME}/heartbeat", "Exchange", body("heartbeat")),
    ("POST", f"{HOME}/control", "Control", body("control")),
    ("GET", "/metrics", "Metrics", nothing),
    ("GET", f"{HOME}/checkpoints/", "ListCheckpoints", nothing),
    ("GET", f"{HOME}/checkpoints/{{id}}", "GetCheckpoint", nothing),
    ("HEAD", f"{HOME}/checkpoints/{{id}}", "GetCheckpoint", nothing),
    ("PUT", f"{HOME}/checkpoints/{{id}}", "PutCheckpoint", lambda served: b"x"),
    ("POST", f"{HOME}/checkpoints/{{id}}", "PutCheckpoint", nothing),
    ("DELETE", f"{HOME}/checkpoints/{{id}}", "DiscardCheckpoint", nothing),
]
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")


@dataclass
class Answer:
    """An answer; of a stream, its head alone."""

    status: int
    headers: Any
    content: bytes


def asked(served: Served, method: str, path: str, header: str | None, content: bytes | None = None) -> Answer:
    """Make a request."""
    client = http.client.HTTPConnection(served.server.http_url.removeprefix("http://"), timeout=20)
    headers = {} if header is None else {"Authorization": header}
    try:
        client.request(method, path, content, headers)
        answer = client.getresponse()
        stream = answer.headers.get("content-type", "").startswith("text/event-stream")
        return Answer(answer.status, answer.headers, b"" if stream else answer.read())
    finally:
        client.close()


@pytest.mark.parametrize(
    ("method", "path", "call", "content"), REQUESTS, ids=[f"{one[0]} {one[1]}" for one in REQUESTS]
)
def test_each_call_of_http_takes_the_tokens_of_the_table_and_no_others(
    served: Served, method: str, path: str, call: str, content: Callable[[Served], bytes | None]
) -> None:
    found, expected = {}, {}
    for who, caller in served.callers.items():
        url = path.format(study=STUDY, id=served.checkpoint)
        answer = asked(served, method, url, caller.header, content(served))
        found[who] = answer.status if answer.status in (401, 403) else "served"
        expected[who] = "served" if caller.may(call) else 401 if caller.role is None else 403
        assert answer.status < 500, answer
        if answer.status in (401, 403):
            named = "NotAuthenticated" if answer.status == 401 else "NotAllowed"
            assert answer.headers["Phyletic-Error"] == named
            assert method == "HEAD" or json.loads(answer.content)["error"] == named
            assert (answer.headers["WWW-Authenticate"] == "Bearer") == (answer.status == 401)
            assert not any(secret.encode() in answer.content for secret in served.secrets)
            assert OTHER.encode() not in answer.content or caller.study == OTHER
    assert found == expected


def test_a_study_to_create_is_named_by_the_body_and_judged_by_it(served: Served) -> None:
    """A token for one study makes no other, whatever else the request says."""
    caller = served.callers["admin of it"]
    wanted = json.loads(body("create")(served))
    for name in (OTHER, "new", f"{STUDY} ", STUDY.upper()):
        content = json.dumps({**wanted, "name": name}).encode()
        assert asked(served, "POST", "/v1/studies", caller.header, content).status == 403
        made = pb.CreateStudyRequest.FromString(served.requests["CreateStudy"].SerializeToString())
        made.identity.name = name
        error = called(served, "CreateStudy", made.SerializeToString(), caller.header)
        assert error is not None
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    admin = served.callers["admin"]
    assert [one["name"] for one in listed(served, admin)] == [STUDY, OTHER]


# --- the table is complete ---


def test_every_call_of_both_protocols_is_in_the_table(served: Served, tmp_path: Path) -> None:
    """A call that is new fails here until it is in the table of roles, and in the requests above."""
    assert set(SERVICE.methods_by_name) <= set(CALLS)
    assert set(SERVICE.methods_by_name) == set(served.requests)
    studies = HostedStudies(f"sqlite:///{tmp_path}/study.db")
    try:
        routes = checkpoint_routes(studies.database, Tokens(tmp_path / "tokens"), now=time.time())
        http_server = HttpServer(studies, authorise=lambda token, call, study: None, routes=routes)
        served_routes = {(method, route.path) for route in http_server.routes for method in route.methods or ()}
    finally:
        studies.close()
    checkpoints = "/v1/studies/{study:path}/checkpoints/{path:path}"
    tested = {(method, checkpoints if "/checkpoints/" in path else path) for method, path, _, _ in REQUESTS}
    # what a server answers to GET it answers to HEAD, by the same code
    tested |= {("HEAD", path) for method, path in tested if method == "GET"}
    unguarded = {(method, path) for path in ("/readyz", "/openapi.json") for method in ("GET", "HEAD")}
    assert served_routes == tested | unguarded
    assert {call for _, _, call, _ in REQUESTS} <= set(CALLS)
    described = {(method.upper(), path) for path, item in openapi_document()["paths"].items() for method in item}
    assert {(method, path.format(study="{study}", id="{path}")) for method, path, call, _ in REQUESTS} >= {
        (method, path) for method, path in described if method != "PARAMETERS"
    }


@pytest.mark.parametrize("path", sorted({path for _, path, _, _ in REQUESTS} | {"/v1", "/v1/studies/", "/docs", "/"}))
def test_no_method_of_any_path_answers_a_stranger(served: Served, path: str) -> None:
    for method in METHODS:
        answer = asked(served, method, path.format(study=STUDY, id=served.checkpoint), None, b"{}")
        assert answer.status in (307, 401, 404, 405), (method, answer)
        assert STUDY.encode() not in answer.content
        assert OTHER.encode() not in answer.content


# --- what needs no token, and what tokens of one study see ---


def test_what_needs_no_token_tells_nothing_of_studies(served: Served) -> None:
    names = [text.encode() for text in (STUDY, OTHER, str(served.server.token_file.parent))]
    for path in ("/readyz", "/openapi.json"):
        answer = asked(served, "GET", path, None)
        assert answer.status == 200
        assert not any(name in answer.content for name in names)
    with grpc.insecure_channel(served.server.url.removeprefix("grpc://")) as channel:
        assert channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=20) == b"\x08\x01"
        watching = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=20)
        assert next(watching) == b"\x08\x01"
        watching.cancel()


def listed(served: Served, caller: Caller) -> list[Any]:
    return list(json.loads(asked(served, "GET", "/v1/studies", caller.header).content)["studies"])


@pytest.mark.parametrize("role", list(Role))
def test_a_token_of_one_study_sees_that_study_only(served: Served, role: Role) -> None:
    for name in (STUDY, OTHER):
        caller = served.callers[f"{role} of it" if name == STUDY else f"{role} of another"]
        assert [one["name"] for one in listed(served, caller)] == [name]
        figures = asked(served, "GET", "/metrics", caller.header).content.decode()
        hidden = OTHER if name == STUDY else STUDY
        assert hidden not in figures
        assert "phyletic_ready 1" in figures
        with grpc.insecure_channel(served.server.url.removeprefix("grpc://")) as channel:
            call = channel.unary_unary(f"/{SERVICE.full_name}/ListStudies")
            raw = call(b"", timeout=20, metadata=[(TOKEN, caller.header)])
        assert [one.name for one in pb.ListStudiesReply.FromString(raw).studies] == [name]
    everything = asked(served, "GET", "/metrics", served.callers[role].header).content.decode()
    assert f'study="{STUDY}"' in everything


def test_whether_another_study_exists_stays_unknown(served: Served) -> None:
    caller = served.callers["admin of it"]
    answers = {asked(served, "GET", f"/v1/studies/{name}", caller.header).content for name in (OTHER, "none")}
    assert len(answers) == 1


def test_no_log_has_a_token(served: Served) -> None:
    """Check after the calls of this file: here one of each kind is made again, so that the test stands alone."""
    for caller in served.callers.values():
        called(served, "Hello", b"\xff", caller.header)
        called(served, "CreateStudy", served.requests["CreateStudy"].SerializeToString(), caller.header)
        asked(served, "POST", f"/v1/studies/{STUDY}/control", caller.header, b'{"keep_best": 2}')
        asked(served, "GET", f"/v1/studies/{STUDY}/checkpoints/", caller.header)
    assert any("Control of study" in line for line in served.log.lines)
    logged = "\n".join(served.log.lines)
    for secret in served.secrets:
        assert secret.split("_", 2)[2] not in logged
