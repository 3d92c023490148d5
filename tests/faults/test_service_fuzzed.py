"""Any bytes on any call over gRPC get a typed refusal, never an internal error, and nothing is written.

With those over HTTP (``test_http_fuzzed.py``), the suite makes about 10,000 requests. For a million, some tens of
minutes::

    PHYLETIC_FUZZ_ROUNDS=50000 python -m pytest tests/faults/test_service_fuzzed.py tests/faults/test_http_fuzzed.py
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("grpc")
pytest.importorskip("starlette")

import grpc
from fuzzing import ROUNDS, Target, mutated, odd_message, printable

from phyletic.coordinator.messages import Ask, Fail, Heartbeat, Join, Tell
from phyletic.records import Evaluation
from phyletic.remote.connections import connection_to
from phyletic.remote.grpc_connection import REFUSED, SERVICE
from phyletic.remote.v1 import phyletic_v1_pb2 as pb
from phyletic.remote.wire import command_to_message, to_message
from phyletic.service.server import serving

TYPED = {"INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED"}
WRITING = ("CreateStudy", "Exchange", "Control")


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    storage = f"sqlite:///{tmp_path}/study.db"
    with serving(storage, http_port=0) as server, contextlib.closing(Target(server)) as made:
        yield made


def requests(target: Target) -> dict[str, list[Any]]:
    """Return good requests of every call."""
    identity = to_message(target.identity, pb.StudyIdentity)
    lease = target.grant.lease
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
        "Watch": [pb.WatchRequest(study="study", since=-1)],
        "Suggest": [pb.SuggestRequest(study=definition, trials=[pb.NamedValues(entries=born)], k=2)],
        "EarlyStop": [pb.EarlyStopRequest(study=definition, trials=[pb.NamedValues(entries=born)])],
    }


@pytest.mark.parametrize("call", list(SERVICE.methods_by_name))
def test_almost_good_requests_get_a_typed_refusal(target: Target, call: str) -> None:
    chance, good, refused = random.Random(call), requests(target)[call], 0
    # a stream that has nothing to say is waited for
    for _ in range(ROUNDS // 4 if call == "Watch" else ROUNDS):
        one = chance.choice(good)
        raw = odd_message(one, chance) if chance.random() < 0.5 else mutated(one.SerializeToString(), chance)
        error = target.call(call, raw, target.header)
        if error is not None:
            refused += 1
            assert error.code().name in TYPED, (raw, error.details())
            assert REFUSED in dict(error.trailing_metadata()), (raw, error.details())
            assert "Traceback" not in error.details()
        target.check((call, raw), refused=error is not None or call not in WRITING)
    assert refused or call in ("Hello", "ListStudies")


def test_bytes_without_a_token_get_the_same_answer_whatever_they_are(target: Target) -> None:
    chance, good = random.Random(1), requests(target)
    secret = target.header.removeprefix("Bearer ")
    wrong = [None, "", "Bearer", "Bearer phyletic_0", f"Basic {secret}", target.header[:-1]]
    details = set()
    for place in range(ROUNDS):
        call = chance.choice(list(good))
        raw = mutated(chance.choice(good[call]).SerializeToString(), chance)
        header = chance.choice(wrong) if place % 3 else f"Bearer {printable(mutated(secret.encode(), chance))}"
        if header == target.header:
            continue
        error = target.call(call, raw, header)
        assert error is not None, (call, raw, header)
        assert error.code().name == "UNAUTHENTICATED", (call, raw, header, error.details())
        details.add(error.details())
        target.check((call, raw, header), refused=True, every=50)
    assert len(details) == 3, "no token, another form, an unknown token"
    assert not any(secret in text for text in details)


def test_a_message_that_is_too_large_is_refused(target: Target) -> None:
    error = target.call("GetStudy", pb.GetStudyRequest(study="x" * (5 << 20)).SerializeToString(), target.header)
    assert error is not None
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_odd_names_of_studies_are_not_found(target: Target) -> None:
    for name in ("../../etc/passwd", "..", "%2e%2e%2f", "\x00", "a\nb", "x" * 5000, "\u202e", ""):
        assert connection_to(target.server.url).study(name) is None
