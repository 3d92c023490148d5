"""A study without a store: the same trials as a synchronous study in memory, for many seeds in little time.

Small problems train for microseconds, so a study of them spends its time on making checkpoints and results durable. A
dry run decides by the same algorithm from the same random streams, hands copies of states from trial to trial in
memory, and forgets them: its trials have the members, parents, hyperparameters and scores of the study's.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from phyletic.coordinator.messages import Grant
from phyletic.errors import InvalidArgument, NotFound
from phyletic.evolution import Algorithm, MemberView, Population
from phyletic.randomness import RandomStream, trial_seed
from phyletic.records import Lease, Suggestion, Trial, TrialState
from phyletic.space import Space
from phyletic.workers.attempt import Attempt
from phyletic.workers.state import State
from phyletic.workers.trial import LiveTrial, attempt_of

__all__ = ["dry_run"]


def dry_run(
    train: Callable[[Any], object],
    *,
    space: Mapping[str, Any],
    metric: str,
    mode: Literal["min", "max"],
    algorithm: Algorithm,
    steps: int,
    target: float | None = None,
    seed: int = 0,
    initial: Sequence[Mapping[str, Any]] = (),
) -> list[Trial]:
    """Run training code as a synchronous study would, and return the trials.

    Training code must keep what matters in ``trial.state`` and draw from ``trial.seed``: no random state is seeded.

    Args:
        train: Called once with a source of trials that has ``attach``.
        space: As for ``Study``.
        metric: What is ranked by; the last value that a trial reports.
        mode: Which way is better.
        algorithm: A synchronous one.
        steps: Age at which members end.
        target: Score at which the study ends.
        seed: As for ``Study``.
        initial: As for ``Study``.

    Raises:
        InvalidArgument: The algorithm does not decide whole generations.

    Example:
        >>> from phyletic.problems import quadratic
        >>> from phyletic.evolution import RandomSearch
        >>> trials = dry_run(
        ...     quadratic.train, space=quadratic.SPACE, initial=quadratic.INITIAL, metric="objective", mode="max",
        ...     algorithm=RandomSearch(2, interval=100, synchronous=True), steps=200,
        ... )
        >>> [round(trial.score, 2) for trial in trials]
        [0.38, 0.38, 0.39, 0.39]
    """
    if not algorithm.synchronous or algorithm.interval is None or algorithm.window > 1 or algorithm.uses_history:
        raise InvalidArgument(
            "algorithm", algorithm, "synchronous, with an interval of steps, and looking at one score of each member"
        )
    source = _DryRun(Space(dict(space)), metric, mode, algorithm, steps, target, seed, initial)
    train(source)
    return source.trials


class _DryRun:
    """A source of trials."""

    def __init__(
        self,
        space: Space,
        metric: str,
        mode: Literal["min", "max"],
        algorithm: Algorithm,
        steps: int,
        target: float | None,
        seed: int,
        initial: Sequence[Mapping[str, Any]],
    ) -> None:
        self.trials: list[Trial] = []
        self._space, self._metric, self._mode, self._algorithm = space, metric, mode, algorithm
        self._steps, self._target, self._seed, self._initial = steps, target, seed, initial
        self._states: dict[int, dict[str, Any]] = {}

    def attach(self, build: Callable[[LiveTrial], Mapping[str, Any]]) -> Iterator[LiveTrial]:
        views = [MemberView(member=member) for member in range(self._algorithm.population_size(self._space))]
        while decided := self._generation(views):
            states = self._states
            self._states = {}
            for record in decided:
                live = _live(record)
                given = build(live) if record.parent is None else copy.deepcopy(states[record.parent])
                vars(live.state).update(given)
                yield live
                self._states[record.number] = vars(live.state)
                ended = self._ended(live)
                self.trials.append(ended)
                views[ended.member] = MemberView(member=ended.member, trial=ended, scores=(ended.score or 0.0,))
                if self._reached(ended):
                    return

    def _generation(self, views: Sequence[MemberView]) -> list[Trial]:
        """Decide the next trial of every member, on one view of them all."""
        population = Population(
            space=self._space, mode=self._mode, members=tuple(views), as_of=len(self.trials), limit=self._steps
        )
        decided: list[Trial] = []
        for view in views:
            if view.trial is not None and (view.trial.end_step or 0) >= self._steps:
                continue
            number = len(self.trials) + len(decided)
            stream = RandomStream(self._seed, number)
            if view.trial is None:
                given = self._initial[view.member] if view.member < len(self._initial) else None
                suggestion = self._algorithm.birth(self._space, view.member, given, None, stream)
            else:
                suggestion = self._algorithm.suggest(population, view.member, stream)
            decided.append(self._record(number, view, suggestion))
        return decided

    def _record(self, number: int, view: MemberView, suggestion: Suggestion) -> Trial:
        start = 0 if suggestion.parent is None else self.trials[suggestion.parent].end_step or 0
        return Trial(
            number=number,
            member=view.member,
            generation=0 if view.trial is None else view.trial.generation + 1,
            parent=suggestion.parent,
            hyperparameters=suggestion.hyperparameters,
            start_step=start,
            steps=min(suggestion.steps or 1, self._steps - start),
            seed=trial_seed(self._seed, number),
            state=TrialState.RUNNING,
            decision=suggestion.decision,
        )

    def _ended(self, live: LiveTrial) -> Trial:
        metrics = {evaluation.metric: evaluation.value for evaluation in attempt_of(live).evaluations}
        if self._metric not in metrics:
            raise NotFound(f"trial {live.number} did not report {self._metric!r}")
        return msgspec.structs.replace(
            live.record,
            state=TrialState.COMPLETED,
            end_step=live.start_step + (attempt_of(live).steps_done or 0),
            score=metrics[self._metric],
            metrics=metrics,
        )

    def _reached(self, trial: Trial) -> bool:
        if self._target is None or trial.score is None or not math.isfinite(trial.score):
            return False
        return trial.score >= self._target if self._mode == "max" else trial.score <= self._target


def _live(record: Trial) -> LiveTrial:
    lease = Lease(trial=record.number, fence=1, token="", session="dry run")
    attempt = Attempt(Grant(trial=record, lease=lease, checkpoint=""), load_from=_none, save_to=_none)
    attempt.state = State()
    return LiveTrial(attempt)


def _none(checkpoint: str) -> Any:
    raise NotFound("a dry run has no checkpoints: keep what matters in trial.state")
