"""The noisy quadratic, which deceives a search that looks only a few steps ahead.

Stochastic gradient descent on ½·Σ aᵢθᵢ² with gradients of variance c·aᵢ changes the mean squares mᵢ = E[θᵢ²] as

    mᵢ ← (1 − lr·aᵢ)²·mᵢ + lr²·c·aᵢ        with an expected loss of ½·Σ aᵢmᵢ.

A low learning rate lowers the loss at once, for it quiets the noise in the steep directions; but then the flat
directions are hardly learned. Always picking the rate that is best for the next step (:meth:`NoisyQuadratic.greedy`)
ends worse than a constant rate: the short-horizon bias of Wu et al. 2018 (arXiv 1803.02021, sections 2 and 3). PBT
judges a rate by one interval, so how far it is deceived depends on the interval.

The expected loss is computed, not sampled, so everything here is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from phyletic.errors import InvalidArgument
from phyletic.space import Float

if TYPE_CHECKING:
    from phyletic.study.study import Study
    from phyletic.workers.loop import Trials

Array = npt.NDArray[np.float64]

SPACE = {"lr": Float(0.01, 1.5, log=True, limits=(1e-3, 1.9))}
"""A rate of 2 and more diverges in the steepest direction."""
STEPS = 400
"""Steps that each member trains."""


@dataclass(frozen=True)
class NoisyQuadratic:
    """The problem; it begins at mᵢ = 1.

    Args:
        dimensions: Directions; the i-th, from 1, has the curvature aᵢ = i^−power.
        power: How much they differ, above 0.
        noise: c, the variance of the gradients over the curvature, above 0.

    Raises:
        InvalidArgument: An argument is out of range.

    Example:
        >>> problem = NoisyQuadratic()
        >>> greedy, constant, falling = (
        ...     problem.run(rates)
        ...     for rates in (problem.greedy(STEPS), problem.best_constant(STEPS), problem.best_falling(STEPS))
        ... )
        >>> round(greedy, 3), round(constant, 3), round(falling, 3)
        (0.089, 0.04, 0.013)
    """

    dimensions: int = 50
    power: float = 1.5
    noise: float = 0.1

    def __post_init__(self) -> None:
        for name in ("dimensions", "power", "noise"):
            if not getattr(self, name) > 0:
                raise InvalidArgument(name, getattr(self, name), "above 0")

    @cached_property
    def curvature(self) -> Array:
        """aᵢ, falling from 1, shape (dimensions,)."""
        return np.arange(1, self.dimensions + 1, dtype=float) ** -self.power

    @property
    def start(self) -> Array:
        """mᵢ before the first step."""
        return np.ones(self.dimensions)

    def step(self, squares: Array, learning_rate: float) -> Array:
        """Return the mean squares after one step.

        Args:
            squares: mᵢ, shape (dimensions,).
            learning_rate: From 0 to below 2.
        """
        a = self.curvature
        return np.asarray((1.0 - learning_rate * a) ** 2 * squares + learning_rate**2 * self.noise * a)

    def loss(self, squares: Array) -> float:
        """Return the expected loss."""
        return float(0.5 * self.curvature @ squares)

    def run(self, learning_rates: Sequence[float]) -> float:
        """Return the loss after training from the start with one learning rate per step."""
        squares = self.start
        for learning_rate in learning_rates:
            squares = self.step(squares, learning_rate)
        return self.loss(squares)

    def greedy(self, steps: int) -> list[float]:
        """Return the schedule that lowers the loss the most at every single step.

        The loss after a step is quadratic in the rate; its minimum is at Σ aᵢ²mᵢ / Σ (aᵢ³mᵢ + c·aᵢ²).
        """
        a, squares, rates = self.curvature, self.start, []
        for _ in range(steps):
            rate = float((a**2 @ squares) / (a**3 @ squares + self.noise * a @ a))
            rates.append(rate)
            squares = self.step(squares, rate)
        return rates

    def best_constant(self, steps: int) -> list[float]:
        """Return the constant that ends with the least loss, among 200 from 0.001 to 1.9."""
        return self._least([[rate] * steps for rate in np.geomspace(1e-3, 1.9, 200)])

    def best_falling(self, steps: int) -> list[float]:
        """Return the rate falling linearly to 0 that ends with the least loss, among 200 from 0.001 to 1.9."""
        falling = 1.0 - np.arange(steps) / steps
        return self._least([list(rate * falling) for rate in np.geomspace(1e-3, 1.9, 200)])

    def _least(self, schedules: list[list[float]]) -> list[float]:
        least = min(schedules, key=self.run)
        return [float(rate) for rate in least]


def train(
    trials: Trials | Study, problem: NoisyQuadratic = NoisyQuadratic(), decay: Callable[[int], float] | None = None
) -> None:
    """Train members; reports ``loss``, which is to be minimised.

    Args:
        trials: The source of trials.
        problem: The problem.
        decay: The factor by which an optimizer's own schedule multiplies ``lr`` at each step; None for a factor of 1.
    """
    for trial in trials.attach(lambda trial: {"squares": problem.start}):
        for step in trial.range():
            rate = trial["lr"] * (1.0 if decay is None else decay(step))
            trial.state.squares = problem.step(trial.state.squares, rate)
        trial.report(loss=problem.loss(trial.state.squares))
