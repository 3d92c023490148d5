"""Float: a real number in a range."""

from __future__ import annotations

import decimal
import math
from dataclasses import dataclass
from typing import Any

from phyletic.errors import InvalidSpace
from phyletic.randomness import RandomStream
from phyletic.space import bounds, scale
from phyletic.unknown_arguments import explain_unknown_arguments

# Its own context, so that the caller's precision cannot move grid points.
_DECIMAL = decimal.Context(prec=40)


@explain_unknown_arguments
@dataclass(frozen=True, init=False, repr=False, slots=True)
class Float:
    """A real number from ``low`` to ``high``, both included.

    Args:
        low: Smallest value at birth.
        high: Largest value at birth, above ``low``.
        log: Whether to measure the range in logarithms (needs ``low`` above 0): for values that vary by orders of
            magnitude, such as a learning rate.
        step: Values stay on the grid ``low, low + step, ...``; must divide ``high - low``. None means a continuous
            range. With ``log`` the grid stays arithmetic: a value is drawn log-uniformly, then rounded to the grid.
        limits: The range ``(lowest, highest)`` that exploration may reach, at least as wide as ``low`` to ``high``;
            None means ``(low, high)``.
        fixed: Whether to draw the value at birth and never explore it; it then moves with the weights.

    A space checks these arguments with :meth:`validate`, which knows the parameter's path.

    Example:
        >>> rate = Float(1e-4, 1e-1, log=True, limits=(1e-6, 1.0))
        >>> rate.perturb(0.9, 1.2, RandomStream(0))
        1.0
        >>> Float(0, 1, step=0.1).grid(4)
        (0.0, 0.3, 0.7, 1.0)
    """

    low: float
    high: float
    log: bool
    step: float | None
    limits: tuple[float, float]
    fixed: bool

    def __init__(
        self,
        low: float,
        high: float,
        *,
        log: bool = False,
        step: float | None = None,
        limits: tuple[float, float] | None = None,
        fixed: bool = False,
    ) -> None:
        given = {"low": low, "high": high, "log": log, "step": step, "limits": limits, "fixed": fixed}
        bounds.keep_arguments(self, bounds.as_float, **given)

    def __repr__(self) -> str:
        return bounds.shown(self)

    def validate(self, path: str) -> None:
        """Check the domain's own arguments.

        Args:
            path: The parameter's path, for the error.

        Raises:
            InvalidSpace: An argument is not allowed.
        """
        bounds.check_bounds(path, self, float)
        if self.step is not None:
            bounds.check_step(path, self, float)

    def sample(self, stream: RandomStream) -> float:
        """Draw a value from ``low`` to ``high``, uniformly in the domain's own scale."""
        return self.from_unit(stream.random())

    def from_unit(self, u: float) -> float:
        """Map ``u`` in [0, 1) to a value from ``low`` to ``high``, uniformly in the domain's own scale."""
        if self.step is None or self.log:
            return self._snapped(scale.at_fraction(self.low, self.high, self.log, u))
        return self._point(scale.part(u, self._index(self.high) + 1))

    def contains(self, value: object) -> bool:
        """Whether ``value`` is a float within the limits and on the grid."""
        if type(value) is not float or not self.limits[0] <= value <= self.limits[1]:
            return False
        return self.step is None or self._point(self._index(value)) == value

    def coerce(self, value: Any, path: str) -> float:
        """Convert a user's value to a value of this domain if that is exact.

        A value that misses a grid point only by rounding becomes that point.

        Raises:
            InvalidSpace: The value is not a number, outside the limits, or off the grid.
        """
        found = bounds.as_float(value)
        if type(found) is not float or not math.isfinite(found):
            raise InvalidSpace(path, value, f"a number {self._range()}")
        if self.step is not None and bounds.whole_steps(found - self.low, self.step) is not None:
            lowest, index, highest = map(self._index, (self.limits[0], found, self.limits[1]))
            if lowest <= index <= highest:
                return self._point(index)
        if not self.limits[0] <= found <= self.limits[1] or self.step is not None:
            raise InvalidSpace(path, value, self._range())
        return found

    def perturb(self, value: float, factor: float, stream: RandomStream) -> float:
        """Multiply by ``factor`` within the limits; on a grid, move at least one step unless at a limit.

        Args:
            value: A value of this domain.
            factor: Finite and above 0; 1 changes nothing.
            stream: The source of random numbers, for domains that need one.

        Raises:
            InvalidArgument: The factor is not finite or not above 0.
        """
        return self._towards(value, value * factor, scale.factor_direction(value, factor))

    def shift(self, value: float, noise: float, stream: RandomStream) -> float:
        """Add ``noise`` within the limits; on a grid, move at least one step unless at a limit.

        Args:
            value: A value of this domain.
            noise: Finite, in widths of the range from ``low`` to ``high``, measured in logarithms with ``log``.
            stream: The source of random numbers, for domains that need one.

        Raises:
            InvalidArgument: The noise is not finite.
        """
        target = scale.translated(value, noise, self.low, self.high, self.log, self.limits)
        return self._towards(value, target, scale.sign(noise))

    def grid(self, points: int) -> tuple[float, ...]:
        """Return at most ``points`` values from ``low`` to ``high``, evenly spaced in the domain's own scale."""
        spread = scale.evenly(self.low, self.high, self.log, points)
        return tuple(dict.fromkeys(map(self._snapped, spread)))

    def _towards(self, value: float, target: float, direction: int) -> float:
        """Move to a target within the limits; on a grid, at least one step unless at a limit.

        Args:
            value: A value of this domain.
            target: Where to go; cut to the limits.
            direction: 1 up, -1 down, 0 to stay; ignored without a grid.
        """
        target = min(max(target, self.limits[0]), self.limits[1])
        if self.step is None:
            return target + 0.0  # -0.0 becomes 0.0
        lowest, highest = map(self._index, self.limits)
        return self._point(scale.moved(self._index(value), self._index(target), direction, lowest, highest))

    def _snapped(self, value: float) -> float:
        return value if self.step is None else self._point(self._index(value))

    def _index(self, value: float) -> int:
        assert self.step is not None
        return round((value - self.low) / self.step)

    def _point(self, index: int) -> float:
        """Return the only float that stands for a grid point: the bound at that point, or its shortest decimals."""
        for bound in (self.low, self.high, *self.limits):
            if self._index(bound) == index:
                return bound
        exact = _DECIMAL.fma(index, decimal.Decimal(repr(self.step)), decimal.Decimal(repr(self.low)))
        return float(exact) + 0.0

    def _range(self) -> str:
        allowed = f"from {self.limits[0]!r} to {self.limits[1]!r}"
        return allowed if self.step is None else f"{allowed} in steps of {self.step!r} from {self.low!r}"
