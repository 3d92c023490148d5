"""Any bytes on any call of a server get a typed refusal, never an internal error, and nothing is written."""

from __future__ import annotations

import http.client
import os
import random
from typing import Any

import pytest

pytest.importorskip("grpc")

import grpc

from phyletic.coordinator.messages import Ask, Fail, Granted, Heartbeat, Join, Tell
from phyletic.records import Evaluation
from phyletic.remote.connections import connection_to
from phyletic.remote.grpc_connection import REFUSED, SERVICE, TOKEN
from phyletic.remote.v1 import phyletic_v1_pb2 as pb
from phyletic.remote.wire import command_to_message, to_message
from phyletic.service.server import Server, serving
from phyletic.testing.example import example_study

SESSION = "a" * 32
TYPED = {"INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED"}
CALLS = [name for name, method in SERVICE.methods_by_name.items() if not method.server_streaming]
ROUNDS = int(os.environ.get("PHYLETIC_FUZZ_ROUNDS", "100"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("served")
    with serving(f"sqlite:///{folder}/study.db", http_port=0) as server:
        yield server


def requests(server: Server) -> dict[str, list[Any]]:
    """Return good requests of every call."""
    study = example_study(server.url)
    identity = to_message(study.identity, pb.StudyIdentity)
    connection = connection_to(server.url)
    granted = connection.exchange("study", [Join(session=SESSION, worker="w"), Ask(session=SESSION)])[-1]
    assert isinstance(granted, Granted)
    lease = granted.first.lease
    commands = [
        Join(session="b" * 32, worker="v"),
        Ask(session="b" * 32, in_memory=frozenset({1, 2})),
        Heartbeat(lease=lease, step=1, evaluations=(Evaluation(1, "score", 0.5),)),
        Fail(lease=lease, error="x"),
        Tell(lease=lease, evaluations=(Evaluation(2, "score", 0.5),), steps_done=2, applied={"lr": 0.1}),
    ]
    definition = pb.StudyDefinition(space=identity.space, metric="score", mode="max", algorithm=identity.algorithm)
    born = [pb.NamedValue(name="number", value=pb.Value(integer=0)), pb.NamedValue(name="member", value=pb.Value())]
    return {
        "Hello": [pb.HelloRequest(version="1")],
        "CreateStudy": [pb.CreateStudyRequest(identity=identity, control=pb.Control(population=5))],
        "GetStudy": [pb.GetStudyRequest(study="study")],
        "ListStudies": [pb.ListStudiesRequest()],
        "Exchange": [
            pb.ExchangeRequest(study="study", commands=[command_to_message(one) for one in commands[:count]])
            for count in range(1, 6)
        ],
        "Control": [
            pb.ControlRequest(study="study", command=pb.Command(control=pb.Control(population=3))),
            pb.ControlRequest(study="study", command=pb.Command(pin=pb.Pin(trial=3, keep=True))),
            pb.ControlRequest(
                study="study",
                command=pb.Command(
                    enqueue=pb.Enqueue(values=[pb.NamedValue(name="lr", value=pb.Value(number=float("nan")))])
                ),
            ),
        ],
        "ListTrials": [pb.ListTrialsRequest(study="study", since=-1, after_trial=2, limit=3)],
        "Suggest": [pb.SuggestRequest(study=definition, trials=[pb.NamedValues(entries=born)], k=2)],
        "EarlyStop": [pb.EarlyStopRequest(study=definition, trials=[pb.NamedValues(entries=born)])],
    }


def written(server: Server) -> list[Any]:
    """Return what shows that something was written: the studies and their sequence numbers."""
    connection = connection_to(server.url)
    found = [connection.study(identity.name) for identity in connection.studies()]
    return [one and (one.stored.identity.uuid, one.stored.counters.sequence) for one in found]


def shown(server: Server) -> str:
    """Return the header by which the server knows its own user."""
    return f"Bearer {server.token_file.read_text().strip()}"


def refusal(method: Any, raw: bytes, token: str) -> Any:
    """Return the error with which a call ends; None if it ends well.

    Args:
        method: Makes the call.
        raw: Its bytes.
        token: What the call carries.
    """
    try:
        method(raw, timeout=10, metadata=[(TOKEN, token)])
    except grpc.RpcError as error:
        return error
    return None


def mutated(raw: bytes, chance: random.Random) -> bytes:
    """Return bytes that are almost, or not at all, a request."""
    body = bytearray(raw)
    for _ in range(chance.choice([1, 1, 1, 2, 5])):
        match chance.randrange(5):
            case 0 if body:
                body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
            case 1 if body:
                body[chance.randrange(len(body))] = chance.randrange(256)
            case 2 if body:
                del body[chance.randrange(len(body)) :]
            case 3:
                body[chance.randint(0, len(body)) : 0] = chance.randbytes(chance.randrange(6))
            case _:
                body += body[: chance.randrange(20)]
    return bytes(body)


@pytest.mark.parametrize("call", CALLS)
def test_almost_good_bytes_get_a_typed_refusal(server: Server, call: str) -> None:
    chance = random.Random(call)
    good = [request.SerializeToString() for request in requests(server)[call]]
    refused = 0
    with grpc.insecure_channel(server.url.removeprefix("grpc://")) as channel:
        method = channel.unary_unary(f"/{SERVICE.full_name}/{call}")
        for _ in range(ROUNDS):
            raw, before = mutated(chance.choice(good), chance), written(server)
            error = refusal(method, raw, shown(server))
            if error is not None:
                refused += 1
                assert error.code().name in TYPED, (raw, error.details())
                assert REFUSED in dict(error.trailing_metadata()), (raw, error.details())
                assert "Traceback" not in error.details()
                assert written(server) == before, (raw, error.details())
    assert refused or call in ("Hello", "ListStudies")


def test_a_message_that_is_too_large_is_refused(server: Server) -> None:
    with grpc.insecure_channel(server.url.removeprefix("grpc://")) as channel:
        method = channel.unary_unary(f"/{SERVICE.full_name}/GetStudy")
        with pytest.raises(grpc.RpcError) as refused:
            method(pb.GetStudyRequest(study="x" * (5 << 20)).SerializeToString(), timeout=10)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


PATHS = ["", "/study/ask", "/study/tell", "/study/fail", "/study/heartbeat", "/study/control"]
BODIES = [
    b'{"name": "n", "space": {"lr": {"type": "float", "low": 0, "high": 1}}, "metrics": [{"name": "s", '
    b'"mode": "max"}], '
    b'"algorithm": {"type": "PBT", "population": 4, "interval": 5}}',
    b'{"worker": "w", "slots": 2, "wait_seconds": 0, "in_memory": [1, 2]}',
    b'{"lease": {"trial": 0, "fence": 1, "token": "t", "session": "%s"}, "metrics": {"score": 1}}' % SESSION.encode(),
    b'{"lease": {"trial": 0, "fence": 1, "token": "t", "session": "%s"}, "error": "x"}' % SESSION.encode(),
    b'{"budget": {"steps": 3}, "pin": 1, "enqueue": {"lr": 0.1}, "stop": "now"}',
]


def test_almost_good_json_gets_a_typed_refusal(server: Server) -> None:
    chance = random.Random(0)
    host = server.http_url.removeprefix("http://")
    example_study(server.url)
    seen = set()
    client = http.client.HTTPConnection(host, timeout=10)
    for _ in range(5 * ROUNDS):
        path, raw = chance.choice(PATHS), mutated(chance.choice(BODIES), chance)
        client.request("POST", f"/v1/studies{path}", body=raw, headers={"Authorization": shown(server)})
        answer = client.getresponse()
        text = answer.read()
        seen.add(answer.status)
        assert answer.status in (200, 201, 400, 404, 409), (path, raw, text)
        if answer.status >= 400:
            assert text.startswith(b'{"error":"'), text
    assert 400 in seen


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", "%2e%2e%2f", "\x00", "a\nb", "x" * 5000, "\u202e", ""])
def test_odd_names_of_studies_are_not_found(server: Server, name: str) -> None:
    assert connection_to(server.url).study(name) is None
