"""Whatever is passed to whatever is public: an error of phyletic that says what is wrong, and nothing is written."""

from __future__ import annotations

import decimal
import fractions
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import phyletic as ph
from phyletic.cli import main
from phyletic.cli.reference import commands
from phyletic.errors import PhyleticError


class Hostile:
    """An object whose every method that a check may call raises, but for its ``repr``."""

    def __repr__(self) -> str:
        return "Hostile()"

    def _raise(self, *_: Any) -> Any:
        raise RuntimeError("not to be touched")

    __eq__ = __len__ = __iter__ = __bool__ = __float__ = __int__ = __contains__ = _raise
    __hash__ = None  # type: ignore[assignment]


class Unshown:
    """An object that cannot even be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


class Odd(dict):  # type: ignore[type-arg]
    """A mapping of another class."""


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


WRONG: list[Any] = [
    *(None, 0, -1, 0.5, 1.5, True, math.nan, math.inf, 10**30, 10**400, np.int64(2), np.float64("nan"), 1j),
    *(
        "",
        "a/b",
        "a\x00b",
        "\ud800",
        "x" * 5000,
        b"",
        b"\xff",
        [],
        [0],
        (),
        {},
        {"": 0},
        {1: 2},
        {"\ud800": 1.0},
        set(),
        range(2),
    ),
    *(object(), Hostile(), int, print, np.array(1.0), np.array([1, 2]), np.array([]), Path("x"), ph.PBT, ph.Budget()),
]


def each_wrong(good: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield good arguments with one replaced: each by each of what is wrong for most."""
    for name in good:
        for value in WRONG:
            if name == "train" and callable(value):
                continue  # is called, and what it does then is its own
            yield {**good, name: value}


def refused(function: Callable[..., Any], *arguments: Any, **named: Any) -> PhyleticError | None:
    """Call a function; returns the error of phyletic that it raised. Any other is the test's failure."""
    try:
        function(*arguments, **named)
    except PhyleticError as error:
        said = str(error)
        assert said.strip()
        assert len(said) < 4000, said[:4000]
        return error
    return None


def one_wrong(data: st.DataObject, good: dict[str, Any], wrong: st.SearchStrategy[Any] = ANYTHING) -> dict[str, Any]:
    """Draw good arguments of which one or two are replaced."""
    names = data.draw(st.lists(st.sampled_from(sorted(good)), min_size=1, max_size=2, unique=True))
    return {**good, **{name: data.draw(wrong, label=name) for name in names}}


@pytest.mark.parametrize(
    "value", [10**5000, Unshown(), "x" * 10**6, "\ud800"], ids=["long", "unshown", "huge", "surrogate"]
)
def test_what_cannot_be_shown_is_refused_all_the_same(value: Any) -> None:
    for function in (ph.Budget, ph.RandomSearch):
        name = "trials" if function is ph.Budget else "population"
        error = refused(function, **{name: value})
        assert isinstance(error, ph.errors.InvalidArgument)
        assert name in str(error)
        str(error).encode()


# --- what is made without a study ---------------------------------------------------------------------------------

