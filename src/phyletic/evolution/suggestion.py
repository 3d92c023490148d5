"""The moves that all algorithms share: a member is born, continues from its own head, or starts afresh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

from phyletic.errors import InvalidArgument
from phyletic.evolution.explore import same
from phyletic.evolution.population import Population
from phyletic.evolution.ranking import MemberView, Ranking
from phyletic.randomness import RandomStream
from phyletic.records import Change, Decision, Suggestion, Value
from phyletic.space import Space

Kind: TypeAlias = Literal["continue", "explore", "exploit", "rescue"]


class Intervals(Protocol):
    """An algorithm whose trials all have the same length; one of the two is None."""

    @property
    def interval(self) -> int | None:
        """Steps of one trial."""
        ...

    @property
    def interval_seconds(self) -> float | None:
        """Seconds of one trial."""
        ...


def suggestion(algorithm: Intervals, parent: int | None, values: dict[str, Value], decision: Decision) -> Suggestion:
    """Suggest a trial of an algorithm's interval.

    Args:
        algorithm: The algorithm whose interval the trial has.
        parent: Number of the trial whose checkpoint it starts from; None for a newborn.
        values: Its hyperparameters by flat path.
        decision: The reason.
    """
    return Suggestion(
        parent=parent,
        hyperparameters=values,
        decision=decision,
        steps=algorithm.interval,
        seconds=algorithm.interval_seconds,
    )


def newborn(algorithm: Intervals, values: dict[str, Value]) -> Suggestion:
    """Suggest the birth of a member with the given hyperparameters."""
    return suggestion(algorithm, None, values, Decision(kind="birth"))


def drawn_birth(
    algorithm: Intervals,
    space: Space,
    member: int,
    given: Mapping[str, Any] | None,
    design_row: Sequence[float] | None,
    stream: RandomStream,
) -> Suggestion:
    """Suggest a member's first trial with values that the user gave, completed by draws, or with drawn ones.

    Algorithms whose members are born like this have it as their method ``birth``; see :meth:`Algorithm.birth`.

    Args:
        algorithm: The algorithm whose interval the trial has.
        space: What may vary.
        member: Its place in the population, from 0.
        given: The user's values, flat or nested, maybe not all; None if the user gave none.
        design_row: A point of the unit cube of ``space.dimensions`` dimensions; None to draw.
        stream: The source of random numbers.

    Raises:
        InvalidSpace: A given value is not in the space.
    """
    if given:
        return newborn(algorithm, space.complete(given, stream))
    return newborn(algorithm, space.sample(stream) if design_row is None else space.from_units(design_row))


def decision_about(
    view: MemberView, kind: Kind, population: Population, ranking: Ranking | None = None, **details: Any
) -> Decision:
    """Return a decision with the member's rank and with the sequence number of the population that it saw.

    Args:
        view: The member.
        kind: As of :class:`Decision`.
        population: The view of all members.
        ranking: The ranking that decided, if it is not the population's.
        **details: The other fields of the decision.
    """
    ranking = population.ranking if ranking is None else ranking
    return Decision(kind=kind, as_of=population.as_of, rank=ranking.place(view), ranked=len(ranking), **details)


def continuation(algorithm: Intervals, view: MemberView, decision: Decision) -> Suggestion:
    """Suggest that a member continues from its own head with the same hyperparameters.

    Args:
        algorithm: The algorithm whose interval the trial has.
        view: The member.
        decision: The reason.

    Raises:
        InvalidArgument: The member has no head.
    """
    head = view.trial
    if head is None:
        raise InvalidArgument("member", view.member, "a member that has completed a trial, or has failed")
    return suggestion(algorithm, head.number, dict(head.hyperparameters), decision)


def unchanging(algorithm: Intervals, population: Population, view: MemberView) -> Suggestion:
    """Suggest that a member continues, whatever its score, as in a search without evolution.

    Args:
        algorithm: The algorithm whose interval the trial has.
        population: The view of all members.
        view: The member.
    """
    return continuation(algorithm, view, decision_about(view, "continue", population))


def fresh_start(algorithm: Intervals, population: Population, view: MemberView, values: dict[str, Value]) -> Suggestion:
    """Suggest that a member starts again, without a parent.

    Args:
        algorithm: The algorithm whose interval the trial has.
        population: The view of all members.
        view: The member.
        values: Its new hyperparameters by flat path.
    """
    changes: tuple[Change, ...] = ()
    if view.trial is not None:
        own = view.trial.hyperparameters
        changes = changes_between(own, own, values, dict.fromkeys(values, "sampled"))
    note = f"{reason_of_rescue(view)}; no donor: started afresh"
    decision = decision_about(view, "rescue", population, changes=changes, note=note)
    return suggestion(algorithm, None, values, decision)


def reason_of_rescue(view: MemberView) -> str:
    """Return why a member cannot go on from its own head, for the person who reads the decision."""
    if view.failed:
        return "its latest trial was given up"
    return "its latest trial was stopped early" if view.early_stopped else "its score is not finite"


def changes_between(
    own: Mapping[str, Value], source: Mapping[str, Value], new: Mapping[str, Value], how: Mapping[str, str]
) -> tuple[Change, ...]:
    """List how a member's hyperparameters became the new ones.

    An explored value differs from the source's value. A value that no rule explored, but that differs from the
    member's own, was inherited. A missing value was dropped with its branch of the space. Applied to ``own``, the
    changes give ``new``.

    Args:
        own: The member's values until now.
        source: The values that were inherited and then explored.
        new: The values from now on.
        how: For each explored path, how it was explored.
    """
    changes = []
    for path, after in new.items():
        if path in how and not (path in source and same(source[path], after)):
            changes.append(Change(path, source.get(path), after, how[path]))
        elif path not in own or not same(own[path], after):
            changes.append(Change(path, own.get(path), after, "inherited"))
    changes.extend(Change(path, before, None, "dropped") for path, before in own.items() if path not in new)
    return tuple(changes)
