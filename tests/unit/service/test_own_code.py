"""Code of the operator's own: a study uses what ``--allow`` names, and a client can name nothing else."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("grpc")
pytest.importorskip("starlette")
pytest.importorskip("httpx")

import grpc
import httpx

import phyletic as ph
from phyletic.errors import InvalidArgument
from phyletic.evolution.codec import algorithm_to_json
from phyletic.evolution.stateless import MemberSuggestion
from phyletic.records import Metric, StudyIdentity
from phyletic.remote.grpc_connection import REFUSED, SERVICE, TOKEN
from phyletic.remote.v1 import phyletic_v1_pb2 as pb
from phyletic.remote.wire import from_message, put_values, to_message
from phyletic.service.server import Server, serving
from phyletic.testing.example import example_study, facts
from phyletic.testing.training import drawing

OWN = '''
import dataclasses

import phyletic as ph
from phyletic.evolution.explore import Perturb


def halve(hyperparameters, rng):
    """Halve or double the learning rate."""
    return {"lr": min(0.1, max(1e-3, hyperparameters["lr"] * rng.choice([0.5, 2.0])))}


def other(hyperparameters, rng):
    return {}


def below_zero(curve, others):
    """Give a trial up that has reported less than nothing."""
    return curve.points[-1][1] < 0


@dataclasses.dataclass(frozen=True)
class Halving:
    """Explore rule of the operator's own."""

    factor: float = 0.5

    def explore(self, space, values, stream):
        return Perturb(factors=(self.factor, 1 / self.factor)).explore(space, values, stream)


@dataclasses.dataclass(frozen=True)
class Searching(ph.RandomSearch):
    """Algorithm of the operator's own."""
