"""How to call each public function, with good arguments, and a collection of wrong values for them."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

import phyletic as ph
from phyletic import plots, simulate
from phyletic.errors import PhyleticError
from phyletic.plots.lines import Line, LinePanel
from phyletic.plots.plane import surface
from phyletic.testing.example import example_study

Call = Callable[..., Any]
Calls = dict[str, tuple[Call, dict[str, Any]]]


class Hostile:
    """An object that raises in every method that a check may call, except ``repr``."""

    def __repr__(self) -> str:
        return "Hostile()"

    def _raise(self, *_: Any) -> Any:
        raise RuntimeError("not to be touched")

    __eq__ = __len__ = __iter__ = __bool__ = __float__ = __int__ = __contains__ = _raise
    __hash__ = None  # type: ignore[assignment]


# values that are wrong for most arguments, by label
WRONG: dict[str, Any] = {
    **{repr(value): value for value in (None, True, 0, -1, 0.5, 1.5, math.inf, 1j)},
    "10**30": 10**30,
    "10**400": 10**400,
    "int64(2)": np.int64(2),
    "''": "",
    "'a/b'": "a/b",
    "'a\\0b'": "a\x00b",
    "'\\ud800'": "\ud800",
    "'xxx'": "x" * 5000,
    "b''": b"",
    "b'\\xff'": b"\xff",
    "[]": [],
    "[0]": [0],
    "[-1]": [-1],
    "[None]": [None],
    "('a/b',1)": ("a/b", 1),
    "()": (),
    "{}": {},
    "{'':0}": {"": 0},
    "{1:2}": {1: 2},
    "{'\\ud800':1}": {"\ud800": 1.0},
    "set()": set(),
    "range(2)": range(2),
    "object()": object(),
    "Hostile()": Hostile(),
    "int": int,
    "print": print,
    "array(1.)": np.array(1.0),
    "array([1,2])": np.array([1, 2]),
    "array([])": np.array([]),
    "Path('x')": Path("x"),
    "PBT": ph.PBT,
    "Budget()": ph.Budget(),
}
NAN: dict[str, Any] = {
    "nan": math.nan,
    "float64(nan)": np.float64("nan"),
    "float32(nan)": np.float32("nan"),
    "Decimal(nan)": Decimal("nan"),
    "array(nan)": np.array(math.nan),
    "[nan]": [math.nan],
    "(nan,nan)": (math.nan, math.nan),
}


def refused(function: Call, *arguments: Any, **named: Any) -> PhyleticError | None:
    """Call a function; return the phyletic error that it raised, if any. Any other error fails the test."""
    try:
        function(*arguments, **named)
    except PhyleticError as error:
        said = str(error)
        assert said.strip()
        assert len(said) < 4000, said[:4000]
        return error
    return None


@contextmanager
def empty_folder() -> Iterator[Path]:
    """Work in a new folder, so that text that is taken for a relative path stays inside it."""
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


# --- calls that need no study -------------------------------------------------------------------------------------

BY_INTERVAL = {"interval": 5, "interval_seconds": None, "synchronous": True}
DEFINITION: dict[str, Any] = {
    "space": {"x": ph.Float(0, 1)}, "metric": "score", "mode": "max", "algorithm": ph.PBT(2, 5), "steps": 10,
}  # fmt: skip
MADE: Calls = {
    "Budget": (ph.Budget, {"steps": 10, "trials": 3, "seconds": 1.5, "target": 0.5, "patience": 5}),
    "PBT": (
        ph.PBT,
        {**BY_INTERVAL, "population": 4, "exploit": ph.Truncation(), "explore": ph.Perturb(), "burn_in": 0,
         "inherit": "both", "compare": "latest", "gate": None, "save_every": None, "early_stopping": None},
    ),
    "ExploreOnly": (ph.ExploreOnly, {**BY_INTERVAL, "population": 4, "explore": ph.Perturb()}),
    "RandomSearch": (ph.RandomSearch, {**BY_INTERVAL, "population": 4}),
    "GridSearch": (ph.GridSearch, {**BY_INTERVAL, "points": 3, "population": None}),
    "RayWorkers": (
        ph.RayWorkers,
        {"count": 4, "num_cpus": 1, "num_gpus": 1, "resources": None, "runtime_env": None, "placement": "PACK",
         "gang": 1, "memory_fraction": 0.5},
    ),
    "RayWorkers elastic": (ph.RayWorkers, {"min": 2, "max": 4}),
    "StudyDefinition": (ph.StudyDefinition, {**DEFINITION, "initial": [{"x": 0.5}]}),
    "suggest": (ph.suggest, {"definition": DEFINITION, "trials": [], "k": 2, "seed": 0}),
    "early_stop": (ph.early_stop, {"definition": DEFINITION, "trials": []}),
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
    "Schedule": (ph.Schedule, {"segments": ()}),
    "Schedule.from_json": (ph.Schedule.from_json, {"text": '{"segments": []}'}),
    "studies": (ph.studies, {"storage": "no.db"}),
    "delete_study": (ph.delete_study, {"name": "study", "storage": "no.db"}),
    "connect": (ph.connect, {"url": "grpc://127.0.0.1:9"}),
    "grid": (lambda values: ph.grid(values), {"values": {"lr": [0.1]}}),
    "example_study": (example_study, {"storage": None, "population": 2, "steps": 2}),
}  # fmt: skip

SIMULATED: Calls = {
    "DriftingCurve": (
        simulate.DriftingCurve,
        {"first": 0.1, "last": 1e-4, "horizon": 200, "width": 1.0, "speed": 0.05, "start": 2.0, "floor": -2.0,
         "noise": 0.0},
    ),
    "Speeds": (
        simulate.Speeds,
        {"step": 1.0, "overhead": 0.0, "spread": 0.0, "straggler": 0.0, "slowness": 100.0, "latency": 0.001},
    ),
    "Faults": (
        simulate.Faults,
        {"cursed": (), "lease": 20.0, "detection": 5.0, "again": 2.0,
         **dict.fromkeys(
             ("crash", "pause", "fail", "not_finite", "damaged", "partial", "uneven", "leave", "join", "lose",
              "duplicate", "delay", "owner", "power", "suspend", "forget", "detached", "cut"),
             0.1,
         )},
    ),
    "simulate": (
        simulate.simulate,
        {"algorithm": ph.PBT(2, 2), "space": None, "workers": 2, "budget": ph.Budget(steps=2),
         "speeds": simulate.Speeds(), "faults": simulate.Faults(), "controls": (), "curve": simulate.DriftingCurve(),
         "mode": "min", "max_failures": 3, "max_losses": 3, "keep_best": 1, "check": True, "seed": 0,
         "messages": "objects"},
    ),
    "simulate_drawn": (simulate.simulate_drawn, {"seed": 1, "messages": "objects"}),
    "drawn_settings": (simulate.drawn_settings, {"seed": 1}),
}  # fmt: skip

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
    "warm_start": None,
}


class Opened:
    """A study on disk with a running trial and some completed ones, and a second study that is finished."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.study = ph.Study(**STUDY, storage=folder / "a.db")
        for score in (1.0, 2.0, math.nan):
            self.study.tell(self.study.ask(), {"score": score}, checkpoint={"weights": np.zeros(2)})
        for kept in (0, 2):  # so that they stay, whatever earlier examples train
            self.study.pin(kept)
        self.trial = self.study.ask()
        self.finished = ph.Study(
            **{**STUDY, "name": "finished", "budget": ph.Budget(trials=1)}, storage=folder / "a.db"
        )
        self.finished.run(nothing, verbose=0)

    def renew(self) -> None:
        """Ensure a running trial without failures, whatever the last example did; a result ends a row of failures."""
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
        """Return all stored rows except those of sessions, and the names of the files beside the database."""
        with self.study.database.read() as connection:
            tables = [name for name in sa.inspect(connection).get_table_names() if name != "session"]
            stored = {
                name: [tuple(row) for row in connection.exec_driver_sql(f"SELECT * FROM {name}")] for name in tables
            }
        stored["files"] = [name for name in files(self.folder) if not name.endswith(("-wal", "-shm"))]
        return {name: [repr(row) for row in rows] for name, rows in stored.items()}


