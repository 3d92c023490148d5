"""Trials as a pandas data frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from phyletic.errors import MissingDependency
from phyletic.records import Timings, Trial
from phyletic.space import Space

if TYPE_CHECKING:
    import pandas

_FACTS: dict[str, Callable[[Trial], Any]] = {
    "number": attrgetter("number"),
    "member": attrgetter("member"),
    "generation": attrgetter("generation"),
    "parent": attrgetter("parent"),
    "state": lambda trial: str(trial.state),
    "score": attrgetter("score"),
    "decision": attrgetter("decision.kind"),
    "donor": attrgetter("decision.donor"),
    "start_step": attrgetter("start_step"),
    "end_step": attrgetter("end_step"),
    "steps": attrgetter("steps"),
    "worker": attrgetter("worker"),
    "attempts": attrgetter("attempts"),
    "failures": attrgetter("failures"),
    "seed": attrgetter("seed"),
    "checkpoint": lambda trial: None if trial.checkpoint is None else trial.checkpoint.id,
    "created": attrgetter("created"),
    "started": attrgetter("started"),
    "finished": attrgetter("finished"),
    "error": attrgetter("error"),
}
_MAY_MISS = ("parent", "donor", "end_step", "steps")
_WHOLE = ("number", "member", "generation", "founder", "start_step", "attempts", "failures", "seed", *_MAY_MISS)
_NUMBERS = ("metrics.", "timings.")


def lineages(trials: Iterable[Trial]) -> dict[int, str]:
    """Return the lineage of each trial as text: its ancestors' numbers and its own, newborn first, a comma after each.

    Args:
        trials: Trials in the order of their numbers. A lineage begins after an ancestor that is not among them.

    Example:
        >>> lineages([])
        {}
    """
    found: dict[int, str] = {}
    for trial in trials:
        before = "" if trial.parent is None else found.get(trial.parent, "")
        found[trial.number] = f"{before}{trial.number},"
    return found


def trials_dataframe(trials: Sequence[Trial], space: Space, metrics: Sequence[str] = ()) -> pandas.DataFrame:
    """Return trials as a data frame, a row a trial.

    The column ``lineage`` is text such as ``"1,6,12,20,"``: the numbers of the ancestors and the trial's own, newborn
    first, with a comma after each. So ``frame[frame.lineage.str.startswith("1,6,")]`` are the descendants of trial 6.
    ``founder`` is the number of the newborn. Among a part of a study's trials, a lineage begins after the latest
    ancestor that was left out.

    Args:
        trials: The trials, in the order of their numbers.
        space: The study's space, for the order of the columns.
        metrics: Names of the study's metrics, which have a column each even if no trial has reported them yet.

    Returns:
        A frame indexed by the trial's number, with the trial's facts, a column ``hyperparameters.<path>`` for each
        hyperparameter, ``metrics.<name>`` for each metric and ``timings.<part>`` for each part of its time. Without
        trials it has the same columns and no row.

    Raises:
        MissingDependency: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise MissingDependency("pandas", "pandas", "a data frame of the trials") from None
    paths = dict.fromkeys(
        [*space.parameters, *space.constants, *(path for one in trials for path in one.hyperparameters)]
    )
    names = dict.fromkeys([*metrics, *(name for one in trials for name in one.metrics)])
    parts = Timings.__struct_fields__
    lineage = lineages(trials)
    columns = [
        *_FACTS,
        "lineage",
        "founder",
        *(f"hyperparameters.{path}" for path in paths),
        *(f"metrics.{name}" for name in names),
    ]
    columns += [f"timings.{part}" for part in parts]

    def row(trial: Trial) -> Iterator[Any]:
        yield from (fact(trial) for fact in _FACTS.values())
        yield lineage[trial.number]
        yield int(lineage[trial.number].partition(",")[0])
        yield from (trial.hyperparameters.get(path) for path in paths)
        yield from (trial.metrics.get(name) for name in names)
        yield from (getattr(trial.timings, part) for part in parts)

    frame = pd.DataFrame([tuple(row(trial)) for trial in trials], columns=columns)
    # an empty or missing column has no values to tell its type from
    frame = frame.astype({column: "Int64" if column in _MAY_MISS else "int64" for column in _WHOLE})
    frame = frame.astype(
        dict.fromkeys(["score", *(column for column in columns if column.startswith(_NUMBERS))], float)
    )
    for column in ("created", "started", "finished"):
        frame[column] = pd.to_datetime(frame[column].astype(float), unit="s", utc=True).astype("datetime64[ns, UTC]")
    return frame.set_index("number")
