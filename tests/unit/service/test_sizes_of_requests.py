"""A few bytes cannot take all of a server's memory or time: what they would make large is limited."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("grpc")
pytest.importorskip("starlette")
pytest.importorskip("httpx")

import grpc
import httpx

import phyletic as ph
from phyletic.evolution.codec import algorithm_to_json
from phyletic.records import Metric, StudyIdentity
from phyletic.remote.grpc_connection import REFUSED, SERVICE, TOKEN
from phyletic.remote.v1 import phyletic_v1_pb2 as pb
from phyletic.remote.wire import put_values, to_message
from phyletic.service.server import Server, serving
from phyletic.testing.example import example_study

SPACE = ph.Space({"lr": ph.Float(1e-3, 1e-1), "momentum": ph.Float(0.0, 1.0), "units": ph.Int(1, 2**50)})
HUGE = 2**40
ALGORITHMS = {
    "population": ph.PBT(HUGE, 5),
    "a synchronous population": ph.PBT(HUGE, 5, synchronous=True),
    "random search": ph.RandomSearch(HUGE, 5),
    "points of a grid": ph.GridSearch(5, points=HUGE),
    "points of one parameter": ph.GridSearch(5, points={"units": HUGE}),
    "combinations of a grid": ph.GridSearch(5, points=50_000),
    "a grid's population": ph.GridSearch(5, points=2, population=HUGE),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(f"sqlite:///{tmp_path_factory.mktemp('served')}/study.db", http_port=0) as running:
        yield running


def shown(server: Server) -> str:
    return f"Bearer {server.token_file.read_text().strip()}"


def identity(algorithm: Any) -> pb.StudyIdentity:
    metrics = (Metric("score", "max"),)
    document = algorithm_to_json(algorithm)
    made = StudyIdentity(uuid="", name="n", space=SPACE.to_json(), metrics=metrics, algorithm=document, seed=0)
    return to_message(made, pb.StudyIdentity)


def definition(algorithm: Any) -> pb.StudyDefinition:
    made = identity(algorithm)
    return pb.StudyDefinition(space=made.space, metric="score", mode="max", algorithm=made.algorithm)


def called(server: Server, name: str, request: Any) -> pb.Refused | None:
    """Make a call; return why it is refused, or None."""
    with grpc.insecure_channel(server.url.removeprefix("grpc://")) as channel:
        call = channel.unary_unary(f"/{SERVICE.full_name}/{name}")
        try:
            call(request.SerializeToString(), timeout=20, metadata=[(TOKEN, shown(server))])
        except grpc.RpcError as error:
            return pb.Refused.FromString(dict(error.trailing_metadata())[REFUSED])
    return None


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_a_population_without_end_is_refused_at_once(server: Server, kind: str) -> None:
    algorithm = ALGORITHMS[kind]
    for call, request in {
        "CreateStudy": pb.CreateStudyRequest(identity=identity(algorithm)),
        "Suggest": pb.SuggestRequest(study=definition(algorithm)),
        "EarlyStop": pb.EarlyStopRequest(study=definition(algorithm)),
    }.items():
        refused = called(server, call, request)
        assert refused is not None
        assert (refused.error, refused.name) in (("InvalidArgument", "population"), ("InvalidArgument", "points"))
    new = {
        "name": "n", "space": SPACE.to_json(), "metrics": [{"name": "s", "mode": "max"}],
        "algorithm": algorithm_to_json(algorithm),
    }  # fmt: skip
    answer = httpx.post(
        f"{server.http_url}/v1/studies", content=json.dumps(new), headers={"authorization": shown(server)}, timeout=20
    )
    assert (answer.status_code, answer.json()["name"]) in ((400, "population"), (400, "points"))
    assert ph.studies(server.url) == []


def test_a_member_that_no_population_has_is_refused(server: Server) -> None:
    request = pb.SuggestRequest(study=definition(ph.PBT(4, 5)))
    put_values({"number": 0, "member": HUGE, "hyperparameters": {"lr": 0.01}}, request.trials.add().entries)
    refused = called(server, "Suggest", request)
    assert refused is not None
    assert (refused.error, refused.name) == ("InvalidArgument", "member")


def test_as_many_suggestions_as_anybody_wants_are_as_many_as_there_are_members(server: Server) -> None:
    assert called(server, "Suggest", pb.SuggestRequest(study=definition(ph.PBT(4, 5)), k=2**50)) is None


def test_large_numbers_of_requests_are_refused_by_name(server: Server) -> None:
    headers = {"authorization": shown(server)}
    example_study(server.url, name="sizes")
    with httpx.Client(base_url=f"{server.http_url}/v1/studies/sizes", headers=headers, timeout=20) as client:
        for path, body, name in (
            ("/ask", {"worker": "w", "slots": HUGE}, "slots"),
            ("/ask", {"worker": "w", "lease_seconds": 1e18}, "lease_seconds"),
            ("/ask", {"worker": "w", "wait_seconds": 1e18}, "wait_seconds"),
            ("/control", {"population": HUGE}, "population"),
            ("/control", {"keep_best": HUGE}, "keep_best"),
        ):
            refused = client.post(path, content=json.dumps(body))
            assert (refused.status_code, refused.json()["name"]) == (400, name)


@pytest.mark.parametrize(("name", "value"), [("limit", -1), ("since", -2), ("limit", -(2**63))])
def test_numbers_below_their_least_are_refused_by_name_and_value(server: Server, name: str, value: int) -> None:
    refused = called(server, "ListTrials", pb.ListTrialsRequest(study="n", **{"since": -1, name: value}))
    assert refused is not None
    assert (refused.error, refused.name, refused.value) == ("InvalidArgument", name, str(value))
