"""A population without a store: trials are added as they end, and the next ones are decided from them.

Dry runs, the tests of algorithms and :func:`phyletic.suggest` decide here as a study does: by the same algorithm, from
the same views of the population and the same random streams.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from phyletic.evolution.algorithm import Algorithm
from phyletic.evolution.population import Population
from phyletic.evolution.ranking import MemberView
from phyletic.randomness import RandomStream, trial_seed
from phyletic.records import Suggestion, Trial, TrialState
from phyletic.space import Space

_HISTORY = 64
"""How many scores along a lineage a member's history holds."""


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """A decided trial, and the view that the algorithm had.

    Attributes:
        population: The view of all members.
        suggestion: The algorithm's decision.
        trial: The trial to run.
    """

    population: Population
    suggestion: Suggestion
    trial: Trial


@dataclass
class UnstoredPopulation:
    """The members of a population and their trials.

    Args:
        algorithm: Decides the next trials.
        space: What may vary.
        mode: Which way the score is better.
        seed: The study's seed, from which each decision's random numbers are derived.
        limit: The age in steps at which a member ends; None for no limit.
        initial: Values for the first members, as for ``Study``.
        trials: All trials by number; filled by :meth:`add`.
    """

    algorithm: Algorithm
    space: Space
    mode: Literal["max", "min"]
    seed: int = 0
    limit: int | None = None
    initial: Sequence[Mapping[str, Any]] = ()
    trials: dict[int, Trial] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.size = self.algorithm.population_size(self.space)
        self._views = [MemberView(member=member) for member in range(self.size)]
        self._latest: list[Trial | None] = [None] * self.size
        self._ages = [0] * self.size
        self._measured: dict[int | None, tuple[tuple[float, ...], tuple[tuple[int, float], ...]]] = {None: ((), ())}

    def population(self) -> Population:
        """Return the population as the algorithm sees it now."""
        return Population(
            space=self.space, mode=self.mode, members=tuple(self._views), as_of=len(self.trials), limit=self.limit
        )

    def latest(self, member: int) -> Trial | None:
        """Return a member's latest trial, of any state; None before the first."""
        return self._latest[member]

    def age(self, member: int) -> int:
        """Return the steps that a member has trained along its lineage."""
        return self._ages[member]

    def ended(self, member: int) -> bool:
        """Whether a member has no steps left to train."""
        return self.limit is not None and self._ages[member] >= self.limit and not self._views[member].failed

    def ready(self) -> list[int]:
        """Return the members that have no open trial and steps left to train, in order."""
        return [
            member
            for member, latest in enumerate(self._latest)
            if not (latest is not None and latest.state.open) and not self.ended(member)
        ]

    def decide(self, member: int, number: int, population: Population) -> Decided:
        """Decide a member's next trial; nothing is added.

        Args:
            member: The member.
            number: The trial's number.
            population: The population as the algorithm sees it.
        """
        stream = RandomStream(self.seed, number)
        latest = self._latest[member]
        if latest is None:
            given = self.initial[member] if member < len(self.initial) else None
            suggestion = self.algorithm.birth(self.space, member, given, None, stream)
        else:
            suggestion = self.algorithm.suggest(population, member, stream)
        start = 0 if suggestion.parent is None else self.trials[suggestion.parent].end_step or 0
        left = None if self.limit is None else self.limit - start
        trial = Trial(
            number=number,
            member=member,
            generation=0 if latest is None else latest.generation + 1,
            parent=suggestion.parent,
            hyperparameters=suggestion.hyperparameters,
            start_step=start,
            steps=min((steps for steps in (suggestion.steps, left) if steps is not None), default=None),
            seconds=suggestion.seconds,
            seed=trial_seed(self.seed, number),
            state=TrialState.RUNNING,
            decision=suggestion.decision,
        )
        return Decided(population=population, suggestion=suggestion, trial=trial)

    def add(self, trial: Trial, reported: Sequence[float] = (), *, early_stopped: bool = False) -> None:
        """Add a trial, or replace it by its new state.

        Args:
            trial: The trial: open, completed, partial or failed.
            reported: The values of the metric that it reported, oldest first.
            early_stopped: Whether the algorithm ended it early.
        """
        member, reads = trial.member, self.algorithm.reads
        view = self._views[member]
        self.trials[trial.number] = self._latest[member] = trial
        if trial.state is TrialState.FAILED:
            self._views[member] = msgspec.structs.replace(view, failed=True)
            return
        if view.failed or view.early_stopped:
            view = self._views[member] = msgspec.structs.replace(view, failed=False, early_stopped=False)
        if trial.end_step is None:
            return
        self._ages[member] = trial.end_step
        scores, history = self._measured.get(trial.parent, ((), ()))
        if reads.scores:
            scores = (*scores, *reported)[-reads.scores :]
        if reads.history and trial.score is not None:
            history = (*history, (trial.end_step, trial.score))[-_HISTORY:]
        self._measured[trial.number] = scores, history
        if trial.state is TrialState.COMPLETED:
            self._views[member] = MemberView(
                member=member, trial=trial, scores=scores, history=history, early_stopped=early_stopped
            )


def play(
    played: UnstoredPopulation, order: Callable[[list[int]], list[int]] = lambda members: members
) -> Iterator[Decided]:
    """Yield trial after trial until every member has ended.

    The caller runs each trial, and adds its result before asking for the next one. A synchronous algorithm decides
    a whole generation on one view of the population, any other decides each trial on the view of that moment.

    Args:
        played: The population; its trials so far are continued.
        order: Returns the members of a generation in the order of their turns.
    """
    while members := order(played.ready()):
        first, synchronous = len(played.trials), played.algorithm.synchronous
        shared = played.population()
        decided = (
            played.decide(member, first + place, shared if synchronous else played.population())
            for place, member in enumerate(members)
        )
        for case in list(decided) if synchronous else decided:  # a generator decides each trial when its turn comes
            played.add(case.trial)
            yield case
