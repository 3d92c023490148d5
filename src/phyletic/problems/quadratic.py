"""The toy of figure 2 in Jaderberg et al. 2017 (arXiv 1711.09846): climb a surrogate of a quadratic.

The objective is Q = 1.2 − θ0² − θ1². Two members climb Q̂ = 1.2 − h0·θ0² − h1·θ1² instead, from θ = (0.9, 0.9) with
h = (1, 0) and h = (0, 1): each learns one coordinate only, and neither comes near Q = 1.2 alone.
One step is one gradient ascent step on Q̂.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from phyletic.errors import InvalidArgument
from phyletic.space import Float

if TYPE_CHECKING:
    from phyletic.study.study import Study
    from phyletic.workers.live_trial import LiveTrial
    from phyletic.workers.loop import Trials

Array = npt.NDArray[np.float64]

OPTIMUM = 1.2
"""The largest Q, at θ = (0, 0)."""
START = (0.9, 0.9)
"""θ of both members at birth."""
INITIAL = ({"h0": 1.0, "h1": 0.0}, {"h0": 0.0, "h1": 1.0})
"""The hyperparameters of the two members at birth."""
STEPS = 200
"""Steps that each member trains."""
INTERVAL = 4
"""Steps between two exploits."""
SPACE = {"h0": Float(0.0, 1.0), "h1": Float(0.0, 1.0)}
"""Bounded below by 0, under which Q̂ has no maximum, and a member that climbs it diverges."""


@dataclass(frozen=True, slots=True)
class Quadratic:
    """One variant of the toy.

    Args:
        curvature: Factors of θ0² and θ1² in Q and in Q̂, each above 0.
        learning_rate: Of the gradient ascent; below ``1 / (2 * max(curvature))`` no step overshoots.

    Raises:
        InvalidArgument: An argument is not finite and above 0.

    Every θ and h is an array of shape (..., 2): many members are computed at once as well as one.

    Example:
        >>> PAPER.objective(np.zeros(2)).item()
        1.2
    """

    curvature: tuple[float, float] = (1.0, 1.0)
    learning_rate: float = 0.01

    def __post_init__(self) -> None:
        for name, values in (("curvature", self.curvature), ("learning_rate", (self.learning_rate,))):
            if not all(0 < value < math.inf for value in values):
                raise InvalidArgument(name, getattr(self, name), "finite and above 0")

    def objective(self, theta: npt.ArrayLike) -> Array:
        """Return Q, of shape (...): what members are ranked by."""
        return self.surrogate(theta, (1.0, 1.0))

    def surrogate(self, theta: npt.ArrayLike, h: npt.ArrayLike) -> Array:
        """Return Q̂, of shape (...): what members climb."""
        squares = np.asarray(self.curvature) * np.asarray(h) * np.square(np.asarray(theta, dtype=float))
        return np.asarray(OPTIMUM - squares.sum(axis=-1))

    def gradient(self, theta: npt.ArrayLike, h: npt.ArrayLike) -> Array:
        """Return the gradient of Q̂ by θ, of shape (..., 2)."""
        return np.asarray(-2.0 * np.asarray(self.curvature) * np.asarray(h) * np.asarray(theta, dtype=float))

    def step(self, theta: npt.ArrayLike, h: npt.ArrayLike) -> Array:
        """Return θ after one step."""
        return np.asarray(theta, dtype=float) + self.learning_rate * self.gradient(theta, h)


PAPER = Quadratic()
"""The toy as the paper states it."""
RAY = Quadratic(curvature=(0.75, 1.0))
"""The toy as Ray's documentation has it, with ¾·θ0² in both Q and Q̂: the members are no longer symmetric."""


def build(trial: LiveTrial) -> dict[str, Array]:
    """Return a member at birth."""
    return {"theta": np.array(START)}


def train(trials: Trials | Study, problem: Quadratic = PAPER) -> None:
    """Train members of the toy.

    Reports ``objective``, Q, which is to be maximised; ``loss``, 1.2 − Q̂, which members descend; ``theta0`` and
    ``theta1``.

    Args:
        trials: The source of trials.
        problem: The variant.

    Example:
        >>> import phyletic as ph
        >>> study = ph.Study(
        ...     "toy", space=SPACE, initial=INITIAL, metric="objective", mode="max",
        ...     algorithm=ph.RandomSearch(population=2, interval=100), budget=ph.Budget(steps=STEPS), seed=0,
        ... )
        >>> train(study)
        >>> round(study.best.score, 3)
        0.39
    """
    for trial in trials.attach(build):
        h = np.array([trial["h0"], trial["h1"]])
        for _ in trial.range():
            trial.state.theta = problem.step(trial.state.theta, h)
        theta = trial.state.theta
        trial.report(
            objective=float(problem.objective(theta)),
            loss=OPTIMUM - float(problem.surrogate(theta, h)),
            theta0=float(theta[0]),
            theta1=float(theta[1]),
        )
