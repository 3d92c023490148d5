"""Choice: one of several unordered options; each may have a space under it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from phyletic.randomness import RandomStream
from phyletic.space import bounds, names, scale
from phyletic.space.options import as_options, check_options, find, position, typed_options
from phyletic.space.values import Value, plain
from phyletic.unknown_arguments import explain_unknown_arguments


@explain_unknown_arguments
@dataclass(frozen=True, init=False, repr=False, eq=False, slots=True)
class Choice:
    """One of several unordered options.

    Args:
        options: A list of strings, numbers, truth values and None; or a dictionary from each option's label to the
            space under it, whose parameters exist only while that option is chosen.
        fixed: Whether to draw the value at birth and never explore it; it then moves with the weights. None means True
            for a choice with spaces under it, whose options rarely share weights, and False for a list.

    Attributes:
        options: The options, or the labels.
        spaces: The space under each label; None for a list.

    A space checks these arguments with :meth:`validate`, which knows the parameter's path.

    Example:
        >>> Choice(["relu", "tanh"]).options, Choice(["relu", "tanh"]).fixed
        (('relu', 'tanh'), False)
        >>> Choice({"sgd": {}, "adam": {}}).fixed
        True
        >>> Choice([False, True]).perturb(False, 1.2, RandomStream(0))
        True
    """

    options: tuple[Value, ...]
    fixed: bool
    spaces: Mapping[str, Any] | None

    def __init__(
        self, options: Sequence[Value] | Mapping[str, Mapping[str, object]], *, fixed: bool | None = None
    ) -> None:
        keep = object.__setattr__
        spaces = {plain(label): space for label, space in options.items()} if isinstance(options, Mapping) else None
        keep(self, "options", as_options(options))
        keep(self, "spaces", spaces)
        keep(self, "fixed", spaces is not None if fixed is None else fixed)

    def __repr__(self) -> str:
        shown = self.spaces if self.spaces is not None else self.options
        implied = self.fixed == (self.spaces is not None)
        listed = list(shown) if isinstance(shown, tuple) else shown
        return f"Choice({listed!r}{'' if implied else f', fixed={self.fixed!r}'})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Choice) and self._key() == other._key() and self.spaces == other.spaces

    def __hash__(self) -> int:
        return hash(self._key())

    @property
    def log(self) -> bool:
        """False: options have no scale."""
        return False

    def validate(self, path: str) -> None:
        """Check the domain's own arguments; the space that holds it checks the spaces under it.

        Args:
            path: The parameter's path, for the error.

        Raises:
            InvalidSpace: An argument is not allowed.
        """
        bounds.check_flag(path, "fixed", self.fixed)
        check_options(path, "options", self.options)
        for label, space in (self.spaces or {}).items():
            names.check_name(f"space[{path!r}].options", label)
            if not isinstance(space, Mapping):
                bounds.refuse(path, f"options[{label!r}]", space, "a dictionary of parameters, or {} for none")

    def sample(self, stream: RandomStream) -> Value:
        """Draw one of the options uniformly."""
        return self.from_unit(stream.random())

    def from_unit(self, u: float) -> Value:
        """Map ``u`` in [0, 1) to an option; each has an equal part of the interval."""
        return self.options[scale.part(u, len(self.options))]

    def contains(self, value: object) -> bool:
        """Whether ``value`` is one of the options, type included."""
        return position(self.options, value) is not None

    def coerce(self, value: Any, path: str) -> Value:
        """Return the option that a user's value stands for (1 may stand for 1.0, and the reverse).

        Raises:
            InvalidSpace: The value is not among the options.
        """
        return find(self.options, value, path)

    def perturb(self, value: Value, factor: float, stream: RandomStream) -> Value:
        """Draw an option anew, whatever the factor; a choice of False and True flips. See :meth:`Float.perturb`."""
        scale.factor_direction(1.0, factor)
        return self._redrawn(value, stream)

    def shift(self, value: Value, noise: float, stream: RandomStream) -> Value:
        """Draw an option anew, whatever the noise; a choice of False and True flips. See :meth:`Float.shift`."""
        scale.check_noise(noise)
        return self._redrawn(value, stream)

    def grid(self, points: int) -> tuple[Value, ...]:
        """Return all options, whatever ``points`` is."""
        return self.options

    def _redrawn(self, value: Value, stream: RandomStream) -> Value:
        current = find(self.options, value, "value")
        if len(self.options) == 2 and all(type(option) is bool for option in self.options):
            return not current
        return stream.choice(self.options)

    def _key(self) -> object:
        return typed_options(self.options), self.fixed
