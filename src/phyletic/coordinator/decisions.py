"""Decisions: what a member does next, and when a whole generation is decided."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from phyletic.coordinator.budget import done
from phyletic.coordinator.enqueued import take_enqueued
from phyletic.coordinator.state import Member, OpenTrial, StudyState
from phyletic.coordinator.transitions import decide
from phyletic.coordinator.user_errors import guarded
from phyletic.randomness import RandomStream
from phyletic.records import Measured, Suggestion, Trial
from phyletic.records.evaluation import NOTHING_MEASURED
from phyletic.space import Space
from phyletic.space.design import initial_design
from phyletic.storage.changes import Changes


def decide_next(state: StudyState, changes: Changes, number: int, now: float) -> OpenTrial:
    """Decide a member's next trial and insert it as waiting.

    Args:
        state: The study's state.
        changes: Where the row goes.
        number: The member.
        now: Seconds since 1970.

    Raises:
        TrainingError: The algorithm raised; nothing is changed.
    """
    trial = state.counters.next_trial
    suggestion = take_enqueued(state, changes, number, trial, _suggest(state, number, trial))
    return _insert(state, changes, number, suggestion, now)


def close_barrier(state: StudyState, changes: Changes, now: float) -> bool:
    """Decide the whole next generation, in member order, if the present one has ended; returns whether it did.

    Nothing is decided for a study that is done, so that its trials are exactly those that ran; raising its budget
    decides the next generation then.

    Args:
        state: The study's state.
        changes: Where the rows go.
        now: Seconds since 1970.

    Raises:
        TrainingError: The algorithm raised; nothing is changed.
    """
    if not state.algorithm.synchronous or state.busy or done(state):
        return False
    ready = [member.view.member for member in state.population() if not member.ended(state.limit)]
    first = state.counters.next_trial
    suggestions = [(number, _suggest(state, number, first + place)) for place, number in enumerate(ready)]
    for place, (number, suggested) in enumerate(suggestions):
        suggestion = take_enqueued(state, changes, number, first + place, suggested)
        _insert(state, changes, number, suggestion, now)
    return bool(ready)


def _suggest(state: StudyState, number: int, trial: int) -> Suggestion:
    """Ask the algorithm for a member's next trial.

    Args:
        state: The study's state.
        number: The member.
        trial: The number that the trial will have.
    """
    member, stream = state.member(number), RandomStream(state.identity.seed, trial)
    with guarded(f"deciding the next trial of member {number}"):
        if member.latest < 0:
            return _birth(state, number, stream)
        return state.algorithm.suggest(state.population_view(), number, stream)


def _birth(state: StudyState, number: int, stream: RandomStream) -> Suggestion:
    """Ask the algorithm for a member's first trial.

    Args:
        state: The study's state.
        number: The member.
        stream: The source of random numbers.
    """
    identity = state.identity
    given = identity.initial[number] if number < len(identity.initial) else None
    first = int(identity.algorithm.get("population") or state.control.population)
    row = None
    if identity.sampling != "random" and number < first:
        design = _design(state.space, first, identity.sampling, identity.seed)
        row = None if design is None else design[number]
    made = state.algorithm.birth(state.space, number, given, row, stream)
    decision = msgspec.structs.replace(made.decision, as_of=state.counters.sequence)
    return msgspec.structs.replace(made, decision=decision)


@lru_cache(maxsize=4)
def _design(space: Space, count: int, sampling: str, seed: int) -> list[list[float]] | None:
    """Return the initial design, from a cache if possible; None for random sampling.

    Args:
        space: The study's space.
        count: How many points.
        sampling: ``"random"``, ``"latin"`` or ``"sobol"``.
        seed: The study's seed.
    """
    return initial_design(space, count, sampling, seed)  # type: ignore[arg-type]


def _insert(state: StudyState, changes: Changes, number: int, suggestion: Suggestion, now: float) -> OpenTrial:
    """Insert a member's next trial as waiting.

    Args:
        state: The study's state.
        changes: Where the rows go.
        number: The member.
        suggestion: What it is to do.
        now: Seconds since 1970.
    """
    parent, measured = _parent(state, state.member(number), suggestion.parent)
    return decide(state, changes, number, suggestion, now, parent=parent, measured=measured)


def _parent(state: StudyState, member: Member, number: int | None) -> tuple[Trial | None, Measured]:
    """Return the trial that a new one starts from, with what was measured along its lineage.

    Args:
        state: The study's state.
        member: The member that gets the new trial.
        number: The parent's number; None for a newborn.
    """
    if number is None:
        return None, NOTHING_MEASURED
    if member.tip is not None and member.tip.number == number:
        return member.tip, _measured(member)
    holder = state.holder(number)
    if holder is not None:
        head = holder.view.trial
        if head is not None and head.number == number:
            return head, _measured(holder)
        kept = next(
            (trial for trial in (*holder.kept, holder.tip) if trial is not None and trial.number == number), None
        )
        if kept is not None:
            return kept, NOTHING_MEASURED
    for best in state.best:
        if best.number == number:
            return best, NOTHING_MEASURED
    raise AssertionError(f"the algorithm chose trial {number} as parent, which is no head")


def _measured(member: Member) -> Measured:
    scores, history = member.view.scores, member.view.history
    return Measured(scores, history) if scores or history else NOTHING_MEASURED
