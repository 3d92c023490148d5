"""Space: the hyperparameters that may vary, and the operations on their values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Self

import msgspec

from phyletic.errors import InvalidArgument, InvalidSpace
from phyletic.randomness import RandomStream
from phyletic.space.choice import Choice
from phyletic.space.definition import Condition, Constant, Parameter, exists, read_definition
from phyletic.space.integer import Int
from phyletic.space.json_form import decode, encode, first_difference
from phyletic.space.names import unknown
from phyletic.space.options import find
from phyletic.space.paths import flatten
from phyletic.space.real import Float
from phyletic.space.values import Value

_FORMAT = 1
_LARGEST_GRID = 1_000_000


class Space:
    """The hyperparameters of a study, and the values that each may have.

    Paths are flat with dots. A group ``{"optimizer": {"lr": Float(...)}}`` gives ``"optimizer.lr"``. A choice with
    spaces under it, ``{"optimizer": Choice({"sgd": {"momentum": Float(...)}})}``, gives the parameter ``"optimizer"``,
    and under its option ``"optimizer.sgd.momentum"``, which exists only while ``"optimizer"`` is ``"sgd"``.

    Args:
        definition: Maps names to a domain, a constant (text, a finite number, True, False, None) or a dictionary of
            the same.

    Attributes:
        parameters: Each parameter by path, in definition order, depth first.
        constants: Each constant's value by path; :meth:`requires` tells when it exists.
        dimensions: How many parameters there are, including those that cannot exist together.

    Raises:
        InvalidSpace: The definition has an error; the message names the parameter.

    Example:
        >>> space = Space({"depth": 3, "optimizer": Choice({"sgd": {"momentum": Choice([0.0, 0.9])}, "adam": {}})})
        >>> list(space.parameters)
        ['optimizer', 'optimizer.sgd.momentum']
        >>> space.complete({"optimizer": "adam"}, RandomStream(0))
        {'depth': 3, 'optimizer': 'adam'}
    """

    __slots__ = ("_anchored", "_choices", "_conditional", "_encoded", "_entries", "_flat", "constants", "parameters")

    parameters: Mapping[str, Parameter]
    constants: Mapping[str, Value]

    def __init__(self, definition: Mapping[str, object]) -> None:
        entries = read_definition(definition)
        self._entries: dict[str, Parameter | Constant] = {entry.path: entry for entry in entries}
        self._flat = tuple(entry for entry in entries if isinstance(entry, Parameter))
        self._conditional = any(parameter.requires for parameter in self._flat)
        self._encoded = msgspec.json.encode(encode(definition))
        self.parameters = MappingProxyType({parameter.path: parameter for parameter in self._flat})
        self.constants = MappingProxyType({e.path: e.value for e in entries if isinstance(e, Constant)})
        self._choices = frozenset(
            parameter.path
            for parameter in self._flat
            if isinstance(parameter.domain, Choice) and parameter.domain.spaces is not None
        )
        # These must come from one member: fixed parameters, and the choices that let them exist.
        fixed = [parameter for parameter in self._flat if parameter.fixed]
        self._anchored = frozenset(
            [parameter.path for parameter in fixed]
            + [choice for parameter in fixed for choice, _ in parameter.requires]
        )

    @property
    def dimensions(self) -> int:
        """How many parameters there are, including those that cannot exist together."""
        return len(self._flat)

    def requires(self, path: str) -> tuple[Condition, ...]:
        """Return the conditions under which a parameter or constant exists, as ``(choice's path, option)``.

        Raises:
            InvalidSpace: The space has no such path.
        """
        if path not in self._entries:
            raise unknown(path, self._entries)
        return self._entries[path].requires

    def active(self, values: Mapping[str, Value]) -> tuple[Parameter, ...]:
        """Return the parameters that exist, given the choices in ``values``, in definition order."""
        if not self._conditional:
            return self._flat
        return tuple(entry for entry in self._flat if not entry.requires or exists(entry, values))

    def sample(self, stream: RandomStream) -> dict[str, Value]:
        """Draw a value for every parameter that exists, and add the constants, in definition order."""
        return self._filled(lambda parameter, before: parameter.domain.sample(stream))

    def from_units(self, units: Sequence[float]) -> dict[str, Value]:
        """Map a point of the unit cube to values.

        Args:
            units: One number from 0 to 1 for each parameter in definition order, including those that do not exist.

        Raises:
            InvalidArgument: There are too many or too few numbers, or one is outside 0 to 1.
        """
        if len(units) != len(self._flat):
            raise InvalidArgument("units", list(units), f"{len(self._flat)} numbers, one for each parameter")
        if not all(0.0 <= unit <= 1.0 for unit in units):
            raise InvalidArgument("units", list(units), "numbers from 0 to 1")
        by_path = dict(zip(self.parameters, units, strict=True))
        return self._filled(lambda parameter, before: parameter.domain.from_unit(float(by_path[parameter.path])))

    def complete(self, partial: Mapping[str, Any], stream: RandomStream) -> dict[str, Value]:
        """Keep the given values, and draw the others.

        A value for a parameter under an option also chooses that option, unless the choice is given.

        Args:
            partial: Some of the values, by flat path or nested; a function in the place of a value takes the values
                before it, by flat path, and returns it.
            stream: The source of random numbers for the others.

        Returns:
            A value for every parameter and constant that exists, in definition order.

        Raises:
            InvalidSpace: A name is unknown (the error suggests the nearest one), a value is not allowed, or two values
                cannot exist together.
            InvalidArgument: A function raised.

        Example:
            >>> space = Space({"h0": Float(0, 1), "h1": Float(0, 1)})
            >>> space.complete({"h0": 0.25, "h1": lambda values: 1 - values["h0"]}, RandomStream(0))
            {'h0': 0.25, 'h1': 0.75}
        """
        functions: dict[str, Callable[[dict[str, Value]], Any]] = {}
        if isinstance(partial, Mapping):
            flat = flatten(partial, self._choices)
            functions = {path: value for path, value in flat.items() if callable(value)}
            if functions:
                partial = {path: value for path, value in flat.items() if path not in functions}
                self._require_parameters(functions)
        given = self._coerced(partial)
        wanted: dict[str, tuple[str, str]] = {}
        for path in given:
            for choice, option in self._entries[path].requires:
                if choice in given:
                    continue
                because, other = wanted.setdefault(choice, (path, option))
                if other != option:
                    allowed = f"left out if {because} is given, which needs {choice} to be {other!r}"
                    raise InvalidSpace(path, given[path], allowed)
        given.update({choice: option for choice, (_, option) in wanted.items()})

        def take(parameter: Parameter, before: Mapping[str, Value]) -> Value:
            if parameter.path in functions:
                return _called(functions[parameter.path], parameter, before)
            return given[parameter.path] if parameter.path in given else parameter.domain.sample(stream)

        values = self._filled(take)
        self._refuse_inactive({**dict.fromkeys(functions), **given}, values)
        return values

    def given(self, values: Mapping[str, Any]) -> dict[str, Value]:
        """Return the values that a user gave by flat path, each with the type of its domain.

        Raises:
            InvalidSpace: A name is unknown, or a value is not allowed.
        """
        return self._coerced(values)

    def validate(self, values: Mapping[str, Any]) -> dict[str, Value]:
        """Check that there is a value for each parameter that exists, and for no other.

        Args:
            values: Values by flat path or nested. You may leave out constants.

        Returns:
            The values with the types of their domains, and the constants, in definition order.

        Raises:
            InvalidSpace: A value is missing, unexpected or not allowed; the message names its path.
        """
        given = self._coerced(values)

        def take(parameter: Parameter, before: Mapping[str, Value]) -> Value:
            if parameter.path not in given:
                raise InvalidSpace(parameter.path, None, "given: every parameter that exists needs a value")
            return given[parameter.path]

        checked = self._filled(take)
        self._refuse_inactive(given, checked)
        return checked

    def repair(self, values: Mapping[str, Value], stream: RandomStream) -> dict[str, Value]:
        """After a choice changed, drop values that no longer exist, draw those that now do, and keep the others."""

        def take(parameter: Parameter, before: Mapping[str, Value]) -> Value:
            return values[parameter.path] if parameter.path in values else parameter.domain.sample(stream)

        return self._filled(take)

    def with_fixed_of(self, values: Mapping[str, Value], source: Mapping[str, Value]) -> dict[str, Value]:
        """Return a member's values for use with another member's weights.

        Args:
            values: The member's values.
            source: The values of the member that gives the weights.

        Returns:
            Every fixed parameter as in ``source``, with the choices that let it exist. The others as in ``values``
            if they still exist, otherwise as in ``source``.
        """

        def take(parameter: Parameter, before: Mapping[str, Value]) -> Value:
            first, second = (source, values) if parameter.path in self._anchored else (values, source)
            return first[parameter.path] if parameter.path in first else second[parameter.path]

        return self._filled(take)

    def grid(self, points: int | Mapping[str, int]) -> list[dict[str, Value]]:
        """Return the product of the parameters' grids; each option of a choice has its own branch.

        Args:
            points: How many values each Float and Int takes: a number of at least 1 for all, or a number by path; then
                the others are left out. Ordinal and Choice take all their values.

        Raises:
            InvalidSpace: A path is unknown.
            InvalidArgument: ``points`` is not a whole number of at least 1, or gives more than a million combinations.

        Example:
            >>> Space({"bias": Choice([False, True]), "size": Choice([1, 2])}).grid(3)[1]
            {'bias': False, 'size': 2}
        """
        for path in points if isinstance(points, Mapping) else ():
            if path not in self.parameters:
                raise unknown(path, self.parameters)
        found: list[dict[str, Value]] = [{}]  # the first parameter varies slowest
        for path, entry in self._entries.items():
            options: tuple[Value, ...]
            if isinstance(entry, Constant):
                options = (entry.value,)
            elif isinstance(points, Mapping) and path not in points and isinstance(entry.domain, Float | Int):
                continue
            else:
                options = entry.domain.grid(points.get(path, 1) if isinstance(points, Mapping) else points)
            longer: list[dict[str, Value]] = []
            for values in found:
                if exists(entry, values):
                    longer.extend({**values, path: value} for value in options)
                else:
                    longer.append(values)
                if len(longer) > _LARGEST_GRID:
                    raise InvalidArgument("points", points, f"few enough for a grid of at most {_LARGEST_GRID} points")
            found = longer
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form; :meth:`from_json` reads it."""
        return {"format": _FORMAT, "entries": msgspec.json.decode(self._encoded)}

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """Return the space that a JSON form describes.

        Raises:
            InvalidSpace: The document is not the form of a space.
        """
        if (
            not isinstance(document, dict)
            or document.get("format") != _FORMAT
            or set(document) != {"format", "entries"}
        ):
            raise InvalidSpace("space", document, f"an object with 'format' {_FORMAT} and 'entries'")
        return cls(decode(document["entries"]))

    def difference(self, other: Space) -> str | None:
        """Return a sentence that names the first difference, or None if the spaces are equal."""
        return first_difference(self.to_json()["entries"], other.to_json()["entries"])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Space) and self._encoded == other._encoded

    def __hash__(self) -> int:
        return hash(self._encoded)

    def __repr__(self) -> str:
        return f"Space({decode(msgspec.json.decode(self._encoded))!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return (Space.from_json, (self.to_json(),))

    def _filled(self, draw: Callable[[Parameter, Mapping[str, Value]], Value]) -> dict[str, Value]:
        """Return a value for every parameter and constant that exists.

        ``draw`` gives a parameter's value; it gets the parameter and the values before it.

        A choice comes before the entries under it, so one pass decides which entries exist.
        """
        values: dict[str, Value] = {}
        for path, entry in self._entries.items():
            if exists(entry, values):
                values[path] = entry.value if isinstance(entry, Constant) else draw(entry, values)
        return values

    def _require_parameters(self, paths: Iterable[str]) -> None:
        for path in paths:
            if path not in self.parameters:
                raise unknown(path, self.parameters)

    def _coerced(self, values: Any) -> dict[str, Value]:
        """Return a user's values by flat path, each with the type of its domain."""
        if not isinstance(values, Mapping):
            raise InvalidSpace("the values", values, "a dictionary from names to values")
        coerced: dict[str, Value] = {}
        for path, value in flatten(values, self._choices).items():
            entry = self._entries.get(path)
            if entry is None:
                raise unknown(path, self._entries)
            if isinstance(entry, Parameter):
                coerced[path] = entry.domain.coerce(value, path)
            else:
                coerced[path] = find((entry.value,), value, path)
        return coerced

    def _refuse_inactive(self, given: Mapping[str, Value], values: Mapping[str, Value]) -> None:
        """Raise InvalidSpace if a given value is for an entry that does not exist among the values."""
        for path in given:
            if path not in values:
                choice, option = next(pair for pair in self._entries[path].requires if values.get(pair[0]) != pair[1])
                found = repr(values[choice]) if choice in values else "left out"
                allowed = f"left out while {choice} is {found}: it exists only for {option!r}"
                raise InvalidSpace(path, given[path], allowed)


def _called(function: Callable[[dict[str, Value]], Any], parameter: Parameter, before: Mapping[str, Value]) -> Value:
    """Return the value that a user's function gives to a parameter.

    Args:
        function: The function of the values before it.
        parameter: The parameter.
        before: The values before it by flat path.

    Raises:
        InvalidArgument: The function raised.
        InvalidSpace: It returned a value outside of the domain.
    """
    name = getattr(function, "__qualname__", repr(function))
    try:
        value = function(dict(before))
    except Exception as error:
        allowed = f"a function of the values before {parameter.path!r} that returns one of its values"
        raise InvalidArgument(parameter.path, name, allowed, f"It raised {error!r}") from error
    try:
        return parameter.domain.coerce(value, parameter.path)
    except InvalidSpace as error:
        raise InvalidSpace(error.name, error.value, error.allowed, f"The function {name} returned it") from error
