"""Trials as a pandas data frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from phyletic.errors import MissingDependency
from phyletic.records import Trial
from phyletic.space import Space

if TYPE_CHECKING:
    import pandas

__all__ = ["trials_dataframe"]


def trials_dataframe(trials: Sequence[Trial], space: Space) -> pandas.DataFrame:
    """Return trials as a data frame, a row a trial.

    Args:
        trials: The trials.
        space: The study's space, for the order of the columns.

    Returns:
        A frame indexed by the trial's number, with the trial's facts, a column ``hyperparameters.<path>`` for each
        hyperparameter, ``metrics.<name>`` for each metric and ``timings.<part>`` for each part of its time.

    Raises:
        MissingDependency: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise MissingDependency("pandas", "pandas", "a data frame of the trials") from None
    known = [*space.parameters, *space.constants]
    paths = known + [path for trial in trials for path in trial.hyperparameters if path not in known]
    names = list(dict.fromkeys(name for trial in trials for name in trial.metrics))
    frame = pd.DataFrame([_row(trial, list(dict.fromkeys(paths)), names) for trial in trials])
    if not trials:
        return frame
    for column in ("parent", "donor", "end_step", "steps"):
        frame[column] = frame[column].astype("Int64")
    for column in ("created", "started", "finished"):
        frame[column] = pd.to_datetime(frame[column], unit="s", utc=True)
    return frame.set_index("number")


def _row(trial: Trial, paths: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "number": trial.number,
        "member": trial.member,
        "generation": trial.generation,
        "parent": trial.parent,
        "state": str(trial.state),
        "score": trial.score,
        "decision": trial.decision.kind,
        "donor": trial.decision.donor,
        "start_step": trial.start_step,
        "end_step": trial.end_step,
        "steps": trial.steps,
        "worker": trial.worker,
        "attempts": trial.attempts,
        "failures": trial.failures,
        "seed": trial.seed,
        "checkpoint": None if trial.checkpoint is None else trial.checkpoint.id,
        "created": trial.created,
        "started": trial.started,
        "finished": trial.finished,
        "error": trial.error,
    }
    row.update({f"hyperparameters.{path}": trial.hyperparameters.get(path) for path in paths})
    row.update({f"metrics.{name}": trial.metrics.get(name) for name in names})
    row.update({f"timings.{part}": spent for part, spent in msgspec.structs.asdict(trial.timings).items()})
    return row
