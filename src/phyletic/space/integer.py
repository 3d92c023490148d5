"""Int: a whole number in a range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from phyletic.errors import InvalidSpace
from phyletic.randomness import RandomStream
from phyletic.space import bounds, scale

__all__ = ["Int"]


@dataclass(frozen=True, init=False, repr=False, slots=True)
class Int:
    """A whole number from ``low`` to ``high``, both included.

    Args:
        low: Least value at birth, within ±2**53.
        high: Largest value at birth, above ``low``.
        log: Whether the range is measured in logarithms (needs ``low`` of at least 1).
        step: Distance of the grid ``low, low + step, ...`` that values stay on; must divide ``high - low``. With
            ``log`` the grid stays arithmetic: a value is drawn log-uniformly, then snapped. None is 1.
        limits: The hard range ``(lowest, highest)`` that exploration may reach, at least as wide as ``low`` to
            ``high``; None for just that.
        fixed: Whether the value is drawn at birth and never explored; it travels with the weights.

    Values are checked by :meth:`validate`, which a space calls with the parameter's path.

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
        keep = object.__setattr__
        keep(self, "low", bounds.as_int(low))
        keep(self, "high", bounds.as_int(high))
        keep(self, "log", log)
        keep(self, "step", 1 if step is None else bounds.as_int(step))
        keep(self, "limits", bounds.pair(limits, self.low, self.high, bounds.as_int))
        keep(self, "fixed", fixed)

    def __repr__(self) -> str:
        return bounds.shown(self)

    def validate(self, path: str) -> None:
        """Check the domain's own arguments.

        Args:
            path: The parameter's path, named in the error.

        Raises:
            InvalidSpace: Something is wrong with them.
        """
        bounds.check_bounds(path, self, int)
        bounds.check_step(path, self, int)

    def sample(self, stream: RandomStream) -> int:
        """Draw a value from ``low`` to ``high``; uniformly, or log-uniformly and then snapped."""
        return self.from_unit(stream.random())

    def from_unit(self, u: float) -> int:
        """Map ``u`` in [0, 1) to ``low`` to ``high``; equal parts of it are equally likely values."""
        if self.log:
            return self._snapped(scale.at_fraction(self.low, self.high, True, u))
        return self.low + scale.part(u, (self.high - self.low) // self.step + 1) * self.step

    def contains(self, value: object) -> bool:
        """Whether ``value`` is an int within the limits and on the grid."""
        if type(value) is not int or not self.limits[0] <= value <= self.limits[1]:
            return False
        return (value - self.low) % self.step == 0

    def coerce(self, value: Any, path: str) -> int:
        """Turn a user's value into one of this domain, by exact conversion only (3.0 becomes 3).

        Raises:
            InvalidSpace: It is no whole number, outside the limits or off the grid.
        """
        found = bounds.as_int(value)
        if not self.contains(found):
            grid = "" if self.step == 1 else f" in steps of {self.step} from {self.low}"
            raise InvalidSpace(path, value, f"a whole number from {self.limits[0]} to {self.limits[1]}{grid}")
        assert type(found) is int
        return found

    def perturb(self, value: int, factor: float, stream: RandomStream) -> int:
        """Multiply by ``factor``, within the limits and by at least one step, which way the factor points."""
        direction = scale.factor_direction(value, factor)
        return self._towards(value, value * factor, direction)

    def shift(self, value: int, noise: float, stream: RandomStream) -> int:
        """Add ``noise`` in units of the width of ``low..high`` (of its logarithm with ``log``), at least one step."""
        target = scale.translated(value, noise, self.low, self.high, self.log, self.limits)
        return self._towards(value, target, scale.sign(noise))

    def grid(self, points: int) -> tuple[int, ...]:
        """Return at most ``points`` values from ``low`` to ``high``, evenly spaced in the domain's own scale."""
        spread = scale.evenly(self.low, self.high, self.log, points)
        return tuple(dict.fromkeys(map(self._snapped, spread)))

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"type": "int", **bounds.arguments(self)}

    def _towards(self, value: int, target: float, direction: int) -> int:
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
