"""Convert values between flat paths and nested dictionaries.

Flat, a group's members are ``"optimizer.lr"``, and the path of a parameter under an option contains the option:
``{"optimizer": "sgd", "optimizer.sgd.momentum": 0.9}``. Nested, a group is a dictionary, and a choice with parameters
under its option is a dictionary of one entry, as in the definition: ``{"optimizer": {"sgd": {"momentum": 0.9}}}``.
A choice without parameters under its option is just the option: ``{"optimizer": "none"}``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from phyletic.errors import InvalidSpace, NotFound
from phyletic.space.definition import DEEPEST
from phyletic.space.names import did_you_mean
from phyletic.space.values import Value

_DEEPEST = 2 * DEEPEST
"""Twice the depth of a definition, since the option of a choice is a level of its own here."""


def nest(values: Mapping[str, Value]) -> dict[str, Any]:
    """Nest values given by flat path.

    Args:
        values: Values by flat path; a choice comes before the values under it.

    Returns:
        Groups as dictionaries, and a choice with parameters under its option as ``{option: {...}}``.

    Example:
        >>> nest({"width": 64, "optimizer": "sgd", "optimizer.sgd.momentum": 0.9})
        {'width': 64, 'optimizer': {'sgd': {'momentum': 0.9}}}
    """
    nested: dict[str, Any] = {}
    for path, value in values.items():
        *groups, name = path.split(".")
        place = nested
        for group in groups:
            # A choice already has its option as the value here; replace it by the dictionary.
            if not isinstance(place.get(group), dict):
                place[group] = {}
            place = place[group]
        place[name] = value
    return nested


def flatten(nested: Mapping[str, Any], choices: Collection[str] = ()) -> dict[str, Any]:
    """Return values by flat path, given nested, by flat path, or mixed.

    Args:
        nested: Values; a key may be a path with dots.
        choices: Paths of the choices with spaces under them; there ``{option: {...}}`` names an option.

    Returns:
        Values by flat path.

    Raises:
        InvalidSpace: A path is given twice, a key is not text, or the nesting is too deep.

    Example:
        >>> flatten({"optimizer": {"sgd": {"momentum": 0.9}}}, ["optimizer"])
        {'optimizer': 'sgd', 'optimizer.sgd.momentum': 0.9}
    """
    flat: dict[str, Any] = {}
    for path, value in _leaves(nested, "", choices, 1):
        # A choice may be given both as a value and by the values under it.
        if path in flat and not (path in choices and flat[path] == value):
            raise InvalidSpace(path, value, f"given only once; it is also {flat[path]!r}")
        flat[path] = value
    return flat


def _leaves(nested: Mapping[Any, Any], prefix: str, choices: Collection[str], depth: int) -> Iterator[tuple[str, Any]]:
    """Yield each value with its flat path.

    Args:
        nested: Values; a key may be a path with dots.
        prefix: Path of the dictionary; empty for the outermost one.
        choices: Paths of the choices with spaces under them.
        depth: How many dictionaries it is inside of, plus 1.
    """
    if depth > _DEEPEST:
        hint = "Does a dictionary contain itself?"
        raise InvalidSpace(f"the depth of {prefix}", depth, f"at most {_DEEPEST}", hint)
    for key, value in nested.items():
        if not isinstance(key, str):
            raise InvalidSpace(f"a name in {prefix or 'the values'}", key, "text")
        path = f"{prefix}.{key}" if prefix else key
        if not isinstance(value, Mapping):
            yield path, value
        elif path in choices:
            if len(value) != 1 or not all(isinstance(under, Mapping) for under in value.values()):
                raise InvalidSpace(path, dict(value), "an option, or {option: {its parameters}}")
            yield path, next(iter(value))
            yield from _leaves(value, path, choices, depth + 1)
        else:
            yield from _leaves(value, path, choices, depth + 1)


def lookup(values: Mapping[str, Value], path: str) -> Any:
    """Return the value at a path, or the values below it.

    Args:
        values: Values by flat path.
        path: The path of a parameter, a group, or an option of a choice.

    Returns:
        A parameter's value (for a choice, its option); for a group or an option, a dictionary as in :func:`nest`.

    Raises:
        NotFound: The path is unknown; the error suggests the nearest name.

    Example:
        >>> values = {"optimizer": "sgd", "optimizer.sgd.momentum": 0.9}
        >>> lookup(values, "optimizer"), lookup(values, "optimizer.sgd")
        ('sgd', {'momentum': 0.9})
    """
    if path in values:
        return values[path]
    below = f"{path}."
    found = {known[len(below) :]: value for known, value in values.items() if known.startswith(below)}
    if found:
        return nest(found)
    hint = did_you_mean(path, values)
    listed = ", ".join(values)
    raise NotFound(f"no hyperparameter {path!r:.200} here. " + (hint or f"There are: {listed or 'none'}"))
