"""Draw, complete, check, repair and combine the values of a space.

Each function takes the space's entries (its parameters and constants) in definition order. A choice comes before the
entries under it, so one pass decides which entries exist.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias

from phyletic.errors import InvalidArgument, InvalidSpace
from phyletic.randomness import RandomStream
from phyletic.space.integer import Int
from phyletic.space.names import unknown
from phyletic.space.options import find
from phyletic.space.parameter import Constant, Parameter, exists
from phyletic.space.real import Float
from phyletic.space.values import Value

__all__ = ["complete", "enumerate_grid", "fill", "repair", "validate", "with_fixed_of"]

Entries: TypeAlias = Mapping[str, Parameter | Constant]

_LARGEST_GRID = 1_000_000


def fill(entries: Entries, draw: Callable[[Parameter], Value]) -> dict[str, Value]:
    """Return a value for every entry that exists; ``draw`` gives those of the parameters."""
    values: dict[str, Value] = {}
    for path, entry in entries.items():
        if exists(entry, values):
            values[path] = entry.value if isinstance(entry, Constant) else draw(entry)
    return values


def complete(entries: Entries, partial: Mapping[str, Any], stream: RandomStream) -> dict[str, Value]:
    """Keep the given values and draw the others; see :meth:`Space.complete`.

    Args:
        entries: The space's parameters and constants.
        partial: Some values, by flat path.
        stream: The source of random numbers.

    Raises:
        InvalidSpace: A path is unknown, a value is not allowed, or two values cannot exist together.
    """
    given = _coerced(entries, partial)
    wanted: dict[str, tuple[str, str]] = {}
    for path in given:
        for choice, option in entries[path].requires:
            if choice in given:
                continue
            because, other = wanted.setdefault(choice, (path, option))
            if other != option:
                allowed = f"left out if {because} is given, which needs {choice} to be {other!r}"
                raise InvalidSpace(path, given[path], allowed)
    given.update({choice: option for choice, (_, option) in wanted.items()})
    values = fill(entries, lambda entry: given[entry.path] if entry.path in given else entry.domain.sample(stream))
    _refuse_inactive(entries, given, values)
    return values


def validate(entries: Entries, values: Mapping[str, Any]) -> dict[str, Value]:
    """Check that values by flat path are complete, and convert them; see :meth:`Space.validate`."""
    given = _coerced(entries, values)

    def take(entry: Parameter) -> Value:
        if entry.path not in given:
            raise InvalidSpace(entry.path, None, "given: every parameter that exists needs a value")
        return given[entry.path]

    checked = fill(entries, take)
    _refuse_inactive(entries, given, checked)
    return checked


def repair(entries: Entries, values: Mapping[str, Value], stream: RandomStream) -> dict[str, Value]:
    """Drop values that no longer exist, draw those that now do, and keep the others.

    Args:
        entries: The space's parameters and constants.
        values: Values by flat path; a choice among them may have changed.
        stream: The source of random numbers.
    """
    return fill(entries, lambda entry: values[entry.path] if entry.path in values else entry.domain.sample(stream))


def with_fixed_of(
    entries: Entries, anchored: Collection[str], values: Mapping[str, Value], source: Mapping[str, Value]
) -> dict[str, Value]:
    """Take the anchored parameters from ``source``, and the others from ``values`` if they still exist.

    Args:
        entries: The space's parameters and constants.
        anchored: Paths of the parameters that belong to the weights; see :meth:`Space.with_fixed_of`.
        values: A member's values, by flat path.
        source: The values of the member that gives the weights, by flat path.
    """

    def take(entry: Parameter) -> Value:
        first, second = (source, values) if entry.path in anchored else (values, source)
        return first[entry.path] if entry.path in first else second[entry.path]

    return fill(entries, take)


def enumerate_grid(entries: Entries, points: int | Mapping[str, int]) -> list[dict[str, Value]]:
    """Return the product of the parameters' grids; the first parameter varies slowest. See :meth:`Space.grid`."""
    if isinstance(points, Mapping):
        _check_named(entries, points)
    assignments: list[dict[str, Value]] = [{}]
    for path, entry in entries.items():
        options: tuple[Value, ...]
        if isinstance(entry, Constant):
            options = (entry.value,)
        else:
            options = entry.domain.grid(points.get(path, 1) if isinstance(points, Mapping) else points)
        longer: list[dict[str, Value]] = []
        for assignment in assignments:
            if exists(entry, assignment):
                longer.extend({**assignment, path: value} for value in options)
            else:
                longer.append(assignment)
            if len(longer) > _LARGEST_GRID:
                raise InvalidArgument("points", points, f"few enough for a grid of at most {_LARGEST_GRID} points")
        assignments = longer
    return assignments


def _check_named(entries: Entries, points: Mapping[str, int]) -> None:
    parameters = {path: entry for path, entry in entries.items() if isinstance(entry, Parameter)}
    for path in points:
        if path not in parameters:
            raise unknown(path, parameters)
    for path, parameter in parameters.items():
        if path not in points and isinstance(parameter.domain, Float | Int):
            raise InvalidArgument("points", dict(points), f"given for {path!r} too, or one number for all")


def _coerced(entries: Entries, values: Mapping[str, Any]) -> dict[str, Value]:
    coerced: dict[str, Value] = {}
    for path, value in values.items():
        entry = entries.get(path)
        if entry is None:
            raise unknown(path, entries)
        if isinstance(entry, Parameter):
            coerced[path] = entry.domain.coerce(value, path)
        else:
            coerced[path] = find((entry.value,), value, path)
    return coerced


def _refuse_inactive(entries: Entries, given: Mapping[str, Value], values: Mapping[str, Value]) -> None:
    for path in given:
        if path not in values:
            choice, option = next(pair for pair in entries[path].requires if values.get(pair[0]) != pair[1])
            found = repr(values[choice]) if choice in values else "left out"
            raise InvalidSpace(path, given[path], f"left out while {choice} is {found}: it exists only for {option!r}")
