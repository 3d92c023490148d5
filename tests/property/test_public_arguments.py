"""A table lists the values that each public argument takes; all others are refused without a trace."""

from __future__ import annotations

import importlib
import inspect
import itertools
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from public_calls import (
    MADE,
    METHODS,
    NAN,
    SIMULATED,
    STUDY,
    WRONG,
    Call,
    Opened,
    empty_folder,
    files,
    pictures,
    refused,
)

import phyletic as ph
from phyletic import plots, simulate, testing
from phyletic.errors import InvalidArgument, PhyleticError

PICTURES = pictures()


_numbers = itertools.count()


def created(**given: Any) -> None:
    """Create a study in a new file of this folder, or in the given storage."""
    ph.Study(**{"storage": f"{next(_numbers)}.db", **given}).close()


CREATED: dict[str, tuple[Call, dict[str, Any]]] = {
    "Study": (created, {**STUDY, "checkpoints": None, "cache_bytes": None, "store_timeout": None}),
    "Study in": (lambda storage: created(**STUDY, storage=storage), {"storage": "other.db"}),
}
ALONE = {**MADE, **SIMULATED, **PICTURES}

# labels of the wrong values that some arguments take, and these arguments; an unlisted argument takes none of them
TAKES = {
    "'a/b'": "Study.name Study.metric StudyDefinition.metric delete_study.name",
    "'' 'a/b' 'xxx'": "plots.summary.title plots.landscape.title plots.side_by_side.title",
    "'' 'a/b' 'a\\0b' '\\ud800' 'xxx'": "fail.error",
    "None 'a/b'": "ask.worker",
    "None 'a/b' Path('x')": "Study.checkpoints",
    "'a/b' Path('x')": "export.folder",
    "b'' b'\\xff'": "plots.Animation.gif",
    "None": """RayWorkers.min Budget.steps Budget.trials Budget.patience apply.read PBT.interval_seconds
        PBT.gate PBT.save_every ExploreOnly.interval_seconds
        RandomSearch.interval_seconds GridSearch.interval_seconds GridSearch.population Float.limits Int.limits
        StudyDefinition.steps studies.storage example_study.storage example_study.steps simulate.space Study.sampling
        Study.cache_bytes Study.store_timeout Study.warm_start replay.storage
        Study.max_failures Study.max_losses Study.keep_best Study.storage ask.count tell.trial fail.trial
        heartbeat.trial apply.group apply.scheduler replay.schedule run.command run.threads
        run.trial_timeout plots.plot.metric plots.schedule.metric plots.parameters.metric plots.parameters.pair
        plots.parameters.hyperparameters plots.animate.pair plots.scores.ax plots.schedule.ax plots.lineage_tree.ax
        plots.parameters.ax plots.parallel_coordinates.ax plots.animate.ax export.build""",
    "True": """PBT.synchronous ExploreOnly.synchronous RandomSearch.synchronous GridSearch.synchronous Float.log
        Float.fixed Int.log Int.fixed Ordinal.fixed simulate.check tell.partial pin.keep stop.now source.supervised
        apply.fresh plots.scores.intervals plots.parameters.intervals plots.animate.intervals""",
    "None True": "Choice.fixed",
    "True 0": "run.verbose",
    # whole numbers
    "0": "PBT.burn_in Schedule.at.step",
    "int64(2)": "Int.high",
    "None int64(2)": "Int.step tell.steps_done report.steps_done check.steps",
    "0 int64(2)": """suggest.seed simulate.seed simulate_drawn.seed drawn_settings.seed trial.number evaluations.trial
        population_at.trial pin.trial""",
    "None 0 int64(2)": """Study.seed heartbeat.step report.step lineage.trial schedule.trial replay.seed run.workers
        checkpoint_path.trial restore.trial replay.workers export.trial""",
    "0 -1": "changes.since",
    "0 -1 int64(2)": "Int.low",
    # real numbers
    "0.5": "Truncation.fraction TTest.p DriftingCurve.speed",
    "1.5": "plots.landscape_animation.width",
    "0 0.5": """Perturb.resample_probability Gaussian.resample_probability Resample.probability Speeds.straggler
        Faults.crash Faults.pause Faults.fail Faults.not_finite Faults.damaged Faults.partial Faults.uneven Faults.leave
        Faults.join Faults.lose Faults.duplicate Faults.delay Faults.owner Faults.power Faults.suspend Faults.forget
        Faults.detached Faults.cut""",
    "0.5 1.5": """Speeds.step Speeds.slowness Faults.lease Faults.detection Faults.again plots.animate.seconds
        plots.landscape_animation.seconds""",
    "1.5 int64(2)": "Float.high",
    "0 -1 0.5": "Float.low",
    "0 0.5 1.5": "Speeds.overhead Speeds.spread Speeds.latency",
    "0 -1 0.5 1.5": "DriftingCurve.floor",
    "0 -1 0.5 1.5 10**30": "DriftingCurve.start",
    "0.5 1.5 10**30": "Gaussian.scale DriftingCurve.first DriftingCurve.last DriftingCurve.width run.grace",
    "0.5 10**30": "RayWorkers.num_gpus",
    "None 0.5": "RayWorkers.memory_fraction Float.step",
    "0 0.5 1.5 10**30": "RayWorkers.num_cpus NoiseGate.k NoiseGate.a DriftingCurve.noise",
    "None 0.5 1.5 10**30": "Budget.seconds",
    "None 0 -1 0.5 1.5 10**30": "Budget.target plots.side_by_side.target",
    "True 0 -1 0.5 1.5 inf 10**30 int64(2) array(1.)": "tell.loss report.loss",
    # sequences and mappings
    "{}": "GridSearch.points Space.definition",
    "None {}": """RayWorkers.resources RayWorkers.runtime_env report.values run.environment
        grid.values plots.scores.reports plots.summary.reports
        plots.parameters.reports
        plots.animate.reports""",
    "None [] () {}": """plots.scores.labels plots.scores.colours plots.summary.labels plots.summary.colours
        plots.schedule.labels plots.schedule.colours plots.lineage_tree.labels plots.lineage_tree.colours
        plots.parameters.labels plots.parameters.colours plots.animate.labels plots.animate.colours""",
    "None {} {'':0}": "tell.checkpoint",
    "[] ()": "Schedule.segments simulate.controls StudyDefinition.initial suggest.trials early_stop.trials",
    "None [] ()": """run.callbacks Study.initial plots.plot.hyperparameters plots.schedule.hyperparameters
        plots.parallel_coordinates.hyperparameters reports.metrics""",
    "None [] () set()": "trials.states",
    "None [0] ('a/b',1) range(2)": "run.devices",
    "None [None]": "tell.checkpoints",
    "None [0] range(2)": "replay.seeds",
    "[] [0] () range(2)": "Faults.cursed",
    "None range(2)": "plots.landscape.origin plots.side_by_side.origin",
    "[0] [-1] [None] ('a/b',1) range(2) array([1,2])": "Choice.options Ordinal.values",
    # objects and functions
    "Budget()": "set_budget.budget",
    "None Budget()": "Study.budget",
    "print": "PBT.explore ExploreOnly.explore",
    "None [] [None] () print": "PBT.early_stopping",
    "int print PBT": "attach.save attach.load",
    " ".join(WRONG): "restore.state",
}
TAKEN = {argument: set(labels.split()) for labels, arguments in TAKES.items() for argument in arguments.split()}
# metric values, and the state that a checkpoint is loaded into, may be NaN
SCALARS = {label for label, value in NAN.items() if np.ndim(value) == 0}
TAKES_NAN = {"tell.loss": SCALARS, "report.loss": SCALARS, "restore.state": set(NAN)}
# names that an error uses instead of the argument
NAMES = {
    "report.values": ["metrics"],
    "enqueue.values": ["values", "parameter"],
    "trial.number": ["trial"],
    "Space.definition": ["space"],
    "command.command": ["command", "train"],
    "Float.low": ["low", "high"],
    "RayWorkers.max": ["max", "min", "count"],
    "RayWorkers.num_gpus": ["num_gpus", "memory_fraction"],
    "Study.metric": ["metric", "mode"],
    "Study.space": ["space", "parameter"],
    "StudyDefinition.space": ["space", "parameter"],
    "tell.trial": ["trial", "metrics"],
    "tell.checkpoints": ["checkpoint"],
}
# other errors that need not say what is allowed
ERRORS: dict[str, tuple[type[PhyleticError], ...]] = {
    "Study.space": (ph.errors.NotFound,),
    "delete_study.storage": (ph.errors.NotFound,),
    "connect.url": (ph.errors.Unreachable,),
    "tell.metrics": (ph.errors.MetricMissing,),
    "tell.checkpoint": (ph.errors.StateUnsupported,),
    **dict.fromkeys(
        ["apply.target", "apply.group", "apply.scheduler", "apply.read", "apply.lr"], (ph.errors.ApplyFailed,)
    ),
    **dict.fromkeys(
        ["__getitem__.path", "pin.trial", "checkpoint_path.trial", "restore.trial", "export.trial"],
        (ph.errors.NotFound,),
    ),
}


