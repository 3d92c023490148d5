"""Exploration without selection: the ablation of PBT in which no member copies another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import ClassVar, cast

from phyletic.evolution.algorithm import Reads
from phyletic.evolution.arguments import check_flag, check_integer, check_intervals
from phyletic.evolution.explore import Explore, ExploreFunction, Perturb, rule_name
from phyletic.evolution.population import Population
from phyletic.evolution.suggestion import changes_between, decision_about, drawn_birth, fresh_start, suggestion
from phyletic.evolution.user_function import as_rule
from phyletic.randomness import RandomStream
from phyletic.records import Suggestion
from phyletic.space import Space
from phyletic.unknown_arguments import explain_unknown_arguments


@explain_unknown_arguments
@dataclass(frozen=True)
class ExploreOnly:
    """Explore only: after every trial each member changes its own hyperparameters, and no member copies another.

    This is PBT without selection: hyperparameters wander, weights stay with their member. A comparison with PBT at
    equal steps shows what choosing winners adds; a comparison with :class:`RandomSearch` shows what changing
    hyperparameters does by itself. As in random search, a member whose score is not finite trains on, and a member
    that failed starts afresh with newly drawn values.

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
        Perturb(factors=(0.5, 2.0), resample_probability=0.1)
    """

    population: int = 8
    interval: int | None = None
    _: KW_ONLY
    interval_seconds: float | None = None
    explore: Explore | ExploreFunction | Sequence[Explore | ExploreFunction] = field(default_factory=Perturb)
    synchronous: bool = False
    reads: ClassVar[Reads] = Reads()

    def __post_init__(self) -> None:
        check_integer("population", self.population, 1)
        check_intervals(self.interval, self.interval_seconds)
        object.__setattr__(self, "explore", as_rule(self.explore))
        check_flag("synchronous", self.synchronous)

    @property
    def rule(self) -> Explore:
        """The explore rule made from ``explore``."""
        return cast(Explore, self.explore)

    birth = drawn_birth

    def population_size(self, space: Space) -> int:
        """Return ``population``."""
        return self.population

    def suggest(self, population: Population, member: int, stream: RandomStream) -> Suggestion:
        """Decide a member's next trial; see :meth:`Algorithm.suggest`."""
        view = population.view(member)
        head = view.trial
        if view.failed or head is None:
            return fresh_start(self, population, view, population.space.sample(stream))
        own = head.hyperparameters
        explored = self.rule.explore(population.space, own, stream)
        changes = changes_between(own, own, explored.values, explored.how)
        decision = decision_about(view, "explore", population, explored=rule_name(self.rule), changes=changes)
        return suggestion(self, head.number, explored.values, decision)
