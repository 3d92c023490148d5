"""A domain's own scale, and moves on it and along a grid."""

from __future__ import annotations

import math

from phyletic.errors import InvalidArgument

__all__ = ["at_fraction", "check_noise", "evenly", "factor_direction", "moved", "part", "sign", "translated"]


def at_fraction(low: float, high: float, log: bool, fraction: float) -> float:
    """Return the point at ``fraction`` of the way from ``low`` to ``high`` in the domain's own scale.

    Example:
        >>> at_fraction(1.0, 4.0, False, 0.5), at_fraction(1.0, 100.0, True, 1.0)
        (2.5, 100.0)
    """
    if fraction <= 0.0:
        return low
    if fraction >= 1.0:
        return high
    if log:
        start = math.log(low)
        point = math.exp(start + fraction * (math.log(high) - start))
    else:
        point = low + fraction * (high - low)
    return min(max(point, low), high)


def evenly(low: float, high: float, log: bool, points: int) -> list[float]:
    """Return ``points`` points from ``low`` to ``high``, evenly spaced with both ends; one point is the middle.

    Example:
        >>> evenly(0.0, 2.0, False, 3), evenly(1.0, 3.0, False, 1)
        ([0.0, 1.0, 2.0], [2.0])
    """
    if isinstance(points, bool) or not isinstance(points, int) or points < 1:
        raise InvalidArgument("points", points, "a whole number of at least 1")
    fractions = [0.5] if points == 1 else [place / (points - 1) for place in range(points)]
    return [at_fraction(low, high, log, fraction) for fraction in fractions]


def part(u: float, count: int) -> int:
    """Return in which of ``count`` equal parts of [0, 1) ``u`` is, from 0; below and above it, the first and the last.

    Example:
        >>> part(0.0, 4), part(0.5, 4), part(1.0, 4)
        (0, 2, 3)
    """
    return min(max(int(u * count), 0), count - 1)


def translated(value: float, noise: float, low: float, high: float, log: bool, limits: tuple[float, float]) -> float:
    """Move ``value`` by ``noise`` times the width of ``low..high`` in the domain's own scale, into the limits."""
    check_noise(noise)
    if noise == 0.0:
        return value
    if log:
        exponent = math.log(value) + noise * (math.log(high) - math.log(low))
        # Compared before the exponential, which would overflow, and would miss a limit by rounding.
        if exponent >= math.log(limits[1]):
            return limits[1]
        if exponent <= math.log(limits[0]):
            return limits[0]
        target = math.exp(exponent)
    else:
        target = value + noise * (high - low)
    return min(max(target, limits[0]), limits[1])


def factor_direction(value: float, factor: float) -> int:
    """Return which way ``value * factor`` lies: 1 up, -1 down, 0 for a factor of 1; zero counts as positive."""
    if not 0.0 < factor < math.inf:
        raise InvalidArgument("factor", factor, "a finite number above 0")
    return sign(factor - 1.0) * (-1 if value < 0 else 1)


def moved(index: int, target: int, direction: int, lowest: int, highest: int) -> int:
    """Move along a grid to ``target``, by at least one step in ``direction``, and no further than the ends.

    Example:
        >>> moved(1, 1, -1, 0, 9), moved(0, 0, -1, 0, 9), moved(3, 7, 1, 0, 9)
        (0, 0, 7)
    """
    if direction > 0:
        target = max(target, index + 1)
    elif direction < 0:
        target = min(target, index - 1)
    else:
        target = index
    return min(max(target, lowest), highest)


def check_noise(noise: float) -> None:
    """Refuse a noise that is not finite."""
    if not math.isfinite(noise):
        raise InvalidArgument("noise", noise, "a finite number")


def sign(number: float) -> int:
    """Return -1, 0 or 1."""
    return (number > 0) - (number < 0)
