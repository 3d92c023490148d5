"""The two moves that every algorithm has: a member goes on by itself, or starts afresh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from phyletic.errors import InvalidArgument
from phyletic.evolution.explore import same
from phyletic.evolution.population import Population
from phyletic.evolution.view import MemberView
from phyletic.randomness import RandomStream
from phyletic.records import Change, Decision, Suggestion, Value
from phyletic.space import Space

__all__ = [
    "changes_between",
    "continuation",
    "fresh_start",
    "newborn",
    "newborn_values",
    "reason_of_rescue",
    "unchanging",
]


def newborn_values(
    space: Space, given: Mapping[str, Any] | None, design_row: Sequence[float] | None, stream: RandomStream
) -> dict[str, Value]:
    """Return a newborn's values: those that are given and the rest drawn, or else a point of the design, or drawn.

    Args:
        space: What may vary.
        given: The user's values, flat or nested, maybe not all; None for none.
        design_row: A point of the unit cube of ``space.dimensions`` dimensions; None to draw.
        stream: Where chance comes from.

    Raises:
        InvalidSpace: A given value is not in the space.
    """
    if given:
        return space.complete(given, stream)
    if design_row is not None:
        return space.from_units(design_row)
    return space.sample(stream)


def newborn(values: dict[str, Value], steps: int | None, seconds: float | None, note: str = "") -> Suggestion:
    """Suggest the birth of a member."""
    decision = Decision(kind="birth", note=note)
    return Suggestion(parent=None, hyperparameters=values, decision=decision, steps=steps, seconds=seconds)


def continuation(view: MemberView, decision: Decision, steps: int | None, seconds: float | None) -> Suggestion:
    """Suggest that a member goes on from its own head with the same hyperparameters.

    Raises:
        InvalidArgument: It has no head.
    """
    head = view.trial
    if head is None:
        raise InvalidArgument("member", view.member, "one that has completed a trial, or has failed")
    return Suggestion(
        parent=head.number, hyperparameters=dict(head.hyperparameters), decision=decision, steps=steps, seconds=seconds
    )


def unchanging(population: Population, view: MemberView, steps: int | None, seconds: float | None) -> Suggestion:
    """Suggest what an algorithm without evolution does: to go on, whatever the score."""
    ranking = population.ranking
    decision = Decision(kind="continue", as_of=population.as_of, rank=ranking.place(view), ranked=len(ranking))
    return continuation(view, decision, steps, seconds)


def fresh_start(
    population: Population, view: MemberView, values: dict[str, Value], steps: int | None, seconds: float | None
) -> Suggestion:
    """Suggest that a member starts again, without a parent."""
    ranking = population.ranking
    changes: tuple[Change, ...] = ()
    if view.trial is not None:
        own = view.trial.hyperparameters
        changes = changes_between(own, own, values, dict.fromkeys(values, "sampled"))
    decision = Decision(
        kind="rescue",
        as_of=population.as_of,
        rank=ranking.place(view),
        ranked=len(ranking),
        changes=changes,
        note=f"{reason_of_rescue(view)}; no donor: started afresh",
    )
    return Suggestion(parent=None, hyperparameters=values, decision=decision, steps=steps, seconds=seconds)


def reason_of_rescue(view: MemberView) -> str:
    """Return why a member does not go on from what it has, for the person who reads the decision."""
    if view.failed:
        return "its latest trial was given up"
    return "its latest trial was stopped early" if view.early_stopped else "its score is not finite"


def changes_between(
    own: Mapping[str, Value], source: Mapping[str, Value], new: Mapping[str, Value], how: Mapping[str, str]
) -> tuple[Change, ...]:
    """List how a member's hyperparameters became what they are.

    A value that was explored changed from the source's value; one that was not explored, but differs from the member's
    own, was inherited; one that is gone was dropped with its branch of the space. Laid over ``own``, the changes give
    ``new``.

    Args:
        own: The member's values until now.
        source: The values that were inherited and then explored.
        new: The values from now on.
        how: For each path that was explored, how.
    """
    changes = []
    for path, after in new.items():
        if path in how and not (path in source and same(source[path], after)):
            changes.append(Change(path, source.get(path), after, how[path]))
        elif path not in own or not same(own[path], after):
            changes.append(Change(path, own.get(path), after, "inherited"))
    changes.extend(Change(path, before, None, "dropped") for path, before in own.items() if path not in new)
    return tuple(changes)