def nothing(trials: Any) -> None:
    for trial in trials.attach(lambda trial: {"x": 0.0}):
        dict(trial.hyperparameters)
        trial.report(score=1.0)


# how to call each method on a study and its running trial; the arguments are good, except for entries whose good
# arguments the method refuses without an effect
METHODS: Calls = {
    "ask": (lambda o, **a: o.study.ask(**a), {"worker": "w", "count": None}),
    "tell": (
        lambda o, metrics, **a: o.study.tell(o.trial, metrics, **a),
        {"metrics": {"score": 1.0}, "checkpoint": {"weights": np.zeros(2)}, "steps_done": 2, "partial": False,
         "loss": 0.5},
    ),
    "tell of something": (lambda o, trial: o.study.tell(trial, {"score": 1.0}), {"trial": None}),
    "tell many": (
        lambda o, metrics, checkpoints, **a: o.study.tell([o.trial], metrics, checkpoint=checkpoints, **a),
        {"metrics": [{"score": 1.0}], "checkpoints": [{"weights": np.zeros(2)}], "steps_done": 2, "partial": False},
    ),
    "fail": (lambda o, **a: o.study.fail(o.trial, **a), {"error": "it broke"}),
    "fail something": (lambda o, **a: o.study.fail(**a, error="it broke"), {"trial": None}),
    "heartbeat": (lambda o, **a: o.study.heartbeat(o.trial, **a), {"step": 1}),
    "heartbeat of something": (lambda o, **a: o.study.heartbeat(**a), {"trial": None}),
    "report": (
        lambda o, values, **a: o.trial.report(values, **a),
        {"values": {"score": 1.0}, "step": 1, "steps_done": 1, "loss": 0.1},
    ),
    "apply": (
        lambda o, target, **a: o.trial.apply(target, **a),
        {"target": {"lr": 0.1}, "group": None, "scheduler": None, "read": None, "fresh": False, "lr": "lr"},
    ),
    "__getitem__": (lambda o, path: o.trial[path], {"path": "lr"}),
    "enqueue": (lambda o, **a: o.study.enqueue(**a), {"values": {"lr": 0.5}}),
    "resize": (lambda o, **a: o.study.resize(**a), {"population": 2}),
    "set_budget": (lambda o, **a: o.study.set_budget(**a), {"budget": STUDY["budget"]}),
    "pin": (lambda o, **a: o.study.pin(**a), {"trial": 1, "keep": True}),
    "stop": (lambda o, **a: o.study.stop(**a), {"now": False}),
    "trial": (lambda o, **a: o.study.trial(**a), {"number": 0}),
    "trials": (lambda o, **a: o.study.trials(**a), {"states": None}),
    "lineage": (lambda o, **a: o.study.lineage(**a), {"trial": 0}),
    "schedule": (lambda o, **a: o.study.schedule(**a), {"trial": 0}),
    "evaluations": (lambda o, **a: o.study.evaluations(**a), {"trial": 0}),
    "reports": (lambda o, **a: o.study.reports(**a), {"metrics": None, "most": 10}),
    "changes": (lambda o, **a: o.study.changes(**a), {"since": -1, "limit": 10}),
    "population_at": (lambda o, **a: o.study.population_at(**a), {"trial": 0}),
    "checkpoint_path": (lambda o, **a: o.study.checkpoint_path(**a), {"trial": 1}),
    "export": (lambda o, **a: o.study.export(**a), {"folder": "/dev/null/no/such", "trial": 2, "build": None}),
    "restore": (
        lambda o, trial, state: o.study.restore(trial, weights=state),
        {"trial": 1, "state": np.ones(2)},
    ),
    "source": (
        lambda o, **a: o.study.source(**a).attach(print),
        {"reload": "changed", "upload": "background", "supervised": True},
    ),
    "attach": (
        lambda o, **a: o.study.source().attach(**a),
        {"build": lambda trial: {}, "save": lambda state, folder: None, "load": lambda folder, state: None},
    ),
    "Schedule.at": (lambda o, **a: o.study.schedule(0).at(**a), {"step": 0}),
    "Schedule.save": (lambda o, **a: o.study.schedule(0).save(**a), {"path": "no/such/folder/x.json"}),
    "replay": (
        lambda o, **a: o.study.replay(**a),
        {"train": nothing, "schedule": None, "seed": 0, "workers": None, "storage": None},
    ),
    "replay with seeds": (
        lambda o, **a: o.study.replay(nothing, **a),
        {"seeds": [1, 2]},
    ),
    "check": (lambda o, **a: o.study.check(**a), {"train": nothing, "steps": None}),
    "run": (
        lambda o, **a: o.finished.run(**a),
        {"train": nothing, "command": None, "workers": 0, "devices": None, "threads": 1, "reload": "changed",
         "upload": "background", "verbose": 0, "trial_timeout": None, "grace": 1.0, "environment": None,
         "callbacks": None, "on_signal": "raise"},
    ),
    "command of run": (lambda o, **a: o.finished.run(**a, workers=0, verbose=0), {"command": ["true"]}),
}  # fmt: skip


