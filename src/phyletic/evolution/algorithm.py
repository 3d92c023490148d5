"""What an algorithm is: a frozen configuration and pure functions over frozen records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

from phyletic.errors import InvalidArgument
from phyletic.evolution.early_stop import TrialCurve
from phyletic.evolution.population import Population
from phyletic.randomness import RandomStream
from phyletic.records import Suggestion
from phyletic.space import Space

__all__ = ["Algorithm", "check_algorithm"]


@runtime_checkable
class Algorithm(Protocol):
    """Decides what each member of a population does next.

    An algorithm holds no state and knows no store, no clock and no global random state: the same arguments give the
    same answer. Whatever it draws comes from the stream it is given. ``phyletic.testing.algorithms`` holds the tests
    that any algorithm must pass.

    A class of your own needs these methods and to be a frozen dataclass or a ``msgspec.Struct`` whose fields JSON can
    hold, so that a study can record it and be opened again.
    """

    @property
    def interval(self) -> int | None:
        """Steps of one trial; None where ``interval_seconds`` bounds it."""
        ...

    @property
    def interval_seconds(self) -> float | None:
        """Seconds of one trial; None where ``interval`` bounds it."""
        ...

    @property
    def synchronous(self) -> bool:
        """Whether members wait for each other, so that a generation is decided on one view of the population."""
        ...

    @property
    def window(self) -> int:
        """How many of the latest evaluations :attr:`MemberView.scores` is to hold."""
        ...

    @property
    def uses_history(self) -> bool:
        """Whether :attr:`MemberView.history` is read."""
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
            given: Initial values from the user, flat or nested, maybe not all; None for none.
            design_row: A point of the unit cube to begin from; None to draw.
            stream: Where chance comes from.

        Raises:
            InvalidSpace: A given value is not in the space.
        """
        ...

    def suggest(self, population: Population, member: int, stream: RandomStream) -> Suggestion:
        """Decide the next trial of a member that has completed one, or whose latest trial was given up.

        Args:
            population: What is known of all members.
            member: Whose trial is decided.
            stream: Where chance comes from.
        """
        ...

    def early_stop(self, curves: Sequence[TrialCurve], mode: Literal["max", "min"]) -> tuple[int, ...]:
        """Return the numbers of those running trials that are not worth finishing.

        Args:
            curves: What running trials have reported so far, and what the latest ended ones reported.
            mode: Which way the metric is better.
        """
        ...


def check_algorithm(algorithm: object) -> Algorithm:
    """Return an algorithm, or raise InvalidArgument."""
    if isinstance(algorithm, type) or not isinstance(algorithm, Algorithm):
        raise InvalidArgument("algorithm", algorithm, "an algorithm, such as ph.PBT(population=8, interval=100)")
    return algorithm
