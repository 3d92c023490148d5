"""When a study is done, and whether another trial may be granted."""

from __future__ import annotations

import math

from phyletic.coordinator.state import StudyState

_UNREACHABLE = 3


def target_reached(state: StudyState) -> bool:
    """Whether some completed trial's score is at least as good as the target."""
    target = state.control.budget.target
    if target is None or not state.best:
        return False
    score = state.best[0].score
    return score is not None and math.isfinite(score) and not state.better(target, score)


def done(state: StudyState) -> str:
    """Return which limit of the budget is reached, for the person who reads it; "" while none is."""
    budget, counters = state.control.budget, state.counters
    if target_reached(state):
        return f"the target of {budget.target:g} is reached"
    if budget.trials is not None and counters.completed >= budget.trials:
        return f"{counters.completed} trials are completed"
    if budget.patience is not None and counters.since_best >= budget.patience:
        return f"{counters.since_best} trials in a row brought no new best"
    if budget.seconds is not None and counters.active_seconds >= budget.seconds:
        return f"{counters.active_seconds:.0f} s of the {budget.seconds:g} s are used"
    return ""


def stop_reason(state: StudyState) -> str:
    """Return why the study stops although its budget is not used up, for the person who reads it; "" if it does not."""
    counters = state.counters
    if state.unreachable >= _UNREACHABLE:
        where = state.control.checkpoints or "its checkpoints' folder"
        return f"{where} could not be reached at the end of {state.unreachable} attempts in a row"
    if counters.failures_in_a_row >= failure_cap(state):
        return f"{counters.failures_in_a_row} attempts failed one after another, with no completion between them"
    if counters.nonfinite_in_a_row >= nonfinite_cap(state):
        return f"{counters.nonfinite_in_a_row} trials one after another ended without a finite score"
    return ""


def may_grant(state: StudyState) -> bool:
    """Whether one more trial may run without exceeding the number of trials asked for."""
    trials = state.control.budget.trials
    return trials is None or state.counters.completed + state.running < trials


def steps_left(state: StudyState, start_step: int, steps: int | None) -> int | None:
    """Return how many steps a trial may train: what was suggested, cut to the limit.

    Args:
        state: The study's state.
        start_step: The step at which the trial starts.
        steps: The steps that the algorithm suggested; None if the trial's length is in seconds.
    """
    if state.limit is None:
        return steps
    left = state.limit - start_step
    return left if steps is None else min(steps, left)


def nonfinite_cap(state: StudyState) -> int:
    """Return how many trials may complete one after another without a finite score before the study stops.

    A budget of steps would never be used up otherwise: members without a finite score start afresh.
    """
    return max(50, 10 * state.control.population)


def failure_cap(state: StudyState) -> int:
    """Return how many attempts may fail with no completion between them before the study stops.

    Enough for a few members to fail for good, so that one bad member never stops the others, and few enough that an
    error in the training code does not run through a large population.
    """
    return state.control.max_failures * min(max(state.control.population, 1), 5)
