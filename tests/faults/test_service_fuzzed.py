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
from urllib.parse import quote

import pytest

pytest.importorskip("grpc")
pytest.importorskip("starlette")

import grpc
from fuzzing import ROUNDS, SESSION, Target, mutated, odd_message, printable

import phyletic as ph
from phyletic.coordinator.messages import Ask, Fail, Heartbeat, Join, Tell
from phyletic.records import Evaluation
from phyletic.remote.connections import connection_to
from phyletic.remote.grpc_connection import REFUSED, SERVICE
from phyletic.remote.v1 import phyletic_v1_pb2 as pb
from phyletic.remote.wire import command_to_message, put_values, to_message
from phyletic.service.server import serving
from phyletic.testing.example import example_study

TYPED = {"INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED"}
_MOST_HOSTED = 300
"""Studies in use at the same time: each has a thread of the server."""
WRITING = ("CreateStudy", "Exchange", "Control")


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    storage = f"sqlite:///{tmp_path}/study.db"
    with serving(storage, http_port=0) as server, contextlib.closing(Target(server)) as made:
        yield made


SPACE = {
    "lr": ph.Float(1e-3, 1e-1, log=True, limits=(1e-4, 1.0)),
    "units": ph.Int(1, 100, log=True),
    "group": {"size": ph.Ordinal([1, 2, 4])},
    "optimizer": ph.Choice({"sgd": {"momentum": ph.Float(0.0, 1.0)}, "adam": {}}),
    "seven": 7,
}
STUDIES: list[tuple[Any, Any]] = [
    ({"lr": ph.Float(1e-3, 1e-1, log=True), "width": ph.Choice([2, 3], fixed=True)}, ph.PBT(5, 2, synchronous=True)),
    (
        SPACE,
        ph.PBT(
            4, 2, exploit=ph.TTest(), explore=[ph.Gaussian(), ph.Resample()], synchronous=True,
            early_stopping=[ph.MedianStopping(), ph.NonFiniteStopping()], save_every=1,
        ),
    ),
    (SPACE, ph.PBT(4, interval_seconds=5.0, exploit=ph.BinaryTournament(), gate=ph.NoiseGate())),
    (SPACE, ph.GridSearch(2, points={"lr": 2})),
    ({"lr": ph.Float(0.0, 1.0)}, ph.RandomSearch(5, 2)),
    ({"lr": ph.Float(0.0, 1.0)}, ph.ExploreOnly(5, 2)),
]  # fmt: skip


def described() -> list[tuple[pb.StudyIdentity, list[pb.NamedValues]]]:
    """Return studies as messages, each with a trial of each of its first members."""
    found = []
    for place, (space, algorithm) in enumerate(STUDIES):
        study = example_study(space=space, algorithm=algorithm, name=f"study {place}")
        known = []
        for number in range(algorithm.population_size(study.space)):
            trial = study.ask(f"w{number}")
            reports = [{"step": step, "metric": "score", "value": step / 3} for step in (1, 2)]
            told = {"number": number, "member": number, "hyperparameters": trial.record.hyperparameters, "end_step": 2}
            known.append(pb.NamedValues())
            put_values({**told, "score": float(number), "evaluations": reports}, known[-1].entries)
        found.append((to_message(study.identity, pb.StudyIdentity), known))
    return found


def requests(target: Target) -> dict[str, list[Any]]:
    """Return good requests of every call."""
    lease = target.grant.lease
    commands = [
        Join(session="b" * 32, worker="v"),
        Ask(session="b" * 32, in_memory=frozenset({1, 2})),
        Heartbeat(lease=lease, step=1, evaluations=(Evaluation(1, "score", 0.5),)),
        Fail(lease=lease, error="x"),
        Tell(lease=lease, evaluations=(Evaluation(2, "score", 0.5),), steps_done=2, applied={"lr": 0.1}),
    ]
    studies = described()
    definitions = [
        (pb.StudyDefinition(space=one.space, metric="score", mode="max", algorithm=one.algorithm, steps=8), known)
        for one, known in studies
    ]
    return {
        "Hello": [pb.HelloRequest(version="1")],
        "CreateStudy": [pb.CreateStudyRequest(identity=one, control=pb.Control(population=5)) for one, _ in studies],
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
        "Suggest": [pb.SuggestRequest(study=one, trials=known, k=7, seed=1) for one, known in definitions],
        "EarlyStop": [pb.EarlyStopRequest(study=one, trials=known) for one, known in definitions],
    }


def test_good_requests_are_answered(target: Target) -> None:
    """Else those that are almost good would be refused for the same reason always."""
    for call, good in requests(target).items():
        for one in good:
            error = target.call(call, one.SerializeToString(), target.header)
            assert error is None, (call, one, error.details())


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
            check_refusal(error, raw)
        target.check((call, raw), refused=error is not None or call not in WRITING)
    assert refused or call in ("Hello", "ListStudies")


def check_refusal(error: grpc.RpcError, request: Any) -> None:
    """Check that a call ended with an error that phyletic knows."""
    assert error.code().name in TYPED, (request, error.details())
    assert REFUSED in dict(error.trailing_metadata()), (request, error.details())
    assert "Traceback" not in error.details()


def test_an_odd_study_that_is_made_can_be_used(target: Target) -> None:
    """What is refused at all is refused when the study is made, and not as an error while it runs."""
    chance, good, made = random.Random(6), requests(target)["CreateStudy"], 0
    for number in range(ROUNDS):
        name = f"odd {number}"
        request = pb.CreateStudyRequest.FromString(odd_message(chance.choice(good), chance))
        request.identity.name = name
        error = target.call("CreateStudy", request.SerializeToString(), target.header)
        if error is not None:
            check_refusal(error, request)
            continue
        made += 1
        if made > _MOST_HOSTED:
            continue
        commands = [command_to_message(one) for one in (Join(session=SESSION, worker="w"), Ask(session=SESSION))]
        for call, following in {
            "GetStudy": pb.GetStudyRequest(study=name),
            "Exchange": pb.ExchangeRequest(study=name, commands=commands),
            "ListTrials": pb.ListTrialsRequest(study=name, since=-1),
        }.items():
            error = target.call(call, following.SerializeToString(), target.header)
            assert error is None, (request, call, error.details())
        target.ask("GET", f"/v1/studies/{quote(name)}", None, {"Authorization": target.header}, {200})
    assert made > ROUNDS // 20


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