def check_each(
    name: str,
    table: dict[str, tuple[Call, dict[str, Any]]],
    values: dict[str, Any],
    taken: Callable[[str], set[str]],
    *,
    around: Callable[[], object],
    before: Callable[[], None] = lambda: None,
    give: tuple[Any, ...] = (),
) -> None:
    """Call a function with each argument replaced by each value; check that it takes exactly the expected ones.

    Args:
        name: The entry of the table to call.
        table: The calls with good arguments.
        values: The values to try, by label.
        taken: Returns the labels of the values that an argument takes.
        around: Returns everything that a call could have written.
        before: Called before each call.
        give: Positional arguments of every call.
    """
    call, good = table[name]
    before()
    first = refused(call, *give, **good)
    for argument in good:
        key = f"{name.split()[0]}.{argument}"
        took = set()
        for label, value in values.items():
            if argument in ("train", "build") and callable(value):
                continue  # the study would call it
            before()
            seen = around()
            error = refused(call, *give, **{**good, argument: value})
            if error is None or str(error) == str(first):
                took.add(label)
                continue
            assert around() == seen, (key, label)
            if not isinstance(error, ERRORS.get(key, ())):
                assert isinstance(error, InvalidArgument), (key, label, error)
                named, _, allowed = str(error).partition(" is ")
                assert any(word in named for word in NAMES.get(key, [argument])), (key, label, error)
                assert ", but must be " in allowed, (key, label, error)
        assert took == taken(key), f"{key} takes {sorted(took)}, in the table are {sorted(taken(key))}"