'''
SERVED_AT = AbstractContextManager[Server]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module of the operator, which this process, client and server, has."""
    (tmp_path / "operators_own.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("operators_own")
    sys.modules.pop("operators_own", None)


@pytest.fixture
def served(tmp_path: Path) -> Callable[..., SERVED_AT]:
    """Return what serves one database, again and again, and allows what is given."""
    return lambda *allow: serving(f"sqlite:///{tmp_path}/study.db", http_port=0, allow=allow)


def exploring(rule: Any) -> Any:
    return ph.PBT(5, 2, exploit=ph.Truncation(0.4), explore=rule, synchronous=True)


def by(study: ph.Study, rule: str) -> int:
    """Return how many values a rule has changed in a study."""
    return sum(change.how.startswith(rule) for trial in study.trials() for change in trial.decision.changes)


# --- functions ---


@pytest.mark.parametrize("scheme", ["url", "http_url"])
def test_a_function_that_the_operator_did_not_name_makes_no_study(
    own: ModuleType, served: Callable[..., SERVED_AT], scheme: str
) -> None:
    with served("operators_own:other", "operators_own:Halving") as server:
        url = getattr(server, scheme)
        with pytest.raises(InvalidArgument, match=r"named\. No code .*start the server with --allow MODULE:halve"):
            example_study(url, algorithm=exploring(own.halve))
        assert ph.studies(url) == []


@pytest.mark.parametrize("scheme", ["url", "http_url"])
def test_a_function_that_is_named_explores_as_in_a_file_and_after_a_restart_too(
    own: ModuleType, served: Callable[..., SERVED_AT], scheme: str
) -> None:
    local = example_study(algorithm=exploring(own.halve))
    drawing()(local)
    assert by(local, "halve@")
    with served("operators_own:halve") as server:
        study = example_study(getattr(server, scheme), algorithm=exploring(own.halve), steps=4)
        drawing()(study)
        before = by(study, "halve@")
        assert facts(study) == facts(local)[: len(study.trials())]
    with served("operators_own:other", "operators_own:halve") as server:
        # opened by its name alone: this client has no function of its own
        study = ph.Study("study", storage=getattr(server, scheme))
        study.set_budget(ph.Budget(steps=8))
        drawing()(study)
        assert facts(study) == facts(local)
        assert by(study, "halve@") > before


def test_after_a_restart_without_it_the_study_can_be_read_and_says_what_is_missing(
    own: ModuleType, served: Callable[..., SERVED_AT]
) -> None:
    with served("operators_own:halve") as server:
        drawing()(example_study(server.url, algorithm=exploring(own.halve), steps=4))
    with served() as server:
        study = ph.Study("study", storage=server.url)
        assert len(study.trials()) == 10
        with pytest.raises(InvalidArgument, match="--allow MODULE:halve"):
            study.ask()
        study.close()


def test_a_function_with_another_source_is_not_the_one_that_was_named(
    own: ModuleType, served: Callable[..., SERVED_AT], tmp_path: Path
) -> None:
    newer = tmp_path / "newer.py"
    newer.write_text(OWN.replace("[0.5, 2.0]", "[0.5, 3.0]"))
    spec = importlib.util.spec_from_file_location("newer", newer)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with served("operators_own:halve") as server:
        with pytest.raises(InvalidArgument, match=r"source differs.*Bring the code on both machines to one version"):
            example_study(server.url, algorithm=exploring(module.halve))
        assert ph.studies(server.url) == []
        example_study(server.url, algorithm=exploring(own.halve))


@pytest.mark.parametrize("scheme", ["url", "http_url"])
def test_a_function_that_stops_early_must_be_named_too(
    own: ModuleType, served: Callable[..., SERVED_AT], scheme: str
) -> None:
    algorithm = ph.PBT(5, 2, early_stopping=own.below_zero, synchronous=True)
    with served("operators_own:halve") as server:
        with pytest.raises(InvalidArgument, match="start the server with --allow MODULE:below_zero"):
            example_study(getattr(server, scheme), algorithm=algorithm)
        assert ph.studies(server.url) == []
    for number in range(2):
        with served("operators_own:below_zero") as server:
            study = example_study(getattr(server, scheme), algorithm=algorithm)
            good, bad = study.ask(f"good {number}"), study.ask(f"bad {number}")
            for trial, score in ((good, 0.5), (bad, -0.5)):
                trial.report(score=score)
                assert study.heartbeat(trial, step=1) == (score > 0)
            study.close()


# --- classes ---


@pytest.mark.parametrize("scheme", ["url", "http_url"])
@pytest.mark.parametrize("name", ["Halving", "Searching"])
def test_a_class_from_outside_works_only_if_it_is_named(
    own: ModuleType, served: Callable[..., SERVED_AT], scheme: str, name: str
) -> None:
    algorithm = exploring(own.Halving(0.7)) if name == "Halving" else own.Searching(3, 2, synchronous=True)
    with served("operators_own:halve") as server:
        with pytest.raises(InvalidArgument, match=f"start the server with --allow operators_own:{name}"):
            example_study(getattr(server, scheme), algorithm=algorithm)
        assert ph.studies(server.url) == []
    local = example_study(algorithm=algorithm)
    drawing()(local)
    for steps in (4, 8):
        with served(f"operators_own:{name}") as server:
            study = example_study(getattr(server, scheme), algorithm=algorithm, steps=steps)
            drawing()(study)
    assert facts(ph.Study("study", storage=server.token_file.with_name("study.db"))) == facts(local)


def test_after_a_restart_without_its_class_a_study_is_not_opened(
    own: ModuleType, served: Callable[..., SERVED_AT], tmp_path: Path
) -> None:
    with served("operators_own:Halving") as server:
        example_study(server.url, algorithm=exploring(own.Halving()))
        example_study(server.url, name="another")
    sys.modules.pop("operators_own", None)
    with served() as server:
        token = server.token_file.read_text().strip()
        for path in ("", "/trials", "/rows", "/watch"):
            answer = httpx.get(
                f"{server.http_url}/v1/studies/study{path}", headers={"authorization": f"Bearer {token}"}
            )
            assert answer.status_code == 400
            assert "--allow operators_own:Halving" in answer.json()["message"]
        assert "operators_own" not in sys.modules
        # the others are not affected
        assert isinstance(ph.Study("another", storage=server.url).ask(), ph.LiveTrial)


# --- nothing is imported for a client ---


@pytest.fixture
def marking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The mark of a module that leaves one when it is imported; this process could import it."""
    mark = tmp_path / "mark"
    (tmp_path / "leaves_a_mark.py").write_text(f"open({str(mark)!r}, 'w').close()\nclass Rule: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield mark
    sys.modules.pop("leaves_a_mark", None)


FOREIGN = {"type": "leaves_a_mark:Rule"}
PBT: dict[str, Any] = {"type": "PBT", "population": 2, "interval": 5}
DOCUMENTS: dict[str, Any] = {
    "algorithm": {**FOREIGN, "population": 2},
    "explore": {**PBT, "explore": FOREIGN},
    "a chain": {**PBT, "explore": {"type": "Chain", "rules": [{"type": "Perturb"}, FOREIGN]}},
    "lists": {**PBT, "explore": [[FOREIGN]]},
    "exploit": {**PBT, "exploit": {"type": "NoiseGate", "rule": FOREIGN}},
    "early stopping": {**PBT, "early_stopping": FOREIGN},
    "a mapping": {**PBT, "explore": {"type": "dict", "items": {"type": "x", "rule": FOREIGN}}},
    "a mapping in a mapping": {**PBT, "explore": {"type": "dict", "items": {"x": {"type": "dict", "items": FOREIGN}}}},
    "a number": {**PBT, "population": FOREIGN},
    "an unknown field": {**PBT, "unknown": FOREIGN},
    "the module alone": {"type": "leaves_a_mark:", "population": 2},
    "a part of the name": {"type": "leaves_a_mark:Rule.x", "population": 2},
    "a function that stops early": {
        **PBT,
        "early_stopping": {"type": "EarlyStopRule", "qualified_name": "leaves_a_mark:R", "hash": "x"},
    },
    "a function of it": {**PBT, "explore": {"type": "UserFunction", "qualified_name": "leaves_a_mark:R", "hash": "x"}},
}


@pytest.mark.parametrize("place", DOCUMENTS)
def test_nothing_is_imported_because_a_client_says_so(
    marking: Path, own: ModuleType, served: Callable[..., SERVED_AT], place: str
) -> None:
    algorithm = DOCUMENTS[place]
    space = ph.Space({"lr": ph.Float(0.1, 1.0)}).to_json()
    with served("operators_own:halve", "operators_own:Halving") as server:
        header = f"Bearer {server.token_file.read_text().strip()}"
        new = {"name": "n", "space": space, "metrics": [{"name": "s", "mode": "max"}], "algorithm": algorithm}
        answer = httpx.post(f"{server.http_url}/v1/studies", content=json.dumps(new), headers={"authorization": header})
        assert answer.status_code == 400, answer.text
        assert "--allow" in answer.text
        metrics = (Metric("s", "max"),)
        identity = StudyIdentity(uuid="", name="n", space=space, metrics=metrics, algorithm=algorithm, seed=0)
        for name, request in _messages(identity).items():
            refused = _refused(server, name, request, header)
            assert refused.error == "InvalidArgument", refused
            assert "--allow" in refused.message
        assert ph.studies(server.url) == []
    assert not marking.exists()
    assert "leaves_a_mark" not in sys.modules


def _messages(identity: StudyIdentity) -> dict[str, Any]:
    """Return the requests in which a client sends an algorithm."""
    made = to_message(identity, pb.StudyIdentity)
    definition = pb.StudyDefinition(space=made.space, metric="s", mode="max", algorithm=made.algorithm)
    return {
        "CreateStudy": pb.CreateStudyRequest(identity=made),
        "Suggest": pb.SuggestRequest(study=definition),
        "EarlyStop": pb.EarlyStopRequest(study=definition),
    }


def _refused(server: Server, name: str, request: Any, header: str) -> pb.Refused:
    """Return why a call is refused."""
    with grpc.insecure_channel(server.url.removeprefix("grpc://")) as channel:
        call = channel.unary_unary(f"/{SERVICE.full_name}/{name}")
        with pytest.raises(grpc.RpcError) as raised:
            call(request.SerializeToString(), timeout=20, metadata=[(TOKEN, header)])
    return pb.Refused.FromString(dict(raised.value.trailing_metadata())[REFUSED])


def nested(depth: int) -> Any:
    """Return a chain of chains."""
    rule: Any = {"type": "Perturb"}
    for _ in range(depth):
        rule = {"type": "Chain", "rules": [rule]}
    return rule


@pytest.mark.parametrize(
    "algorithm",
    [
        {},
        {"type": "dict"},
        {"type": "dict", "items": 3},
        {"type": "dict", "items": PBT},
        {"type": ["PBT"]},
        {"type": {"type": "PBT"}},
        {"type": "UserFunction"},
        {**PBT, "explore": {"type": "dict"}},
        {**PBT, "explore": {"type": "dict", "items": [1]}},
        {**PBT, "explore": {"type": 7}},
        {**PBT, "explore": nested(300)},
        {"type": "Perturb"},
    ],
)
def test_what_is_no_algorithm_is_refused_and_makes_no_study(served: Callable[..., SERVED_AT], algorithm: Any) -> None:
    new = {"name": "n", "space": {"lr": 1}, "metrics": [{"name": "s", "mode": "max"}], "algorithm": algorithm}
    with served() as server:
        headers = {"authorization": f"Bearer {server.token_file.read_text().strip()}"}
        answer = httpx.post(f"{server.http_url}/v1/studies", content=json.dumps(new), headers=headers)
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"] in ("InvalidArgument", "InvalidSpace")
        assert ph.studies(server.url) == []


def test_a_named_function_explores_for_suggestions_too(own: ModuleType, served: Callable[..., SERVED_AT]) -> None:
    algorithm, space = exploring(own.halve), ph.Space({"lr": ph.Float(1e-3, 1e-1, log=True)})
    definition = {"space": space, "metric": "score", "mode": "max", "algorithm": algorithm, "steps": 8}
    known = [
        {"number": n, "member": n, "hyperparameters": {"lr": 0.01}, "end_step": 2, "score": float(n)} for n in range(5)
    ]
    with served("operators_own:halve") as server:
        identity = StudyIdentity(
            uuid="", name="n", space=space.to_json(), metrics=(Metric("s", "max"),),
            algorithm=algorithm_to_json(algorithm), seed=0,
        )  # fmt: skip
        request = _messages(identity)["Suggest"]
        request.study.metric, request.study.steps, request.k, request.seed = "score", 8, 5, 3
        for trial in known:
            put_values(trial, request.trials.add().entries)
        header = f"Bearer {server.token_file.read_text().strip()}"
        with grpc.insecure_channel(server.url.removeprefix("grpc://")) as channel:
            call = channel.unary_unary(f"/{SERVICE.full_name}/Suggest")
            raw = call(request.SerializeToString(), timeout=20, metadata=[(TOKEN, header)])
    found = [from_message(one, MemberSuggestion) for one in pb.SuggestReply.FromString(raw).suggestions]
    assert found == ph.suggest(definition, known, k=5, seed=3)
    assert any(change.how.startswith("halve@") for one in found for change in one.suggestion.decision.changes)


@pytest.mark.parametrize(
    "name",
    ["", "operators_own", ":halve", "operators_own:", "operators_own:missing", "none:x", "operators_own:OWN"],
)
def test_what_cannot_be_allowed_stops_the_start(own: ModuleType, served: Callable[..., SERVED_AT], name: str) -> None:
    own.OWN = 7
    with pytest.raises(InvalidArgument, match=r"allow .*MODULE:NAME"), served(name):
        pass
