"""A learning rate that must rise and fall: the problem of Ray Tune's example of population based training.

A member's accuracy grows fastest at a learning rate that depends on the accuracy itself: it rises with it from 0.001
to 0.01 at an accuracy of 100, and falls to 0.001 at 200, which solves the problem. Far from the best rate a member
learns nothing, and far above it the accuracy falls. Members start at a rate that never learns anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from phyletic.randomness import RandomStream
from phyletic.space import Float

if TYPE_CHECKING:
    from phyletic.study.study import Study
    from phyletic.workers.loop import Trials

SPACE = {"lr": Float(1e-4, 0.02)}
"""The range from which learning rates are redrawn."""
START = {"lr": 1e-4}
"""Hyperparameters of every member at birth."""
SOLVED = 200.0
"""The accuracy at which the problem is solved."""

NOISE = 2.0
"""Standard deviation of the noise added to the accuracy at each step, as in Ray's example."""

_TOLERANCE = 3.0


def best_learning_rate(accuracy: float) -> float:
    """Return the learning rate at which accuracy grows fastest.

    Example:
        >>> [round(best_learning_rate(accuracy), 4) for accuracy in (0.0, 50.0, 100.0, 150.0, 200.0)]
        [0.001, 0.005, 0.01, 0.005, 0.001]
    """
    peak = 0.01
    rising = peak * accuracy / 100.0
    return min(max(rising if accuracy < 100.0 else 2 * peak - rising, 0.001), peak)


def step(accuracy: float, learning_rate: float, stream: RandomStream, noise: float = NOISE) -> float:
    """Return the accuracy after one step, at least 0.

    With e the factor between the learning rate and the best one: below 3 the accuracy grows by U(0, 1)/e; else, with
    too high a rate, it falls by (e − 3)·U(0, 1). Normal noise is added.

    Args:
        accuracy: Before the step, at least 0.
        learning_rate: Above 0.
        stream: The source of random numbers.
        noise: Standard deviation of the noise, at least 0.
    """
    best = best_learning_rate(accuracy)
    factor = max(learning_rate, best) / min(learning_rate, best)
    if factor < _TOLERANCE:
        accuracy += stream.random() / factor
    elif learning_rate > best:
        accuracy -= (factor - _TOLERANCE) * stream.random()
    return max(accuracy + noise * stream.normal(), 0.0)


def train(trials: Trials | Study, noise: float = NOISE) -> None:
    """Train members; reports ``accuracy``, which is to be maximised.

    Noise alone carries a population far, as it is selected: at 0 only learning does.

    Args:
        trials: The source of trials.
        noise: Standard deviation of the noise added at each step, at least 0.
    """
    for trial in trials.attach(lambda trial: {"accuracy": 0.0}):
        stream = RandomStream(trial.seed)
        for _ in trial.range():
            trial.state.accuracy = step(trial.state.accuracy, trial["lr"], stream, noise)
        trial.report(accuracy=trial.state.accuracy)