MADE: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "Budget": (ph.Budget, {"steps": 10, "trials": 3, "seconds": 1.5, "target": 0.5}),
    "PBT": (
        ph.PBT,
        {"population": 4, "interval": 5, "exploit": ph.Truncation(), "explore": ph.Perturb(), "synchronous": True,
         "burn_in": 0, "inherit": "both", "compare": "latest", "gate": None, "early_stopping": None,
         "interval_seconds": None},
    ),
    "ExploreOnly": (
        ph.ExploreOnly,
        {"population": 4, "interval": 5, "explore": ph.Perturb(), "synchronous": True, "interval_seconds": None},
    ),
    "RandomSearch": (ph.RandomSearch, {"population": 4, "interval": 5, "synchronous": False, "interval_seconds": None}),
    "GridSearch": (
        ph.GridSearch,
        {"interval": 5, "points": 3, "population": None, "synchronous": False, "interval_seconds": None},
    ),
    "Truncation": (ph.Truncation, {"fraction": 0.2}),
    "TTest": (ph.TTest, {"window": 10, "p": 0.05}),
    "Perturb": (ph.Perturb, {"factors": (0.8, 1.2), "resample_probability": 0.1}),
    "Gaussian": (ph.Gaussian, {"scale": 0.1, "resample_probability": 0.1}),
    "Resample": (ph.Resample, {"probability": 0.25}),
    "NoiseGate": (ph.NoiseGate, {"k": 0.1, "a": 0.025}),
    "MedianStopping": (ph.MedianStopping, {"grace": 2, "least": 3}),
    "Float": (
        lambda **given: ph.Space({"x": ph.Float(**given)}),
        {"low": 0.5, "high": 1.0, "log": False, "step": None, "limits": None, "fixed": False},
    ),
    "Int": (
        lambda **given: ph.Space({"x": ph.Int(**given)}),
        {"low": 1, "high": 9, "log": False, "step": None, "limits": None, "fixed": False},
    ),
    "Ordinal": (lambda **given: ph.Space({"x": ph.Ordinal(**given)}), {"values": [1, 2, 3], "fixed": False}),
    "Choice": (lambda **given: ph.Space({"x": ph.Choice(**given)}), {"options": ["a", "b"], "fixed": None}),
    "Space": (ph.Space, {"definition": {"lr": ph.Float(0, 1)}}),
    "Schedule.from_json": (ph.Schedule.from_json, {"text": "{}"}),
    "Schedule": (ph.Schedule, {"segments": ()}),
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
@FEW
@given(data=st.data())
def test_what_is_configured_is_made_or_refused(name: str, data: st.DataObject) -> None:
    function, good = MADE[name]
    refused(function, **one_wrong(data, good))


@pytest.mark.parametrize("name", MADE)
def test_each_argument_is_checked(name: str) -> None:
    function, good = MADE[name]
    errors = [refused(function, **given_) for given_ in each_wrong(good)]
    assert refused(function, **good) is None or name == "Schedule.from_json"
    assert sum(error is not None for error in errors) > len(errors) // 4


@FEW
@given(data=st.data(), text=TEXTS)
def test_a_document_that_is_no_schedule_is_refused(data: st.DataObject, text: str) -> None:
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
def test_a_space_is_made_or_refused_and_so_are_values_for_it(definition: dict[Any, Any], values: Any) -> None:
    made = []
    if refused(lambda: made.append(ph.Space(definition))) is None:
        (space,) = made
        assert ph.Space.from_json(json.loads(json.dumps(space.to_json()))).difference(space) is None
        refused(space.validate, values)
        if isinstance(values, dict):
            refused(space.validate, {**dict.fromkeys(space.parameters), **values})
    refused(ph.Space.from_json, values)


# --- a study ------------------------------------------------------------------------------------------------------

STUDY: dict[str, Any] = {
    "name": "study",
    "space": {"lr": ph.Float(0, 1), "kind": ph.Choice({"a": {"x": ph.Int(1, 3)}, "b": {}})},
    "metric": "score",
    "mode": "max",
    "algorithm": ph.PBT(2, 2, synchronous=True),
    "budget": ph.Budget(trials=1000),
    "seed": 0,
    "initial": [{"lr": 0.5}],
    "sampling": "random",
    "max_failures": 3,
    "max_losses": 3,
    "keep_best": 1,
}


