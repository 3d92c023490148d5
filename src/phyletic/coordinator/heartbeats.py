"""Heartbeats: what running attempts say on the way, kept in memory, shown, and looked at for early stopping."""

from __future__ import annotations

from collections.abc import Sequence

from phyletic.coordinator.budget import done
from phyletic.coordinator.messages import HOPELESS, MOST_EVALUATIONS, Done, Heartbeat
from phyletic.coordinator.state import Progress, StudyState
from phyletic.coordinator.user_errors import guarded
from phyletic.errors import InvalidArgument, LeaseLost
from phyletic.evolution.algorithm import hopeless_trials
from phyletic.evolution.early_stop import MOST_CURVES, TrialCurve
from phyletic.records import Evaluation, Trial


def record(state: StudyState, command: Heartbeat, now: float) -> Done:
    """Record a heartbeat; the answer says whether the attempt should stop.

    Args:
        state: The study's state.
        command: The heartbeat.
        now: Seconds since 1970.

    Raises:
        InvalidArgument: It carries too many evaluations.
        LeaseLost: The attempt's lease was granted again or has ended.
        TrainingError: The algorithm raised.
    """
    number = command.lease.trial
    check_evaluations(command.evaluations)
    if state.held(command.lease) is None:
        raise LeaseLost(f"trial {number} is no longer held by this session")
    before = state.progress.get(number, Progress(at=now))
    known = before.evaluations
    # said twice, or overtaken by a later one, it says nothing new; after a gap the worker says all of it again
    news = command.evaluations[len(known) - command.first :] if command.first <= len(known) else ()
    evaluations = (*known, *news)
    state.progress[number] = Progress(now, command.step, evaluations, before.hopeless)
    hopeless = before.hopeless or (bool(news) and state.algorithm.reads.curves and _is_hopeless(state, number))
    if hopeless and not before.hopeless:
        state.progress[number] = Progress(now, command.step, evaluations, True)
    return Done(stop=HOPELESS if hopeless else done(state), received=len(evaluations))


def check_evaluations(evaluations: Sequence[Evaluation]) -> None:
    """Raise InvalidArgument if there are more evaluations than one message may carry."""
    if len(evaluations) > MOST_EVALUATIONS:
        raise InvalidArgument("evaluations", f"{len(evaluations)} values", f"at most {MOST_EVALUATIONS} at once")


def _is_hopeless(state: StudyState, number: int) -> bool:
    running = tuple(
        curve_of(state, state.open[trial].trial, said.evaluations, running=True)
        for trial, said in state.progress.items()
        if trial in state.open and said.evaluations
    )
    with guarded(f"looking whether trial {number} is worth finishing"):
        return number in hopeless_trials(state.algorithm, (*state.curves, *running), state.mode)


def curve_of(state: StudyState, trial: Trial, evaluations: Sequence[Evaluation], *, running: bool) -> TrialCurve:
    """Return what a trial has reported, as rules of early stopping see it.

    Args:
        state: The study's state.
        trial: The trial.
        evaluations: What it reported, in order.
        running: Whether it still runs.
    """
    name = state.identity.metric.name
    return TrialCurve(
        trial=trial.number,
        member=trial.member,
        start_step=trial.start_step,
        running=running,
        points=tuple((said.step, said.value) for said in evaluations if said.metric == name),
        latest={said.metric: said.value for said in evaluations},
    )


def given_up_on(state: StudyState, number: int) -> bool:
    """Whether a trial was told to stop because it was not worth finishing."""
    said = state.progress.get(number)
    return said is not None and said.hopeless


def remember_curve(state: StudyState, trial: Trial, evaluations: Sequence[Evaluation]) -> None:
    """Keep what an ended trial has reported, for comparison with running ones, if the algorithm reads curves.

    Args:
        state: The study's state.
        trial: The trial.
        evaluations: What it reported, in order.
    """
    if state.algorithm.reads.curves:
        curves = (*state.curves, curve_of(state, trial, evaluations, running=False))
        # by number, and not by the order of their ends, so that the next owner finds the same ones
        state.curves = tuple(sorted(curves, key=lambda curve: curve.trial))[-MOST_CURVES:]
