"""New trials: births, the next trial of a member, a whole generation."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

import msgspec

from phyletic.coordinator.budget import done, steps_left
from phyletic.coordinator.state import Member, OpenTrial, StudyState
from phyletic.coordinator.user_errors import guarded
from phyletic.evolution import MemberView, Population
from phyletic.randomness import RandomStream, trial_seed
from phyletic.records import Decision, Suggestion, Trial, TrialState
from phyletic.space import Space
from phyletic.space.design import initial_design
from phyletic.storage.changes import Changes

__all__ = ["close_barrier", "decide", "insert_resumed"]

_Measured: TypeAlias = tuple[Trial | None, tuple[float, ...], tuple[tuple[int, float], ...]]
"""A trial to start from, with the latest scores and the history of its lineage."""


def population_view(state: StudyState) -> Population:
    """Return what an algorithm sees of the present population."""
    return Population(
        space=state.space,
        mode=state.mode,
        members=tuple(member.view for member in state.population()),
        as_of=state.counters.sequence,
        limit=state.limit,
    )


def decide(
    state: StudyState, changes: Changes, number: int, now: float, population: Population | None = None
) -> OpenTrial:
    """Decide a member's next trial and insert it as waiting.

    Args:
        state: The draft.
        changes: Where the row goes.
        number: The member.
        now: Seconds since 1970.
        population: The view to decide on, where it is shared by a generation.

    Raises:
        TrainingError: The algorithm raised; nothing is changed.
    """
    member = state.member(number)
    trial_number = state.counters.next_trial
    stream = RandomStream(state.identity.seed, trial_number)
    with guarded(f"deciding the next trial of member {number}"):
        if member.last < 0:
            suggestion = _birth(state, number, stream)
        else:
            view = population if population is not None else population_view(state)
            suggestion = state.algorithm.suggest(view, number, stream)
    return _insert(state, changes, member, suggestion, now, member.generation)


def _birth(state: StudyState, number: int, stream: RandomStream) -> Suggestion:
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
    return initial_design(space, count, sampling, seed)  # type: ignore[arg-type]


def insert_resumed(state: StudyState, changes: Changes, partial: Trial, opened: OpenTrial, now: float) -> None:
    """Insert the rest of a trial that was handed back early: the same hyperparameters, and no decision.

    Args:
        state: The draft.
        changes: Where the row goes.
        partial: The trial that was handed back.
        opened: What it was while it ran: its lineage, which may be a donor's, is that of the rest.
        now: Seconds since 1970.
    """
    assert partial.end_step is not None
    done_steps = partial.end_step - partial.start_step
    suggestion = Suggestion(
        parent=partial.number,
        hyperparameters=dict(partial.hyperparameters),
        decision=Decision(kind="resume", as_of=state.counters.sequence),
        steps=None if partial.steps is None else max(1, partial.steps - done_steps),
        seconds=partial.seconds,
    )
    measured = (partial, opened.scores, opened.history)
    _insert(state, changes, state.member(partial.member), suggestion, now, partial.generation, measured)


def _insert(
    state: StudyState,
    changes: Changes,
    member: Member,
    suggestion: Suggestion,
    now: float,
    generation: int,
    measured: _Measured | None = None,
) -> OpenTrial:
    parent, scores, history = measured if measured is not None else _parent(state, member, suggestion.parent)
    start = 0 if parent is None or parent.end_step is None else parent.end_step
    number = state.counters.next_trial
    trial = Trial(
        number=number,
        member=member.view.member,
        generation=generation,
        parent=suggestion.parent,
        hyperparameters=suggestion.hyperparameters,
        start_step=start,
        steps=steps_left(state, start, suggestion.steps),
        seconds=suggestion.seconds,
        seed=trial_seed(state.identity.seed, number),
        state=TrialState.WAITING,
        decision=suggestion.decision,
        created=now,
    )
    opened = OpenTrial(trial=trial, parent=parent, scores=scores, history=history)
    state.counters = msgspec.structs.replace(state.counters, next_trial=number + 1)
    state.members[trial.member] = msgspec.structs.replace(
        member, open=number, last=number, generation=generation + 1, view=_settled(member.view)
    )
    state.add_open(opened)
    changes.inserted.append((trial, None))
    return opened


def _settled(view: MemberView) -> MemberView:
    # once its next trial is decided, a failed member has been rescued
    if view.failed or view.early_stopped:
        return msgspec.structs.replace(view, failed=False, early_stopped=False)
    return view


def _parent(state: StudyState, member: Member, number: int | None) -> _Measured:
    """Return a trial that a new one may start from, with what was measured along its lineage."""
    if number is None:
        return None, (), ()
    if member.tip is not None and member.tip.number == number:
        return member.tip, member.view.scores, member.view.history
    for other in state.members.values():
        if other.view.trial is not None and other.view.trial.number == number:
            return other.view.trial, other.view.scores, other.view.history
    for other in state.members.values():
        for kept in other.kept:
            if kept.number == number:
                return kept, (), ()
    for kept in state.best:
        if kept.number == number:
            return kept, (), ()
    raise AssertionError(f"the algorithm chose trial {number} as parent, which is no head")


def close_barrier(state: StudyState, changes: Changes, now: float) -> bool:
    """Decide the whole next generation, in member order, if the present one has ended; returns whether it did.

    Nothing is decided for a study that is done, so that its trials are exactly those that ran; raising its budget
    decides it then. When the algorithm raises, the draft is as it was.
    """
    if not state.algorithm.synchronous or done(state):
        return False
    members = state.population()
    if any(member.open is not None for member in members):
        return False
    ready = [member.view.member for member in members if not member.ended(state.limit)]
    if not ready:
        return False
    draft, decided = state.draft(), Changes(expected=changes.expected, counters=changes.counters)
    population = population_view(state)
    for number in ready:
        decide(draft, decided, number, now, population)
    vars(state).update(vars(draft))
    changes.inserted.extend(decided.inserted)
    return True
