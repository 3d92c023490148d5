"""Values that a user asks for: the next member that is decided gets them, whatever the algorithm suggests."""

from __future__ import annotations

import msgspec

from phyletic.coordinator.messages import Done, Enqueue
from phyletic.coordinator.state import StudyState
from phyletic.errors import InvalidArgument
from phyletic.evolution.explore import belongs_to_weights, same
from phyletic.evolution.suggestion import changes_between
from phyletic.randomness import RandomStream
from phyletic.records import Decision, Event, Suggestion, Value
from phyletic.space import Space
from phyletic.storage.changes import Changes

_MOST = 10_000
HOW = "enqueued"
"""How a value that a user asked for was found, in the changes of a decision."""
REBORN = "born anew with enqueued values"
"""The note of a member that its enqueued values could not continue."""


def check_enqueued(space: Space, values: object) -> dict[str, Value]:
    """Return values to enqueue by flat path, with the choices that they need.

    Args:
        space: The study's space.
        values: The user's values, flat or nested, maybe not all.

    Raises:
        InvalidArgument: There are no values.
        InvalidSpace: A value is not in the space; the message names it.
    """
    if not isinstance(values, dict) or not values:
        raise InvalidArgument("values", values, "a dictionary of hyperparameters, such as {'lr': 0.01}")
    complete = space.complete(values, RandomStream(0))
    given = space.given(values)
    needed = {choice for path in given for choice, _ in space.requires(path)}
    return {path: value for path, value in complete.items() if path in given or path in needed}


def enqueue(state: StudyState, changes: Changes, command: Enqueue, now: float) -> Done:
    """Put values at the end of the queue.

    Args:
        state: The study's state.
        changes: Where the rows go.
        command: The values.
        now: Seconds since 1970.

    Raises:
        InvalidSpace: A value is not in the space.
        InvalidArgument: The queue is full.
    """
    values = check_enqueued(state.space, command.values)
    queue = state.control.enqueued
    if len(queue) >= _MOST:
        raise InvalidArgument("values", command.values, f"enqueued once some of the {_MOST} that wait were used")
    _set_queue(state, changes, (*queue, values))
    changes.events.append(Event(kind="control", at=now, payload={"enqueued": values}))
    return Done()


def take_enqueued(state: StudyState, changes: Changes, number: int, trial: int, suggestion: Suggestion) -> Suggestion:
    """Return a suggestion with the first values of the queue, which is then shorter; as it is if the queue is empty.

    A member keeps its parent, unless the values include a fixed one that the parent's weights do not have: then it is
    born anew with them.

    Args:
        state: The study's state.
        changes: Where the rows go.
        number: The member.
        trial: The number that its trial will have.
        suggestion: What the algorithm suggests.
    """
    queue = state.control.enqueued
    if not queue:
        return suggestion
    values, space = queue[0], state.space
    _set_queue(state, changes, queue[1:])
    before = suggestion.hyperparameters
    new = space.repair({**before, **values}, RandomStream(state.identity.seed, trial, 1))
    reborn = suggestion.parent is not None and any(
        belongs_to_weights(space, space.parameters[path]) and not same(before.get(path), values[path])
        for path in values
    )
    view = state.member(number).view
    own = before if view.trial is None else view.trial.hyperparameters
    if reborn:
        decided = suggestion.decision
        birth = Decision(kind="birth", as_of=decided.as_of, rank=decided.rank, ranked=decided.ranked, note=REBORN)
        return msgspec.structs.replace(suggestion, parent=None, hyperparameters=new, decision=birth)
    decision = msgspec.structs.replace(
        suggestion.decision,
        changes=() if suggestion.parent is None else changes_between(own, before, new, dict.fromkeys(new, HOW)),
        note="; ".join(filter(None, [suggestion.decision.note, HOW])),
    )
    return msgspec.structs.replace(suggestion, hyperparameters=new, decision=decision)


def _set_queue(state: StudyState, changes: Changes, queue: tuple[dict[str, Value], ...]) -> None:
    state.control = msgspec.structs.replace(state.control, enqueued=queue)
    changes.control = state.control
