"""The interface of an algorithm: a frozen configuration with pure functions over frozen records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

from phyletic.errors import InvalidArgument
from phyletic.evolution.early_stop import TrialCurve
from phyletic.evolution.population import Population
from phyletic.randomness import RandomStream
from phyletic.records import Suggestion
from phyletic.space import Space


class Reads(msgspec.Struct, frozen=True, kw_only=True):
    """The facts that an algorithm reads besides each member's latest trial; the coordinator keeps no others.

    Attributes:
        scores: How many of the latest evaluations :attr:`MemberView.scores` holds.
        history: Whether :attr:`MemberView.history` is filled.
        curves: Whether ``early_stop`` is called with the reports of trials.
    """

    scores: int = 0
    history: bool = False
    curves: bool = False


@runtime_checkable
class Algorithm(Protocol):
    """Decides what each member of a population does next.

    An algorithm holds no state and knows no store, no clock and no global random state: the same arguments give the
    same answer. It draws from the given stream only. ``phyletic.testing.algorithms``
    holds the tests that every algorithm must pass.

    Your own class needs these methods, and must be a frozen dataclass or a ``msgspec.Struct`` whose fields fit in JSON
    (one of them named ``population``), so that a study can record it and be opened again. If ``reads.curves`` is true
    it also needs ``early_stop(curves, mode)``: the numbers of the running trials that are not worth finishing, given
    the :class:`TrialCurve` of each running trial and of the latest ended ones.
    """

    @property
    def synchronous(self) -> bool:
        """Whether members wait for each other, so that a generation is decided on one view of the population."""
        ...

    @property
    def reads(self) -> Reads:
        """The facts that the algorithm reads besides each member's latest trial."""
        ...

    def population_size(self, space: Space) -> int:
        """Return how many members a study begins with."""
        ...

    def birth(
        self,
        space: Space,
        member: int,
        given: Mapping[str, Any] | None,
        design_row: Sequence[float] | None,
        stream: RandomStream,
    ) -> Suggestion:
        """Decide the first trial of a member.

        Args:
            space: What may vary.
            member: Its place in the population, from 0.
            given: Initial values from the user, flat or nested, maybe not all; None if the user gave none.
            design_row: A point of the unit cube to begin from; None to draw one.
            stream: The source of random numbers.

        Raises:
            InvalidSpace: A given value is not in the space.
        """
        ...

    def suggest(self, population: Population, member: int, stream: RandomStream) -> Suggestion:
        """Decide the next trial of a member that has completed one, or whose latest trial was given up.

        Args:
            population: The view of all members.
            member: The member whose trial is decided.
            stream: The source of random numbers.
        """
        ...


def hopeless_trials(algorithm: Algorithm, curves: Sequence[TrialCurve], mode: Literal["max", "min"]) -> tuple[int, ...]:
    """Return the numbers of the running trials that an algorithm would stop; none unless it reads curves.

    Args:
        algorithm: The algorithm.
        curves: The reports of the running trials and of the latest ended ones.
        mode: Which way the metric is better.
    """
    stops_early: Any = algorithm  # check_algorithm refuses one that reads curves without early_stop
    return tuple(stops_early.early_stop(curves, mode)) if algorithm.reads.curves else ()


def check_algorithm(algorithm: object) -> Algorithm:
    """Return an algorithm, or raise InvalidArgument."""
    if isinstance(algorithm, type) or not isinstance(algorithm, Algorithm):
        raise InvalidArgument(
            "algorithm",
            algorithm,
            "an algorithm, such as ph.PBT(population=8, interval=100)",
            hint="Your own class needs every attribute and method of phyletic.evolution.Algorithm",
        )
    if algorithm.reads.curves and not callable(getattr(algorithm, "early_stop", None)):
        raise InvalidArgument("algorithm", algorithm, "a class with a method early_stop, since it reads curves")
    return algorithm