def right(key: str) -> set[str]:
    return TAKEN.get(key, set())


def not_a_number(key: str) -> set[str]:
    return TAKES_NAN.get(key, set())


VALUES = pytest.mark.parametrize(("values", "taken"), [(WRONG, right), (NAN, not_a_number)], ids=["wrong", "nan"])


@VALUES
@pytest.mark.parametrize("name", ALONE)
def test_calls_without_a_study_take_the_values_in_the_table(name: str, values: dict[str, Any], taken: Any) -> None:
    with empty_folder() as elsewhere:
        check_each(name, ALONE, values, taken, around=lambda: files(elsewhere))


@VALUES
@pytest.mark.parametrize("name", CREATED)
def test_a_study_is_created_with_the_values_in_the_table(name: str, values: dict[str, Any], taken: Any) -> None:
    with empty_folder() as elsewhere:
        check_each(name, CREATED, values, taken, around=lambda: files(elsewhere))


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    return Opened(tmp_path_factory.mktemp("opened"))


@VALUES
@pytest.mark.parametrize("name", METHODS)
def test_each_method_takes_the_values_in_the_table(
    name: str, values: dict[str, Any], taken: Any, opened: Opened, capsys: pytest.CaptureFixture[str]
) -> None:
    with empty_folder() as elsewhere:
        check_each(
            name,
            METHODS,
            values,
            taken,
            around=lambda: (opened.rows(), files(elsewhere)),
            before=opened.renew,
            give=(opened,),
        )


# --- the tables are complete --------------------------------------------------------------------------------------

# public names that users do not call with arguments, and why
NOT_CALLED = {
    **dict.fromkeys(["Finished", "Wait", "Trial", "TrialState", "LiveTrial"], "a record, made by a study"),
    **dict.fromkeys(["Simulation", "Incidents", "Ledger"], "a record, made by a simulation"),
    **dict.fromkeys(
        ["check_invariants", "check_left", "check_stored"], "takes the coordinator's state, which only tests have"
    ),
}
# names in phyletic.testing that are not test suites but their helpers
PARTS_OF_SUITES = {
    *("facts", "reference", "Case", "completed_trial", "population_of", "simulated"),
    *("Journal", "Train", "build", "draw", "drawing", "start_process", "trained"),
}


def public(module: Any) -> Iterator[tuple[str, Any]]:
    """Yield the callables that a module declares public."""
    for name in module.__all__:
        thing = getattr(module, name)
        if callable(thing):
            yield name, thing


def methods(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods of a class."""
    for name, method in inspect.getmembers(kind, inspect.isfunction):
        if not name.startswith("_") or name == "__getitem__":
            yield name, method


def surface() -> Iterator[tuple[str, str, Any]]:
    """Yield each public callable as (its name in the tables, its readable name, itself)."""
    for module in (ph, simulate):
        yield from ((name, name, thing) for name, thing in public(module))
    yield from ((f"plots.{name}", f"plots.{name}", thing) for name, thing in public(plots))
    for kind in (ph.Study, ph.LiveTrial):
        yield from ((name, f"{kind.__name__}.{name}", method) for name, method in methods(kind))
    for info in pkgutil.iter_modules(testing.__path__):
        for name, thing in public(importlib.import_module(f"phyletic.testing.{info.name}")):
            if not name.endswith("Conformance") and name not in PARTS_OF_SUITES:
                yield name, name, thing


def tabled() -> dict[str, set[str]]:
    """Return the arguments in the tables, by the name of the function."""
    found: dict[str, set[str]] = {}
    for name, (_, good) in {**ALONE, **CREATED, **METHODS}.items():
        found.setdefault(name.split()[0], set()).update(good)
    return found


# for functions that take any further arguments by name
_VAR = inspect.Parameter.VAR_KEYWORD


@pytest.mark.parametrize(
    ("key", "name", "thing"), list(surface()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_argument_of_every_public_callable_is_in_a_table(key: str, name: str, thing: Any) -> None:
    arguments = [
        parameter.name.rstrip("_")
        for parameter in inspect.signature(thing).parameters.values()
        if parameter.name not in ("self", "_") and parameter.kind is not _VAR
    ]
    if name not in NOT_CALLED and arguments:
        assert set(arguments) - tabled().get(key, set()) == set(), name


def test_the_tables_list_only_existing_arguments() -> None:
    known = {f"{name}.{argument}" for name, arguments in tabled().items() for argument in arguments}
    assert {*TAKEN, *TAKES_NAN, *NAMES, *ERRORS} <= known
    names = {name for _, name, _ in surface()}
    assert set(NOT_CALLED) <= names
