"""Grid search: the control whose values lie on a grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

from phyletic.evolution.algorithm import Reads
from phyletic.evolution.arguments import check_flag, check_instance, check_integer, check_intervals
from phyletic.evolution.population import Population
from phyletic.evolution.suggestion import fresh_start, newborn, unchanging
from phyletic.randomness import RandomStream
from phyletic.records import Suggestion, Value
from phyletic.space import Space
from phyletic.unknown_arguments import explain_unknown_arguments


@explain_unknown_arguments
@dataclass(frozen=True)
class GridSearch:
    """Grid search: member m trains with point m of a grid, and no member ever copies another.

    A member whose score is not finite trains on; a member that failed starts again at its own point.

    Args:
        interval: Steps of one trial.
        points: The most values that each parameter takes: one number for all, or a number for some paths; then the
            other Floats and Ints are sampled for each member.
        population: Number of members; None for one member per point of the grid. A smaller population takes points
            spread evenly over the grid's order, a larger one begins again from the first.
        interval_seconds: Seconds of one trial, instead of ``interval``.
        synchronous: Whether members wait for each other.

    Raises:
        InvalidArgument: An argument is of the wrong kind or outside of its range.
    """

    interval: int | None = None
    points: int | Mapping[str, int] = 3
    population: int | None = None
    _: KW_ONLY
    interval_seconds: float | None = None
    synchronous: bool = False
    reads: ClassVar[Reads] = Reads()

    def __post_init__(self) -> None:
        check_intervals(self.interval, self.interval_seconds)
        if isinstance(self.points, Mapping):
            for path, count in self.points.items():
                check_instance("points", path, str, "a number, or a dictionary from paths to numbers")
                check_integer(f"points[{path!r}]", count, 1)
            object.__setattr__(self, "points", dict(self.points))
        else:
            check_integer("points", self.points, 1)
        if self.population is not None:
            check_integer("population", self.population, 1)
        check_flag("synchronous", self.synchronous)

    def population_size(self, space: Space) -> int:
        """Return ``population``, or the number of points of the grid."""
        return self.population if self.population is not None else len(space.grid(self.points))

    def point(self, space: Space, member: int) -> dict[str, Value]:
        """Return the values of the grid that belong to a member, without those that are sampled."""
        grid = space.grid(self.points)
        place = member % len(grid)
        if self.population is not None and member < self.population < len(grid):
            place = member * len(grid) // self.population
        return dict(grid[place])

    def birth(
        self,
        space: Space,
        member: int,
        given: Mapping[str, Any] | None,
        design_row: Sequence[float] | None,
        stream: RandomStream,
    ) -> Suggestion:
        """Decide a member's first trial: its point of the grid, or the user's values; see :meth:`Algorithm.birth`."""
        return newborn(self, space.complete(given or self.point(space, member), stream))

    def suggest(self, population: Population, member: int, stream: RandomStream) -> Suggestion:
        """Decide a member's next trial; see :meth:`Algorithm.suggest`."""
        view = population.view(member)
        if view.failed or view.trial is None:
            values = population.space.complete(self.point(population.space, member), stream)
            return fresh_start(self, population, view, values)
        return unchanging(self, population, view)