@contextmanager
def empty_folder() -> Iterator[Path]:
    """Work in a folder of its own, so that a text that is taken for a path leads nowhere else."""
    before = Path.cwd()
    folder = Path(tempfile.mkdtemp()).resolve()
    inside = folder / "a" / "b"
    inside.mkdir(parents=True)
    os.chdir(inside)
    try:
        yield folder
    finally:
        os.chdir(before)
        shutil.rmtree(folder)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_each_argument_of_a_study_is_checked_before_anything_is_written() -> None:
    with empty_folder() as folder:
        before = files(folder)
        for number, given_ in enumerate(each_wrong({**STUDY, "checkpoints": None})):
            path = folder / f"{number}.db"
            error = refused(lambda given_=given_, path=path: ph.Study(**given_, storage=path).close())
            made = files(folder)
            assert error is None or made == before, error
            before = made


@settings(FEW, max_examples=60)
@given(data=st.data())
def test_a_study_that_is_refused_leaves_no_trace(data: st.DataObject) -> None:
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
def test_a_storage_that_is_refused_leaves_no_trace(storage: Any) -> None:
    if isinstance(storage, (str, Path)) and str(storage).removeprefix("sqlite://").lstrip("/").startswith("~"):
        return  # a home folder is a good place
    with empty_folder() as folder:
        before = files(folder)
        refused(ph.studies, storage)
        assert files(folder) == before
        if refused(lambda: ph.Study(**STUDY, storage=storage).close()) is not None:
            assert files(folder) == before


@settings(FEW, max_examples=60)
@given(data=st.data())
def test_opening_with_something_else_changes_nothing(data: st.DataObject, opened: Opened) -> None:
    study = opened.study
    before = opened.rows()
    wrong = one_wrong(data, {name: value for name, value in STUDY.items() if name != "name"})
    error = refused(lambda: ph.Study("study", storage=study.storage, **wrong))
    if error is not None:
        assert opened.rows() == before, error


