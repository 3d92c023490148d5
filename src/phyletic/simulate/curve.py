"""Synthetic learning curves whose best learning rate drifts while they train.

One step is L ← L − k·exp(−(ln lr − ln lr*(t))² / 2s²)·(L − L∞) + noise. No learning rate stays good. The best
one is known at every step, and so is the least loss; so regret is exact, and a schedule can be told from a constant.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from phyletic.errors import InvalidArgument
from phyletic.evolution.arguments import check_integer, check_number
from phyletic.randomness import RandomStream
from phyletic.space import Float

SPACE = {"lr": Float(1e-5, 1.0, log=True)}
"""Wider than the drift of the default curve by a factor of 10 below and above."""
_LEAST = 1e-100
_MOST = 1e300


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftingCurve:
    """A learning curve with a best learning rate that drifts geometrically.

    Args:
        first: Best learning rate at step 0, from 1e-100 to 1e100.
        last: Best learning rate from step ``horizon`` on, in the same range.
        horizon: Steps over which it drifts, at least 1.
        width: s, how far a learning rate may be from the best, in natural logarithms, at least 1e-100: at a factor of
            e^width, a step gains 61 % of what the best one gains.
        speed: k, the share of the excess loss that a step with the best rate removes, in (0, 1).
        start: Loss at step 0.
        floor: L∞, the loss that training approaches, below ``start``.
        noise: Standard deviation of the noise at each step. Its mean is 0, so all that is exact here is a mean.

    Raises:
        InvalidArgument: An argument is out of range.

    Example:
        >>> curve = DriftingCurve(first=0.1, last=0.001, horizon=100)
        >>> [round(curve.best_learning_rate(step), 4) for step in (0, 50, 100, 900)]
        [0.1, 0.01, 0.001, 0.001]
        >>> best = [curve.best_learning_rate(step) for step in range(100)]
        >>> round(curve.regret(curve.run(best), 100), 12)
        0.0
        >>> rate, loss = curve.best_constant(100)
        >>> round(rate, 4), round(curve.regret(loss, 100), 3)
        (0.0102, 0.06)
    """

    first: float = 0.1
    last: float = 1e-4
    horizon: int = 200
    width: float = 1.0
    speed: float = 0.05
    start: float = 1.0
    floor: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        # nothing overflows within these ranges
        check_number("first", self.first, least=_LEAST, most=1 / _LEAST)
        check_number("last", self.last, least=_LEAST, most=1 / _LEAST)
        check_integer("horizon", self.horizon, 1)
        check_number("width", self.width, least=_LEAST)
        check_number("speed", self.speed, above=0)
        if self.speed >= 1:
            raise InvalidArgument("speed", self.speed, "above 0 and below 1")
        check_number("start", self.start, most=_MOST)
        check_number("floor", self.floor, least=-_MOST)
        if self.floor >= self.start:
            raise InvalidArgument("floor", self.floor, f"below start, {self.start}")
        check_number("noise", self.noise, least=0)

    def best_learning_rate(self, step: int) -> float:
        """Return lr* at a step."""
        return self.first * math.pow(self.last / self.first, min(step / self.horizon, 1.0))

    def step(self, loss: float, learning_rate: float, step: int, stream: RandomStream | None = None) -> float:
        """Return the loss after one step.

        Args:
            loss: The loss before it.
            learning_rate: Above 0.
            step: Steps taken along the lineage before it.
            stream: The stream of the noise; None for no noise.
        """
        distance = math.log(learning_rate / self.best_learning_rate(step)) / self.width
        after = loss - self.speed * math.exp(-(distance**2) / 2) * (loss - self.floor)
        return after if stream is None else after + self.noise * stream.normal()

    def run(self, learning_rates: Sequence[float]) -> float:
        """Return the loss after training from the start with one learning rate per step, without noise."""
        loss = self.start
        for step, learning_rate in enumerate(learning_rates):
            loss = self.step(loss, learning_rate, step)
        return loss

    def best_loss(self, steps: int) -> float:
        """Return the least loss that any schedule reaches: L∞ + (start − L∞)·(1 − k)^steps."""
        return self.floor + (self.start - self.floor) * (1.0 - self.speed) ** steps

    def regret(self, loss: float, steps: int) -> float:
        """Return a loss after some steps minus the least possible."""
        return loss - self.best_loss(steps)

    def best_constant(self, steps: int) -> tuple[float, float]:
        """Return the best constant learning rate for some steps, to a relative 1e-6, and the loss that it ends with.

        The search covers the range of the drift. The result shows how much a schedule can gain.
        """
        best = np.log([self.best_learning_rate(step) for step in range(steps)])
        low, high = float(best.min()), float(best.max())
        while True:
            grid = np.linspace(low, high, 257)
            gains = self.speed * np.exp(-(((grid[:, None] - best) / self.width) ** 2) / 2)
            # each step multiplies the excess loss by 1 − gain
            place = int(np.argmin(np.log1p(-gains).sum(axis=1)))
            if high - low < 1e-6:
                rate = math.exp(grid[place])
                return rate, self.run([rate] * steps)
            low, high = float(grid[max(place - 1, 0)]), float(grid[min(place + 1, 256)])
