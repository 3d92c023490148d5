"""What is checked when the body of a trial has ended."""

from __future__ import annotations

import msgspec

from phyletic.errors import HyperparameterUnused, InvalidArgument
from phyletic.records import Evaluation, Value
from phyletic.space import Space
from phyletic.workers.apply import drift
from phyletic.workers.trial import LiveTrial

__all__ = ["check_unused", "check_values", "final_evaluations", "steps_trained"]


def steps_trained(trial: LiveTrial) -> int:
    """Return the steps done: said in a report, else counted by ``range``, else all that were asked for.

    Raises:
        InvalidArgument: Nothing says how many they were.
    """
    done = trial.steps_done
    if done is None:
        done = trial.steps_asked
    if done is None:
        raise InvalidArgument(
            "steps_done", None, "reported where the interval is in seconds and trial.range() is not used"
        )
    return done


def final_evaluations(trial: LiveTrial, steps_done: int) -> tuple[Evaluation, ...]:
    """Return all that was reported; what was measured before the last step is marked as progress."""
    end = trial.start_step + steps_done
    return tuple(
        evaluation if evaluation.step >= end else msgspec.structs.replace(evaluation, kind="progress")
        for evaluation in trial.evaluations
    )


def check_values(trial: LiveTrial) -> dict[str, Value]:
    """Read again what was applied; returns what took effect, by path.

    Raises:
        HyperparameterDrift: A value is no longer what was applied.
    """
    if not trial.applied:
        return {}
    error = drift(trial.applied)
    if error is not None:
        raise error
    return {path: value for applied in trial.applied for path, value in applied.values.items()}


def check_unused(trial: LiveTrial, space: Space) -> None:
    """Raise HyperparameterUnused where a hyperparameter that may change was neither read nor applied.

    Fixed hyperparameters and constants do not change along a lineage, so ``build`` alone may read them.
    """
    read = trial.hyperparameters.paths
    unused = [
        parameter.path
        for parameter in space.active(trial.record.hyperparameters)
        if not parameter.fixed and parameter.path not in read
    ]
    if unused:
        names = ", ".join(repr(path) for path in unused)
        raise HyperparameterUnused(
            f"{names}: neither read nor applied during trial {trial.number}, so exploring it would change nothing. "
            "Read it in the loop's body (trial[name]), apply it (trial.apply(optimizer)), or mark it fixed=True "
            "where it only matters when a member is built"
        )
