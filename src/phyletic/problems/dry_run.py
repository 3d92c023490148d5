"""Dry runs: the trials of a synchronous study without a store, for many seeds in little time.

Small problems train for microseconds, so a study of them spends its time on making checkpoints and results durable. A
dry run decides by the same algorithm from the same random streams, and hands copies of states from trial to trial in
memory. Its trials have the members, parents, hyperparameters and scores of the study's trials.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from phyletic.coordinator.messages import Grant
from phyletic.errors import InvalidArgument, NotFound
from phyletic.evolution import Algorithm
from phyletic.evolution.unstored_population import UnstoredPopulation, play
from phyletic.records import Lease, Trial, TrialState
from phyletic.space import Space
from phyletic.workers.attempt import Attempt, State
from phyletic.workers.live_trial import LiveTrial, attempt_of


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
        metric: Name of the metric whose last report is a trial's score.
        mode: ``"min"`` if lower scores are better, else ``"max"``.
        algorithm: A synchronous algorithm with an interval of steps.
        steps: The age in steps at which members end.
        target: The score that ends the dry run; None to run until all members have ended.
        seed: As for ``Study``.
        initial: As for ``Study``.

    Returns:
        The trials, in the order in which they ended.

    Raises:
        InvalidArgument: The algorithm is not synchronous, or its interval is in seconds.
        NotFound: A trial did not report the metric.

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
    if not algorithm.synchronous:
        raise InvalidArgument("algorithm", algorithm, "synchronous, with an interval of steps")
    played = UnstoredPopulation(algorithm, Space(dict(space)), mode, seed, steps, initial)
    source = _DryRun(played, metric, target)
    train(source)
    return source.trials


class _DryRun:
    """A source of trials."""

    def __init__(self, played: UnstoredPopulation, metric: str, target: float | None) -> None:
        self.trials: list[Trial] = []
        self._played, self._metric, self._target = played, metric, target

    def attach(self, build: Callable[[LiveTrial], Mapping[str, Any]]) -> Iterator[LiveTrial]:
        generation, parents, states = 0, dict[int, dict[str, Any]](), dict[int, dict[str, Any]]()
        for decided in play(self._played):
            trial = decided.trial
            if trial.seconds is not None:
                allowed = "synchronous, with an interval of steps"
                raise InvalidArgument("algorithm", self._played.algorithm, allowed)
            if trial.generation > generation:
                # parents are trials of the generation before, or the latest trials of members that have ended
                generation, parents, states = trial.generation, states, {}
            live = _live(trial)
            given = build(live) if trial.parent is None else copy.deepcopy(parents[trial.parent])
            vars(live.state).update(given)
            yield live
            states[trial.number] = vars(live.state)
            ended = self._ended(live)
            self.trials.append(ended)
            self._played.add(
                ended, [said.value for said in attempt_of(live).evaluations if said.metric == self._metric]
            )
            if self._reached(ended):
                return

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
        return trial.score >= self._target if self._played.mode == "max" else trial.score <= self._target


def _live(record: Trial) -> LiveTrial:
    lease = Lease(trial=record.number, fence=1, token="", session="dry run")
    attempt = Attempt(Grant(trial=record, lease=lease, checkpoint=""), load_from=_none, save_to=_none)
    attempt.state = State()
    return LiveTrial(attempt)


def _none(checkpoint: str) -> Any:
    raise NotFound("a dry run has no checkpoints: keep what matters in trial.state")
