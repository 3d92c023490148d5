"""The end of a trial's body: check it, and make the result to tell."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from phyletic.coordinator.messages import Tell
from phyletic.errors import HyperparameterUnused, InvalidArgument
from phyletic.records import CheckpointReference, Timings
from phyletic.space import Space
from phyletic.workers.apply import drift
from phyletic.workers.attempt import PREEMPTED, Attempt
from phyletic.workers.named_settings import unheeded

MakeResult: TypeAlias = Callable[[Attempt, Space, Callable[[Attempt], CheckpointReference | None]], Tell | None]
"""A function such as :func:`result_of`."""


def result_of(attempt: Attempt, space: Space, publish: Callable[[Attempt], CheckpointReference | None]) -> Tell | None:
    """Publish the checkpoint of a trial whose body has ended, and return its result.

    Args:
        attempt: The attempt at the trial.
        space: The study's search space.
        publish: Publishes the trial's checkpoint, and returns None if it has none, or is to be uploaded later.

    Returns:
        The result; None if the worker should give the trial back, because it was asked to stop and nothing says how far
        it came.

    Raises:
        TrainingError: The body broke the contract of the loop.
        CheckpointError: The loaded checkpoint is damaged, or the new one could not be written.
    """
    ended = time.monotonic()
    preempted = attempt.stop == PREEMPTED
    if (attempt.stop and attempt.steps_done == 0) or (preempted and attempt.heeded and not attempt.steps_done):
        return None
    done = attempt.steps_trained
    if done is None:
        raise InvalidArgument(
            "steps_done", None, "reported where the interval is in seconds and trial.range() is not used"
        )
    partial = (preempted or attempt.handed_back) and (attempt.record.steps is None or done < attempt.record.steps)
    drifted = drift(attempt.applied)
    if drifted is not None:
        raise drifted
    if not partial:
        _check_all_used(attempt, space)
        read = attempt.hyperparameters.paths.difference(attempt.values_applied)
        state = {} if attempt.state is None else vars(attempt.state)
        ignored = unheeded(attempt.settings, state, attempt.record, read)
        if ignored is not None:
            raise ignored
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
    end = attempt.record.start_step + done
    return Tell(
        lease=attempt.grant.lease,
        evaluations=tuple(
            # a report from before the last step shows progress
            said if said.step >= end else msgspec.structs.replace(said, kind="progress")
            for said in attempt.evaluations
        ),
        steps_done=done,
        checkpoint=checkpoint,
        partial=partial,
        hopeless=attempt.hopeless,
        timings=timings,
        applied=attempt.values_applied,
        remarks=attempt.remarks,
    )


def _check_all_used(attempt: Attempt, space: Space) -> None:
    """Raise HyperparameterUnused unless the body read or applied each hyperparameter that may change.

    Fixed hyperparameters and constants do not change along a lineage, so ``build`` alone may read them.
    """
    active, used = space.active(attempt.record.hyperparameters), attempt.hyperparameters.paths
    unused = [repr(one.path) for one in active if not one.fixed and one.path not in used]
    if unused:
        raise HyperparameterUnused(
            f"{', '.join(unused)}: neither read nor applied during trial {attempt.record.number}, so exploring it "
            "would change nothing. Read it in the loop's body (trial[name]), apply it (trial.apply(optimizer)), or "
            "mark it fixed=True where it only matters when a member is built"
        )
