"""Points on a domain's own scale, and moves along it or along a grid."""

from __future__ import annotations

import math

from phyletic.errors import InvalidArgument


def at_fraction(low: float, high: float, log: bool, fraction: float) -> float:
    """Return the point at ``fraction`` of the way from ``low`` to ``high`` in the domain's own scale.

    Args:
        low: Start of the range.
        high: End of the range.
        log: Whether the scale is logarithmic.
        fraction: From 0 to 1; a value beyond gives an end of the range.

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
    """Return ``points`` evenly spaced points from ``low`` to ``high``, ends included.

    Args:
        low: Start of the range.
        high: End of the range.
        log: Whether the scale is logarithmic.
        points: How many, at least 1; a single point is the middle.

    Raises:
        InvalidArgument: ``points`` is not a whole number of at least 1.

    Example:
        >>> evenly(0.0, 2.0, False, 3), evenly(1.0, 3.0, False, 1)
        ([0.0, 1.0, 2.0], [2.0])
    """
    if isinstance(points, bool) or not isinstance(points, int) or points < 1:
        raise InvalidArgument("points", points, "a whole number of at least 1")
    fractions = [0.5] if points == 1 else [place / (points - 1) for place in range(points)]
    return [at_fraction(low, high, log, fraction) for fraction in fractions]


def part(u: float, count: int) -> int:
    """Return which of ``count`` equal parts of [0, 1) contains ``u``, from 0; outside, the first or the last.

    Example:
        >>> part(0.0, 4), part(0.5, 4), part(1.0, 4)
        (0, 2, 3)
    """
    return min(max(int(u * count), 0), count - 1)


def translated(value: float, noise: float, low: float, high: float, log: bool, limits: tuple[float, float]) -> float:
    """Move ``value`` by ``noise`` widths of the range in the domain's own scale, but not beyond the limits.

    Args:
        value: Where to start, within the limits.
        noise: How far to move, in widths of the range; finite.
        low: Start of the range.
        high: End of the range.
        log: Whether the scale is logarithmic.
        limits: The lowest and the highest value allowed.

    Raises:
        InvalidArgument: ``noise`` is not finite.
    """
    check_noise(noise)
    if noise == 0.0:
        return value
    if log:
        exponent = math.log(value) + noise * (math.log(high) - math.log(low))
        # Compare before taking the exponential, which could overflow, or miss a limit by rounding.
        if exponent >= math.log(limits[1]):
            return limits[1]
        if exponent <= math.log(limits[0]):
            return limits[0]
        target = math.exp(exponent)
    else:
        target = value + noise * (high - low)
    return min(max(target, limits[0]), limits[1])


def factor_direction(value: float, factor: float) -> int:
    """Return the direction from ``value`` to ``value * factor``: 1 up, -1 down, 0 for a factor of 1.

    A value of zero counts as positive.
    """
    if not 0.0 < factor < math.inf:
        raise InvalidArgument("factor", factor, "a finite number above 0")
    return sign(factor - 1.0) * (-1 if value < 0 else 1)


def moved(index: int, target: int, direction: int, lowest: int, highest: int) -> int:
    """Move along a grid to ``target``, at least one step in ``direction``, but not beyond the ends.

    Args:
        index: Where to start, in steps.
        target: Where to go, in steps.
        direction: 1 up, -1 down, 0 to stay.
        lowest: The first index of the grid.
        highest: The last index of the grid.

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
    """Raise InvalidArgument unless a noise is finite."""
    if not math.isfinite(noise):
        raise InvalidArgument("noise", noise, "a finite number")


def sign(number: float) -> int:
    """Return the sign of a number: -1, 0 or 1."""
    return (number > 0) - (number < 0)
