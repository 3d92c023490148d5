"""A gate against noise: differences that chance explains do not exploit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from phyletic.evolution.arguments import check_number
from phyletic.evolution.ranking import average

__all__ = ["NoiseGate"]


@dataclass(frozen=True)
class NoiseGate:
    """Only clear losers are replaced, and only clear winners are copied.

    With mu and sigma the mean and standard deviation of the population's finite scores, a member is replaced only if
    its score is below ``min(mu - k * sigma, mu - a)``, and copied only if it is above ``max(mu + k * sigma, mu + a)``;
    the other way round if lower is better. The rule is that of IsaacLab, after DexPBT (Petrenko et al. 2023,
    arXiv 2305.12127). As in DexPBT's code, sigma leaves out the worst 20 % (rounded down) of the scores, so
    that a few collapsed members do not make everyone else look equal. A member in need of rescue passes the gate.

    Args:
        k: Half the gate's width in standard deviations, at least 0.
        a: Half the gate's width in the metric's own units, at least 0: what counts as a difference at all.

    Raises:
        InvalidArgument: An argument is negative or not finite.

    Example:
        >>> NoiseGate(k=0.0, a=0.5).cuts([1.0, 2.0, 3.0], "max")
        (1.5, 2.5)
    """

    k: float = 0.1
    a: float = 0.025

    def __post_init__(self) -> None:
        check_number("k", self.k, least=0)
        check_number("a", self.a, least=0)

    def cuts(self, scores: Sequence[float], mode: Literal["max", "min"]) -> tuple[float, float]:
        """Return the scores beyond which a member is replaced and copied.

        Args:
            scores: Finite scores from best to worst, at least one.
            mode: Which way is better.
        """
        count = len(scores)
        mean = average(scores)
        kept = scores[: count - count // 5]
        centre = average(kept)
        sigma = math.sqrt(average([(score - centre) * (score - centre) for score in kept]))
        # min(mu - k sigma, mu - a) and max(mu + k sigma, mu + a) lie at the same distance from mu. If sigma
        # overflowed and k is 0, max returns its first argument.
        distance = max(self.a, self.k * sigma)
        if mode == "min":
            distance = -distance
        return mean - distance, mean + distance
