"""Random search: the control without evolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Literal

from phyletic.evolution.arguments import check_flag, check_integer, check_intervals
from phyletic.evolution.early_stop import TrialCurve
from phyletic.evolution.population import Population
from phyletic.evolution.suggestion import fresh_start, newborn, newborn_values, unchanging
from phyletic.randomness import RandomStream
from phyletic.records import Suggestion
from phyletic.space import Space

__all__ = ["RandomSearch"]


@dataclass(frozen=True)
class RandomSearch:
    """Random search: values are drawn at birth, and nobody ever copies anybody.

    The baseline that population based training is compared with at equal steps: same population, same trials. So a
    member whose score is not finite is not helped: it trains on with its values until its budget is spent, as a run
    outside of phyletic would. A member that failed starts afresh with newly drawn values.

    Args:
        population: Number of members, at least 1.
        interval: Steps of one trial.
        interval_seconds: Seconds of one trial, instead of ``interval``.
        synchronous: Whether members wait for each other.

    Raises:
        InvalidArgument: An argument is of the wrong kind or outside of its range.
    """

    population: int = 8
    interval: int | None = None
    _: KW_ONLY
    interval_seconds: float | None = None
    synchronous: bool = False
    # one score is enough, and no earlier one is read
    window: ClassVar[int] = 1
    uses_history: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_integer("population", self.population, 1)
        check_intervals(self.interval, self.interval_seconds)
        check_flag("synchronous", self.synchronous)

    def population_size(self, space: Space) -> int:
        """Return ``population``."""
        return self.population

    def birth(
        self,
        space: Space,
        member: int,
        given: Mapping[str, Any] | None,
        design_row: Sequence[float] | None,
        stream: RandomStream,
    ) -> Suggestion:
        """Decide a member's first trial; see :meth:`Algorithm.birth`."""
        values = newborn_values(space, given, design_row, stream)
        return newborn(values, self.interval, self.interval_seconds)

    def suggest(self, population: Population, member: int, stream: RandomStream) -> Suggestion:
        """Decide a member's next trial; see :meth:`Algorithm.suggest`."""
        view = population.view(member)
        if view.failed or view.trial is None:
            values = population.space.sample(stream)
            return fresh_start(population, view, values, self.interval, self.interval_seconds)
        return unchanging(population, view, self.interval, self.interval_seconds)

    def early_stop(self, curves: Sequence[TrialCurve], mode: Literal["max", "min"]) -> tuple[int, ...]:
        """Stop none."""
        return ()