class Opened:
    """A study on disk, with a trial that runs and some that are complete."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.study = ph.Study(**STUDY, storage=folder / "a.db")
        for score in (1.0, 2.0, math.nan):
            self.study.tell(self.study.ask(), {"score": score}, checkpoint={"weights": np.zeros(2)})
        self.trial = self.study.ask()

    def renew(self) -> None:
        """Have a trial that runs, whatever the last example did to it; failures in a row are ended by a result."""
        running = {trial.number for trial in self.study.trials(states=[ph.TrialState.RUNNING])}
        control = self.study.control
        if control.budget != STUDY["budget"] or control.population != 2 or control.paused:
            self.study.set_budget(STUDY["budget"])
            self.study.resize(2)
            self.study.resume()
        while self.trial.number not in running or self.trial.record.failures:
            if self.trial.number in running:
                self.study.tell(self.trial, score=0.5, steps_done=2)
            self.trial = self.study.ask()
            running = {self.trial.number}

    def rows(self) -> dict[str, list[Any]]:
        """Return all that is stored but for the counters of who looked, and the names of the files beside it."""
        with self.study._store.read() as connection:
            tables = [name for name in sa.inspect(connection).get_table_names() if name != "session"]
            stored = {
                name: [tuple(row) for row in connection.exec_driver_sql(f"SELECT * FROM {name}")] for name in tables
            }
        stored["files"] = [name for name in files(self.folder) if not name.endswith(("-wal", "-shm"))]
        return {name: [repr(row) for row in rows] for name, rows in stored.items()}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    return Opened(tmp_path_factory.mktemp("opened"))


def nothing(trials: Any) -> None:
    for trial in trials.attach(lambda trial: {"x": 0.0}):
        dict(trial.hyperparameters)
        trial.report(score=1.0)


# by name: how it is called, with arguments that are good (but for what makes it refuse all of these)
METHODS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "ask": (lambda s, t, **a: s.ask(**a), {"worker": "w", "count": None}),
    "tell": (
        lambda s, t, trial_, metrics, **a: s.tell(trial_, metrics, **a),
        {"trial_": None, "metrics": {"score": 1.0}, "checkpoint": None, "steps_done": 2, "partial": False},
    ),
    "tell the trial": (
        lambda s, t, metrics, **a: s.tell(t, metrics, **a),
        {"metrics": {"acc": 1.0}, "checkpoint": None, "steps_done": 2, "partial": False, "values": 0.5},
    ),
    "tell many": (
        lambda s, t, metrics, **a: s.tell([t, t], metrics, **a),
        {"metrics": [{"acc": 1.0}, {}], "checkpoint": None, "steps_done": 2, "partial": False},
    ),
    "fail": (lambda s, t, trial_, error: s.fail(trial_, error), {"trial_": None, "error": "it broke"}),
    "fail the trial": (lambda s, t, error: s.fail(t, error), {"error": None}),
    "heartbeat": (lambda s, t, trial_, step: s.heartbeat(trial_, step=step), {"trial_": None, "step": 1}),
    "report": (
        lambda s, t, values, **a: t.report(values, **a),
        {"values": {"score": 1.0}, "step": 1, "steps_done": 1, "loss": 0.1},
    ),
    "resize": (lambda s, t, **a: s.resize(**a), {"population": 2}),
    "set_budget": (lambda s, t, **a: s.set_budget(**a), {"budget": None}),
    "pin": (lambda s, t, **a: s.pin(**a), {"trial": 999, "keep": True}),
    "stop": (lambda s, t, **a: s.stop(**a), {"now": False}),
    "trial": (lambda s, t, **a: s.trial(**a), {"number": 0}),
    "trials": (lambda s, t, **a: s.trials(**a), {"states": None}),
    "lineage": (lambda s, t, **a: s.lineage(**a), {"trial": 0}),
    "schedule": (lambda s, t, **a: s.schedule(**a), {"trial": 0}),
    "evaluations": (lambda s, t, **a: s.evaluations(**a), {"trial": 0}),
    "population_at": (lambda s, t, **a: s.population_at(**a), {"trial": 0}),
    "checkpoint_path": (lambda s, t, **a: s.checkpoint_path(**a), {"trial": 0}),
    "restore": (lambda s, t, trial_, **a: s.restore(trial_, **a), {"trial_": 1, "weights": np.ones(2)}),
    "source": (lambda s, t, **a: s.source(**a).attach(print), {"reload": "changed", "supervised": True}),
    "attach": (
        lambda s, t, **a: s.source().attach(**a),
        {"build": lambda trial: {}, "save": None, "load": None},
    ),
    "at": (lambda s, t, **a: s.schedule(0).at(**a), {"step": 0}),
    "save": (lambda s, t, **a: s.schedule(0).save(**a), {"path": "no/such/folder/x.json"}),
    "replay": (
        lambda s, t, **a: s.replay(**a),
        {"train": nothing, "schedule": ph.Schedule(()), "seed": 0},
    ),
    "check": (lambda s, t, **a: s.check(**a), {"train": nothing, "steps": None}),
    "run": (
        lambda s, t, **a: s.run(**a),
        {"train": None, "workers": 0, "devices": None, "threads": 1, "reload": "changed", "verbose": 0,
         "trial_timeout": None, "grace": 1.0, "environment": None},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
def test_each_argument_of_a_method_is_checked(name: str, opened: Opened) -> None:
    call, good = METHODS[name]
    with empty_folder() as elsewhere:
        for given_ in each_wrong(good):
            opened.renew()
            before, around = opened.rows(), files(elsewhere)
            error = refused(call, opened.study, opened.trial, **given_)
            if error is not None:
                assert opened.rows() == before, error
                assert files(elsewhere) == around


@pytest.mark.parametrize("name", METHODS)
@settings(FEW, max_examples=12, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_a_study_is_told_is_done_or_refused_without_a_trace(
    name: str, data: st.DataObject, opened: Opened
) -> None:
    call, good = METHODS[name]
    opened.renew()
    given_ = one_wrong(data, good)
    with empty_folder() as elsewhere:
        before, around = opened.rows(), files(elsewhere)
        error = refused(call, opened.study, opened.trial, **given_)
        if error is not None:
            assert opened.rows() == before, error
            assert files(elsewhere) == around


# what was let pass once would be stored without a complaint, and be found much later


@pytest.mark.parametrize("worker", ["", "x" * 201, "\ud800", "a\udcff"])
def test_a_name_that_no_worker_can_have_is_named(worker: str, opened: Opened) -> None:
    before = opened.rows()
    error = refused(opened.study.ask, worker=worker)
    assert isinstance(error, ph.errors.InvalidArgument)
    assert str(error).startswith("worker")
    assert opened.rows() == before


@pytest.mark.parametrize(
    "value",
    ["0.5", "nan", b"1", None, bytearray(b"1"), memoryview(b"1"), np.array("0.5"), np.complex128(1j), np.array([b"1"])],
    ids=repr,
)
def test_text_is_no_value_of_a_metric_though_it_reads_like_a_number(value: Any, opened: Opened) -> None:
    opened.renew()
    before = opened.rows()
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
    assert opened.trial.evaluations == []
    assert opened.rows() == before


@pytest.mark.parametrize(("seed", "good"), [(0, True), (2**63 - 1, True), (-1, False), (2**63, False)])
def test_the_seeds_are_those_that_can_be_stored(seed: int, good: bool) -> None:
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
def test_an_error_whose_text_is_no_unicode_is_recorded(tmp_path: Path, workers: int) -> None:
    def broken(trials: Any) -> None:
        for trial in trials.attach(lambda trial: {"x": 0.0}):
            dict(trial.hyperparameters)
            if trial.record.failures == 0:
                raise FileNotFoundError("no file a\udcff")
            trial.report(score=1.0)

    study = ph.Study(**{**STUDY, "budget": ph.Budget(trials=2)}, storage=tmp_path / "a.db")
    study.run(broken, workers=workers, verbose=0)
    assert [trial.failures for trial in study.trials()] == [1, 1]
    assert all("no file a\\udcff" in (trial.error or "") for trial in study.trials())


# --- the command line ---------------------------------------------------------------------------------------------

WORDS = st.one_of(
    TEXTS.filter(lambda text: "\x00" not in text),
    st.integers(-3, 12).map(str),
    st.sampled_from(["study", "0", "none", "nan"]),
)
READING = ["studies", "show", "best", "schedule", "resize", "pause", "resume", "stop", "budget", "pin", "doctor", "run"]
OPTIONS = {
    name: [option for parameter in command.params for option in parameter.opts if option.startswith("-")]
    for name, command, _ in (
        (full.removeprefix("phyletic "), command, context) for full, command, context in commands()
    )
}


@pytest.mark.parametrize("name", READING)
@settings(FEW, max_examples=15, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_command_ends_well_or_says_in_a_line_what_is_wrong(name: str, data: st.DataObject, opened: Opened) -> None:
    arguments = data.draw(st.lists(WORDS, max_size=2))
    if name not in ("studies", "doctor", "run") and data.draw(st.booleans()):
        arguments = ["study", *arguments[:1]]
    for option in data.draw(st.lists(st.sampled_from([*OPTIONS[name], "--bad"]), max_size=2)):
        if option not in ("--help", "-h", "--storage"):
            arguments += [option, data.draw(WORDS)]
    if name != "run":
        storage = data.draw(st.sampled_from([str(opened.study.storage)] * 3 + ["none.db", "x", ""]))
        arguments += ["--storage", storage]
    with empty_folder() as elsewhere:
        before, around = opened.rows(), files(elsewhere)
        result = CliRunner().invoke(main, [name, *arguments])
        assert result.exit_code in (0, 1, 2), result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert "--debug shows where" not in result.output, result.output
        assert files(elsewhere) == around
        if result.exit_code != 0:
            assert opened.rows() == before
