"""Saves within a trial: a retry goes on from the latest one, with the same hyperparameters and no decision.

The id of a save follows from the id of its attempt's checkpoint and a count, so no message is needed before it is
published, and the bytes that a dead worker published and never told are known all the same.
"""

from __future__ import annotations

import hashlib

import msgspec

from phyletic.coordinator.heartbeats import check_evaluations
from phyletic.coordinator.messages import Done, Save
from phyletic.coordinator.state import OpenTrial, StudyState
from phyletic.errors import InvalidArgument, LeaseLost
from phyletic.records import SavedState, Trial
from phyletic.storage.changes import Changes, TrialUpdate


def save_id(checkpoint: str, count: int) -> str:
    """Return the id of an attempt's save.

    Args:
        checkpoint: The id under which the attempt publishes its checkpoint.
        count: Which save of the attempt it is, from 1.
    """
    return hashlib.blake2b(f"{checkpoint} {count}".encode(), digest_size=16).hexdigest()


def saves_of(trial: Trial) -> int:
    """Return how many saves the latest attempt of an open trial has told."""
    return 0 if trial.saved is None or trial.saved.attempt != trial.attempts else trial.saved.count


def save(state: StudyState, changes: Changes, command: Save) -> Done:
    """Record a save of a running attempt (idempotent), and let go of the one before it.

    Args:
        state: The study's state.
        changes: Where the rows go.
        command: What was saved.

    Raises:
        LeaseLost: The attempt's lease was granted again or has ended.
        InvalidArgument: The id is not that of the attempt's next save, the step is not within the trial, or it carries
            too many evaluations.
    """
    opened = state.held(command.lease)
    if opened is None or opened.checkpoint is None or opened.lease is None:
        raise LeaseLost(f"trial {command.lease.trial} is no longer held by this session")
    trial, count = opened.trial, saves_of(opened.trial)
    before = trial.saved
    if before is not None and before.checkpoint == command.checkpoint:
        return Done(trial=trial)
    if command.checkpoint.id != save_id(opened.checkpoint, count + 1):
        raise InvalidArgument("checkpoint", command.checkpoint.id, f"the id of save {count + 1} of this attempt")
    if not trial.start_step <= command.step < 2**53:
        raise InvalidArgument("step", command.step, f"at least the trial's start_step, {trial.start_step}")
    check_evaluations(command.evaluations)
    let_go(changes, opened, before)
    saved = SavedState(
        checkpoint=command.checkpoint,
        step=command.step,
        attempt=trial.attempts,
        count=count + 1,
        fence=opened.lease.fence,
        evaluations=command.evaluations,
    )
    after = msgspec.structs.replace(trial, saved=saved)
    changes.updated.append(
        TrialUpdate(trial=after, held=opened.lease, lease=opened.lease, checkpoint=opened.checkpoint)
    )
    state.open[trial.number] = msgspec.structs.replace(opened, trial=after)
    return Done(trial=after)


def void_untold(changes: Changes, opened: OpenTrial) -> None:
    """Condemn the save that the worker of an attempt without a result may have published and not told.

    Args:
        changes: Where the rows go.
        opened: The trial, as it ran.
    """
    if opened.checkpoint is not None and opened.lease is not None:
        untold = save_id(opened.checkpoint, saves_of(opened.trial) + 1)
        changes.void.append((untold, opened.trial.number, opened.lease.fence))


def save_every(state: StudyState) -> int | None:
    """Return after how many steps the algorithm has a trial saved; None for never."""
    every: int | None = getattr(state.algorithm, "save_every", None)
    return every


def let_go(changes: Changes, opened: OpenTrial, saved: SavedState | None) -> None:
    """Condemn a save that nothing needs any more.

    Args:
        changes: Where the rows go.
        opened: The trial.
        saved: The save; None does nothing.
    """
    if saved is not None:
        changes.void.append((saved.checkpoint.id, opened.trial.number, saved.fence))
