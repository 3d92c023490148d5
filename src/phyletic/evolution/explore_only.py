"""Exploration without selection: the ablation of PBT in which nobody copies anybody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, Literal, cast

from phyletic.evolution.arguments import check_flag, check_integer, check_intervals
from phyletic.evolution.early_stop import TrialCurve
from phyletic.evolution.explore import Explore, ExploreFunction, Perturb, rule_name
from phyletic.evolution.population import Population
from phyletic.evolution.suggestion import changes_between, fresh_start, newborn, newborn_values
from phyletic.evolution.user_function import as_rule
from phyletic.randomness import RandomStream
from phyletic.records import Decision, Suggestion
from phyletic.space import Space

__all__ = ["ExploreOnly"]


@dataclass(frozen=True)
class ExploreOnly:
    """Explore only: after every trial each member changes its own hyperparameters, and nobody copies anybody.

    What PBT would be without selection: hyperparameters wander, weights stay where they are. Compared with it at equal
    steps, PBT shows what choosing winners adds to changing hyperparameters at all; compared with
    :class:`RandomSearch`, it shows what changing them does by itself. As there, a member whose score is not finite is
    not helped, and one that failed starts afresh with newly drawn values.

    Args:
        population: Number of members, at least 1.
        interval: Steps of one trial.
        interval_seconds: Seconds of one trial, instead of ``interval``.
        explore: How a member's hyperparameters change, as for :class:`PBT`.
        synchronous: Whether members wait for each other.

    Raises:
        InvalidArgument: An argument is of the wrong kind or outside of its range.

    Source: Jaderberg et al. 2017 (arXiv 1711.09846), figure 2, "explore only".

    Example:
        >>> ExploreOnly(population=2, interval=4).rule
        Perturb(factors=(0.8, 1.2), resample_probability=0.0)
    """

    population: int = 8
    interval: int | None = None
    _: KW_ONLY
    interval_seconds: float | None = None
    explore: Explore | ExploreFunction | Sequence[Explore | ExploreFunction] = field(default_factory=Perturb)
    synchronous: bool = False
    # one score is enough, and no earlier one is read
    window: ClassVar[int] = 1
    uses_history: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_integer("population", self.population, 1)
        check_intervals(self.interval, self.interval_seconds)
        object.__setattr__(self, "explore", as_rule(self.explore))
        check_flag("synchronous", self.synchronous)

    @property
    def rule(self) -> Explore:
        """The explore rule that was made from what was given."""
        return cast(Explore, self.explore)

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
        head = view.trial
        if view.failed or head is None:
            values = population.space.sample(stream)
            return fresh_start(population, view, values, self.interval, self.interval_seconds)
        own = head.hyperparameters
        explored = self.rule.explore(population.space, own, stream)
        ranking = population.ranking
        decision = Decision(
            kind="explore",
            as_of=population.as_of,
            rank=ranking.place(view),
            ranked=len(ranking),
            explored=rule_name(self.rule),
            changes=changes_between(own, own, explored.values, explored.how),
        )
        return Suggestion(
            parent=head.number,
            hyperparameters=explored.values,
            decision=decision,
            steps=self.interval,
            seconds=self.interval_seconds,
        )

    def early_stop(self, curves: Sequence[TrialCurve], mode: Literal["max", "min"]) -> tuple[int, ...]:
        """Stop none."""
        return ()
