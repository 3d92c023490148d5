"""The end of a trial's body: what is checked, and what is told of it."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from phyletic.coordinator.messages import Tell
from phyletic.errors import HyperparameterUnused, InvalidArgument
from phyletic.records import CheckpointReference, Evaluation, Timings, Value
from phyletic.space import Space
from phyletic.workers.apply import drift
from phyletic.workers.attempt import PREEMPTED, Attempt

__all__ = ["result_of"]


def result_of(attempt: Attempt, space: Space, publish: Callable[[Attempt], CheckpointReference | None]) -> Tell | None:
    """Return what to tell of a trial whose body has ended, with its checkpoint published.

    Args:
        attempt: The attempt at it.
        space: The study's search space.
        publish: Publishes its checkpoint, if it has one.

    Returns:
        None if it is to be given back, because it was asked to stop and nothing says how far it came.

    Raises:
        TrainingError: The body broke the contract of the loop.
        CheckpointError: What was loaded is damaged, or the checkpoint could not be written.
    """
    ended = time.monotonic()
    preempted = attempt.stop == PREEMPTED
    if (attempt.stop and attempt.steps_done == 0) or (preempted and attempt.heeded and not attempt.steps_done):
        return None
    done = steps_trained(attempt)
    partial = preempted and (attempt.record.steps is None or done < attempt.record.steps)
    applied = check_values(attempt)
    if not partial:
        check_unused(attempt, space)
    evaluations = final_evaluations(attempt, done)
    if attempt.opened is not None:
        attempt.opened.verify()
    checked = time.monotonic()
    checkpoint = publish(attempt)
    if partial and checkpoint is None:
        return None
    trained = attempt.ranged if attempt.ranged is not None else ended
    timings = Timings(
        waiting=attempt.waiting,
        loading=attempt.loading,
        training=trained - attempt.began,
        evaluating=ended - trained,
        saving=time.monotonic() - checked,
    )
    return Tell(
        lease=attempt.grant.lease,
        evaluations=evaluations,
        steps_done=done,
        checkpoint=checkpoint,
        partial=partial,
        hopeless=attempt.hopeless,
        timings=timings,
        applied=applied,
    )


def steps_trained(attempt: Attempt) -> int:
    """Return the steps done: said in a report, else counted by ``range``, else all that were asked for.

    Raises:
        InvalidArgument: Nothing says how many they were.
    """
    done = attempt.steps_done
    if done is None:
        done = attempt.steps_asked
    if done is None:
        raise InvalidArgument(
            "steps_done", None, "reported where the interval is in seconds and trial.range() is not used"
        )
    return done


def final_evaluations(attempt: Attempt, steps_done: int) -> tuple[Evaluation, ...]:
    """Return all that was reported; what was measured before the last step is marked as progress."""
    end = attempt.record.start_step + steps_done
    return tuple(
        evaluation if evaluation.step >= end else msgspec.structs.replace(evaluation, kind="progress")
        for evaluation in attempt.evaluations
    )


def check_values(attempt: Attempt) -> dict[str, Value]:
    """Read again what was applied; returns what took effect, by path.

    Raises:
        HyperparameterDrift: A value is no longer what was applied.
    """
    if not attempt.applied:
        return {}
    error = drift(attempt.applied)
    if error is not None:
        raise error
    return {path: value for applied in attempt.applied for path, value in applied.values.items()}


def check_unused(attempt: Attempt, space: Space) -> None:
    """Raise HyperparameterUnused if a hyperparameter that may change was neither read nor applied.

    Fixed hyperparameters and constants do not change along a lineage, so ``build`` alone may read them.
    """
    read = attempt.hyperparameters.paths
    unused = [
        parameter.path
        for parameter in space.active(attempt.record.hyperparameters)
        if not parameter.fixed and parameter.path not in read
    ]
    if unused:
        names = ", ".join(repr(path) for path in unused)
        raise HyperparameterUnused(
            f"{names}: neither read nor applied during trial {attempt.record.number}, so exploring it would "
            "change nothing. Read it in the loop's body (trial[name]), apply it (trial.apply(optimizer)), or mark it "
            "fixed=True where it only matters when a member is built"
        )