# --- pictures -----------------------------------------------------------------------------------------------------


def drawn_study() -> ph.Study:
    """Return a small study with the data that every picture needs."""
    study = ph.Study(
        "drawn",
        space={"lr": ph.Float(0.1, 1)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(2, 1, synchronous=True),
        budget=ph.Budget(steps=1),
        seed=0,
    )
    for trial in study:
        trial.report(score=trial["lr"], x=trial["lr"], y=1 - trial["lr"])
    return study


def pictures() -> Calls:
    """Return the calls of the functions that draw."""
    study = drawn_study()
    trials = {"trials": study.trials()}
    metric = {"metric": study.metrics[0]}
    space = {"space": study.space}
    paths = {"hyperparameters": None}
    lines = {"labels": None, "colours": None, "ax": None}
    reports = {"reports": None, "intervals": True}
    below = {
        "surface": surface(lambda places: places[..., 0], (0, 1), (0, 1), levels=[0.2, 0.5], points=3),
        "coordinates": ("x", "y"),
    }
    panel = LinePanel(title="a", x="x", y="y", lines=(Line(xs=(0.0, 1.0), ys=(1.0, 2.0)),))
    return {
        "plots.plot": (plots.plot, {"study": study, "kind": "scores", "metric": None}),
        "plots.plot with options": (
            lambda hyperparameters: plots.plot(study, "schedule", hyperparameters=hyperparameters),
            paths,
        ),
        "plots.scores": (plots.scores, {**trials, **metric, **lines, **reports, "colour": "founder"}),
        "plots.summary": (
            plots.summary,
            {**trials, **space, **metric, "title": "t", "reports": None, "labels": None, "colours": None},
        ),
        "plots.schedule": (plots.schedule, {**trials, **space, **metric, **paths, **lines, "colour": "founder"}),
        "plots.lineage_tree": (plots.lineage_tree, {**trials, **metric, **lines, "colour": "founder"}),
        "plots.parallel_coordinates": (plots.parallel_coordinates, {**trials, **space, **metric, **paths, "ax": None}),
        "plots.parameters": (
            plots.parameters,
            {**trials, **space, **metric, **paths, **lines, **reports, "pair": ("lr", "x"), "colour": "founder"},
        ),
        "plots.animate": (
            plots.animate,
            {**trials, **space, **metric, **lines, **reports, "kind": "scores", "pair": None, "colour": "founder",
             "frames": 1, "seconds": 1.0, "dpi": 10},
        ),
        "plots.landscape": (plots.landscape, {**trials, **metric, **below, "origin": None, "title": "t"}),
        "plots.landscape_animation": (
            plots.landscape_animation, {**trials, **metric, **below, "seconds": 0.1, "width": 1.0},
        ),
        "plots.lines": (plots.lines, {"panels": [panel], "columns": 2}),
        "plots.side_by_side": (
            plots.side_by_side,
            {**metric, **below, "runs": {"a": study.trials()}, "origin": None, "target": None,
             "names": ("a", "b", "c"), "title": "t"},
        ),
        "plots.Animation": (plots.Animation, {"gif": b""}),
        "plots.Animation.save": (plots.Animation(b"").save, {"path": "no/such/folder/x.gif"}),
    }  # fmt: skip
