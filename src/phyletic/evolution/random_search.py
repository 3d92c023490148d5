"""Random search: the control without evolution."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from phyletic.evolution.algorithm import Reads
from phyletic.evolution.arguments import check_flag, check_integer, check_intervals
from phyletic.evolution.population import Population
from phyletic.evolution.suggestion import drawn_birth, fresh_start, unchanging
from phyletic.randomness import RandomStream
from phyletic.records import Suggestion
from phyletic.space import Space
from phyletic.unknown_arguments import explain_unknown_arguments


@explain_unknown_arguments
@dataclass(frozen=True)
class RandomSearch:
    """Random search: values are drawn at birth, and no member ever copies another.

    It is the baseline to compare population based training with at equal steps: same population, same trials. So it
    does not help a member whose score is not finite: the member trains on with its values until its budget is spent,
    as a run outside of phyletic would. A member that failed starts afresh with newly drawn values.

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
    reads: ClassVar[Reads] = Reads()

    def __post_init__(self) -> None:
        check_integer("population", self.population, 1)
        check_intervals(self.interval, self.interval_seconds)
        check_flag("synchronous", self.synchronous)

    birth = drawn_birth

    def population_size(self, space: Space) -> int:
        """Return ``population``."""
        return self.population

    def suggest(self, population: Population, member: int, stream: RandomStream) -> Suggestion:
        """Decide a member's next trial; see :meth:`Algorithm.suggest`."""
        view = population.view(member)
        if view.failed or view.trial is None:
            return fresh_start(self, population, view, population.space.sample(stream))
        return unchanging(self, population, view)
