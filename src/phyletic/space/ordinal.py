"""Ordinal: one of several ordered values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from phyletic.randomness import RandomStream
from phyletic.space import bounds, scale
from phyletic.space.options import as_options, check_options, find, position, typed_options
from phyletic.space.values import Value
from phyletic.unknown_arguments import explain_unknown_arguments


@explain_unknown_arguments
@dataclass(frozen=True, init=False, repr=False, eq=False, slots=True)
class Ordinal:
    """One of several ordered values: exploration moves to neighbours.

    Args:
        values: The values, from least to greatest: numbers, strings, truth values or None.
        fixed: Whether to draw the value at birth and never explore it; it then moves with the weights.

    A space checks these arguments with :meth:`validate`, which knows the parameter's path.

    Example:
        >>> Ordinal(["small", "medium", "large"]).perturb("medium", 1.2, RandomStream(0))
        'large'
    """

    values: tuple[Value, ...]
    fixed: bool

    def __init__(self, values: Sequence[Value], *, fixed: bool = False) -> None:
        object.__setattr__(self, "values", values if isinstance(values, Mapping) else as_options(values))
        object.__setattr__(self, "fixed", fixed)

    def __repr__(self) -> str:
        values = list(self.values) if isinstance(self.values, tuple) else self.values
        return f"Ordinal({values!r}{', fixed=True' if self.fixed else ''})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ordinal) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    @property
    def log(self) -> bool:
        """False: positions are evenly spaced."""
        return False

    def validate(self, path: str) -> None:
        """Check the domain's own arguments.

        Args:
            path: The parameter's path, for the error.

        Raises:
            InvalidSpace: An argument is not allowed.
        """
        bounds.check_flag(path, "fixed", self.fixed)
        check_options(path, "values", self.values)

    def sample(self, stream: RandomStream) -> Value:
        """Draw a value uniformly."""
        return self.from_unit(stream.random())

    def from_unit(self, u: float) -> Value:
        """Map ``u`` in [0, 1) to a value; each has an equal part of the interval."""
        return self.values[scale.part(u, len(self.values))]

    def contains(self, value: object) -> bool:
        """Whether ``value`` is one of the values, type included."""
        return position(self.values, value) is not None

    def coerce(self, value: Any, path: str) -> Value:
        """Return the value that a user's value stands for (1 may stand for 1.0, and the reverse).

        Raises:
            InvalidSpace: The value is not among the domain's.
        """
        return find(self.values, value, path)

    def perturb(self, value: Value, factor: float, stream: RandomStream) -> Value:
        """Move one position up for a factor above 1, or down for one below 1; see :meth:`Float.perturb`."""
        return self._moved(value, scale.factor_direction(1.0, factor))

    def shift(self, value: Value, noise: float, stream: RandomStream) -> Value:
        """Move by ``noise`` times the number of positions, and at least by one; see :meth:`Float.shift`."""
        scale.check_noise(noise)
        direction = scale.sign(noise)
        positions = round(min(max(noise, -1.0), 1.0) * (len(self.values) - 1))
        return self._moved(value, positions or direction)

    def grid(self, points: int) -> tuple[Value, ...]:
        """Return all values, whatever ``points`` is."""
        return self.values

    def _moved(self, value: Value, positions: int) -> Value:
        index = position(self.values, value)
        if index is None:
            index = position(self.values, find(self.values, value, "value"))
            assert index is not None
        return self.values[min(max(index + positions, 0), len(self.values) - 1)]

    def _key(self) -> object:
        return typed_options(self.values), self.fixed
