"""Int: a whole number in a range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from phyletic.errors import InvalidSpace
from phyletic.randomness import RandomStream
from phyletic.space import bounds, scale
from phyletic.unknown_arguments import explain_unknown_arguments


@explain_unknown_arguments
@dataclass(frozen=True, init=False, repr=False, slots=True)
class Int:
    """A whole number from ``low`` to ``high``, both included.

    Args:
        low: Smallest value at birth, within ±2**53.
        high: Largest value at birth, above ``low``.
        log: Whether to measure the range in logarithms (needs ``low`` of at least 1).
        step: Values stay on the grid ``low, low + step, ...``; must divide ``high - low``. With ``log`` the grid stays
            arithmetic: a value is drawn log-uniformly, then rounded to the grid. None means 1.
        limits: The range ``(lowest, highest)`` that exploration may reach, at least as wide as ``low`` to ``high``;
            None means ``(low, high)``.
        fixed: Whether to draw the value at birth and never explore it; it then moves with the weights.

    A space checks these arguments with :meth:`validate`, which knows the parameter's path.

    Example:
        >>> layers = Int(1, 8)
        >>> layers.perturb(1, 1.2, RandomStream(0)), layers.perturb(1, 0.8, RandomStream(0))
        (2, 1)
        >>> Int(32, 256, step=32, log=True).grid(4)
        (32, 64, 128, 256)
    """

    low: int
    high: int
    log: bool
    step: int
    limits: tuple[int, int]
    fixed: bool

    def __init__(
        self,
        low: int,
        high: int,
        *,
        log: bool = False,
        step: int | None = None,
        limits: tuple[int, int] | None = None,
        fixed: bool = False,
    ) -> None:
        step = 1 if step is None else step
        given = {"low": low, "high": high, "log": log, "step": step, "limits": limits, "fixed": fixed}
        bounds.keep_arguments(self, bounds.as_int, **given)

    def __repr__(self) -> str:
        return bounds.shown(self)

    def validate(self, path: str) -> None:
        """Check the domain's own arguments.

        Args:
            path: The parameter's path, for the error.

        Raises:
            InvalidSpace: An argument is not allowed.
        """
        bounds.check_bounds(path, self, int)
        bounds.check_step(path, self, int)

    def sample(self, stream: RandomStream) -> int:
        """Draw a value from ``low`` to ``high``: uniformly, or log-uniformly and then rounded to the grid."""
        return self.from_unit(stream.random())

    def from_unit(self, u: float) -> int:
        """Map ``u`` in [0, 1) to a value from ``low`` to ``high``, uniformly in the domain's own scale."""
        if self.log:
            return self._snapped(scale.at_fraction(self.low, self.high, True, u))
        return self.low + scale.part(u, (self.high - self.low) // self.step + 1) * self.step

    def contains(self, value: object) -> bool:
        """Whether ``value`` is an int within the limits and on the grid."""
        if type(value) is not int or not self.limits[0] <= value <= self.limits[1]:
            return False
        return (value - self.low) % self.step == 0

    def coerce(self, value: Any, path: str) -> int:
        """Convert a user's value to a value of this domain if that is exact (3.0 becomes 3).

        Raises:
            InvalidSpace: The value is not a whole number, outside the limits, or off the grid.
        """
        found = bounds.as_int(value)
        if not self.contains(found):
            grid = "" if self.step == 1 else f" in steps of {self.step} from {self.low}"
            raise InvalidSpace(path, value, f"a whole number from {self.limits[0]} to {self.limits[1]}{grid}")
        assert type(found) is int
        return found

    def perturb(self, value: int, factor: float, stream: RandomStream) -> int:
        """Multiply by ``factor`` within the limits, and move at least one step; see :meth:`Float.perturb`."""
        return self._towards(value, value * factor, scale.factor_direction(value, factor))

    def shift(self, value: int, noise: float, stream: RandomStream) -> int:
        """Add ``noise`` within the limits, and move at least one step; see :meth:`Float.shift`."""
        target = scale.translated(value, noise, self.low, self.high, self.log, self.limits)
        return self._towards(value, target, scale.sign(noise))

    def grid(self, points: int) -> tuple[int, ...]:
        """Return at most ``points`` values from ``low`` to ``high``, evenly spaced in the domain's own scale."""
        spread = scale.evenly(self.low, self.high, self.log, points)
        return tuple(dict.fromkeys(map(self._snapped, spread)))

    def _towards(self, value: int, target: float, direction: int) -> int:
        """Move to a target, at least one step of the grid, but not beyond the limits.

        Args:
            value: A value of this domain.
            target: Where to go; cut to the limits.
            direction: 1 up, -1 down, 0 to stay.
        """
        target = min(max(target, self.limits[0]), self.limits[1])
        lowest, highest = ((bound - self.low) // self.step for bound in self.limits)
        index = scale.moved(self._index(value), self._index(target), direction, lowest, highest)
        return self.low + index * self.step

    def _snapped(self, value: float) -> int:
        return self.low + self._index(value) * self.step

    def _index(self, value: float) -> int:
        if isinstance(value, int):
            return (value - self.low) // self.step
        return round((value - self.low) / self.step)
