"""Given any arguments, every public function works, or raises a phyletic error and writes nothing."""

from __future__ import annotations

import decimal
import fractions
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from public_calls import MADE, METHODS, SIMULATED, STUDY, Hostile, Opened, empty_folder, files, refused

import phyletic as ph
from phyletic.workers.live_trial import attempt_of


class Unshown:
    """An object whose ``repr`` raises."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


class Odd(dict):  # type: ignore[type-arg]
    """A subclass of ``dict``."""


TEXTS = st.one_of(
    st.sampled_from(
        ["", " ", ".", "..", "../x", "a/b", "a\\b", "a\x00b", "a\nb", "\ud800", "größe", "𝛼", "a.b", "x" * 5000,
         "__class__", "self", "nan", "lr", "score", "1", "-", "--", "%s", "{}", "a b", "\u202eabc", "CON", "~", "*"]
    ),
    st.text(max_size=8),
)  # fmt: skip
NUMBERS = st.one_of(
    st.sampled_from(
        [0, -1, 1, 2, 3, 10**30, -(10**30), 2**53, 2**63, 2**64, 10**400, math.nan, math.inf, -math.inf, 0.0, -0.0,
         0.5, 1.5, 1e308, 5e-324, 1e-12, True, False, np.int64(3), np.float32(0.5), np.float64("nan"), np.bool_(True),
         np.int8(-1), decimal.Decimal("0.5"), fractions.Fraction(1, 3), 1j]
    ),
    st.integers(-5, 50),
    st.floats(),
)  # fmt: skip
THINGS = st.one_of(
    st.none(),
    st.builds(object),
    st.builds(Hostile),
    st.sampled_from([int, print, math, ..., NotImplemented, b"\xff", b"", {1}, range(3), lambda *_: None, Path("x")]),
    st.sampled_from([np.array(1.0), np.array([1, 2]), np.array([]), np.array(["a"]), np.datetime64("2020-01-01")]),
    st.sampled_from([ph.Float, ph.Float(0, 1), ph.PBT, ph.PBT(2, 1), ph.Budget(), ph.Truncation(), ph.Wait()]),
)
LEAVES = st.one_of(NUMBERS, TEXTS, THINGS)
KEYS = st.one_of(TEXTS, st.sampled_from([0, 1.5, None, (1, 2), b"k", True]))
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(KEYS, inner, max_size=3),
        st.dictionaries(KEYS, inner, max_size=2).map(Odd),
    ),
    max_leaves=4,
)
FEW = settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


def one_wrong(data: st.DataObject, good: dict[str, Any], wrong: st.SearchStrategy[Any] = ANYTHING) -> dict[str, Any]:
    """Draw the good arguments with one or two of them replaced."""
    names = data.draw(st.lists(st.sampled_from(sorted(good)), min_size=1, max_size=2, unique=True))
    return {**good, **{name: data.draw(wrong, label=name) for name in names}}


@pytest.mark.parametrize(
    "value", [10**5000, Unshown(), "x" * 10**6, "\ud800"], ids=["long", "unshown", "huge", "surrogate"]
)
def test_a_value_that_cannot_be_printed_is_refused_with_its_argument_named(value: Any) -> None:
    for function in (ph.Budget, ph.RandomSearch):
        name = "trials" if function is ph.Budget else "population"
        error = refused(function, **{name: value})
        assert isinstance(error, ph.errors.InvalidArgument)
        assert name in str(error)
        str(error).encode()


# --- calls that need no study -------------------------------------------------------------------------------------

CONFIGURED = {**MADE, **SIMULATED}


@pytest.mark.parametrize("name", CONFIGURED)
@FEW
@given(data=st.data())
def test_each_configuration_is_created_or_refused_without_a_trace(name: str, data: st.DataObject) -> None:
    function, good = CONFIGURED[name]
    given_ = one_wrong(data, good)
    with empty_folder() as elsewhere:
        around = files(elsewhere)
        refused(function, **given_)
        assert files(elsewhere) == around


@FEW
@given(data=st.data(), text=TEXTS)
def test_a_document_that_is_not_a_schedule_is_refused(data: st.DataObject, text: str) -> None:
    segment = {"start_step": 0, "end_step": 5, "hyperparameters": {"lr": 0.5}}
    document: dict[str, Any] = {"segments": [one_wrong(data, segment, st.one_of(st.integers(), TEXTS, st.none()))]}
    refused(ph.Schedule.from_json, json.dumps(document))
    refused(ph.Schedule.from_json, text)
    refused(ph.Schedule.from_json, text.encode(errors="surrogatepass"))


DOMAINS = st.sampled_from(
    [ph.Float(0, 1), ph.Int(1, 9, log=True), ph.Choice(["a", "b"]), ph.Ordinal([1, 2]), ph.Choice({"a": {}, "b": {}})]
)


@settings(FEW, max_examples=80)
@given(
    st.dictionaries(KEYS, st.one_of(DOMAINS, ANYTHING, st.dictionaries(KEYS, DOMAINS, max_size=2)), max_size=3),
    ANYTHING,
)
def test_a_space_and_values_for_it_are_accepted_or_refused(definition: dict[Any, Any], values: Any) -> None:
    made = []
    if refused(lambda: made.append(ph.Space(definition))) is None:
        (space,) = made
        assert ph.Space.from_json(json.loads(json.dumps(space.to_json()))).difference(space) is None
        refused(space.validate, values)
        if isinstance(values, dict):
            refused(space.validate, {**dict.fromkeys(space.parameters), **values})
    refused(ph.Space.from_json, values)


# --- a study ------------------------------------------------------------------------------------------------------


@settings(FEW, max_examples=60)
@given(data=st.data())
def test_a_refused_study_leaves_no_trace(data: st.DataObject) -> None:
    with empty_folder() as folder:
        before = files(folder)
        given_ = one_wrong(data, {**STUDY, "storage": folder / "a.db", "checkpoints": None})
        error = refused(lambda: ph.Study(**given_).close())
        if error is not None:
            assert files(folder) == before, error


@FEW
@given(
    storage=st.one_of(
        TEXTS, TEXTS.map(lambda text: f"sqlite:///{text}"), TEXTS.map(lambda text: f"{text}.db"), ANYTHING
    )
)
def test_a_refused_storage_leaves_no_trace(storage: Any) -> None:
    if isinstance(storage, (str, Path)) and str(storage).removeprefix("sqlite://").lstrip("/").startswith("~"):
        return  # a path in the home folder is valid
    with empty_folder() as folder:
        before = files(folder)
        refused(ph.studies, storage)
        assert files(folder) == before
        if refused(lambda: ph.Study(**STUDY, storage=storage).close()) is not None:
            assert files(folder) == before


@settings(FEW, max_examples=60)
@given(data=st.data())
def test_a_refused_opening_changes_nothing(data: st.DataObject, opened: Opened) -> None:
    study = opened.study
    before = opened.rows()
    wrong = one_wrong(data, {name: value for name, value in STUDY.items() if name != "name"})
    error = refused(lambda: ph.Study("study", storage=study.storage, **wrong))
    if error is not None:
        assert opened.rows() == before, error


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    return Opened(tmp_path_factory.mktemp("opened"))


@pytest.mark.parametrize("name", METHODS)
@settings(FEW, max_examples=12, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_each_method_works_or_refuses_without_a_trace(name: str, data: st.DataObject, opened: Opened) -> None:
    call, good = METHODS[name]
    opened.renew()
    given_ = one_wrong(data, good)
    if name == "run":
        given_["workers"] = 0  # a process for each example would take too long
    with empty_folder() as elsewhere:
        before, around = opened.rows(), files(elsewhere)
        error = refused(call, opened, **given_)
        if error is not None:
            assert opened.rows() == before, error
            assert files(elsewhere) == around


# --- bad values that would otherwise be stored without an error -----------------------------------------------------


@pytest.mark.parametrize("worker", ["", "x" * 201, "\ud800", "a\udcff"])
def test_a_bad_worker_name_is_refused(worker: str, opened: Opened) -> None:
    before = opened.rows()
    error = refused(opened.study.ask, worker=worker)
    assert isinstance(error, ph.errors.InvalidArgument)
    assert str(error).startswith("worker")
    assert opened.rows() == before


@pytest.mark.parametrize(
    "value",
    ["0.5", "nan", b"1", None, bytearray(b"1"), memoryview(b"1"), np.array("0.5"), np.complex128(1j), np.array([b"1"])],
    ids=lambda value: type(value).__name__,
)
def test_a_metric_value_that_is_not_a_number_is_refused(value: Any, opened: Opened) -> None:
    opened.renew()
    before, reported = opened.rows(), list(attempt_of(opened.trial).evaluations)
    calls: list[Callable[[], Any]] = [
        lambda: opened.study.tell(opened.trial, {"score": value}),
        lambda: opened.study.tell([opened.trial], [{"score": value}]),
        lambda: opened.trial.report({"score": value}),
        lambda: opened.trial.report(score=value),
    ]
    for call in calls:
        error = refused(call)
        assert isinstance(error, ph.errors.InvalidArgument)
        assert "'score'" in str(error)
    assert attempt_of(opened.trial).evaluations == reported
    assert opened.rows() == before


@pytest.mark.parametrize(("seed", "good"), [(0, True), (2**63 - 1, True), (-1, False), (2**63, False)])
def test_exactly_the_storable_seeds_are_accepted(seed: int, good: bool) -> None:
    with empty_folder() as folder:
        before = files(folder)
        error = refused(lambda: ph.Study(**{**STUDY, "seed": seed}, storage=folder / "a.db").close())
        if good:
            assert error is None
            assert ph.Study("study", storage=folder / "a.db").identity.seed == seed
        else:
            assert isinstance(error, ph.errors.InvalidArgument)
            assert str(error).startswith("seed")
            assert files(folder) == before


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_whose_text_is_not_unicode_is_recorded(tmp_path: Path, workers: int) -> None:
    def broken(trials: Any) -> None:
        for trial in trials.attach(lambda trial: {"x": 0.0}):
            dict(trial.hyperparameters)
            if trial.number == 1 and trial.record.failures == 0:
                raise FileNotFoundError("no file a\udcff")
            trial.report(score=1.0)

    study = ph.Study(**{**STUDY, "budget": ph.Budget(trials=2)}, storage=tmp_path / "a.db")
    study.run(broken, workers=workers, verbose=0)
    assert [trial.failures for trial in study.trials()] == [0, 1]
    assert "no file a\\udcff" in (study.trial(1).error or "")
