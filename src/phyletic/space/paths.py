"""Values by flat path, and the same values nested.

Flat, a group's members are ``"optimizer.lr"``, and what is under an option of a choice has the option in its path:
``{"optimizer": "sgd", "optimizer.sgd.momentum": 0.9}``. Nested, a group is a dictionary, and a choice with parameters
under its option is a dictionary of one entry, as in the definition: ``{"optimizer": {"sgd": {"momentum": 0.9}}}``.
A choice whose option has nothing under it is just the option: ``{"optimizer": "none"}``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from phyletic.errors import InvalidSpace, NotFound
from phyletic.space.definition import DEEPEST
from phyletic.space.names import did_you_mean
from phyletic.space.values import Value

__all__ = ["flatten", "lookup", "nest"]

_DEEPEST = 2 * DEEPEST
"""An option of a choice is a level of its own here."""


def nest(values: Mapping[str, Value]) -> dict[str, Any]:
    """Nest values given by flat path.

    Args:
        values: Values by flat path; a choice before what is under it.

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
            # A choice already holds its option here: what is under it replaces it.
            if not isinstance(place.get(group), dict):
                place[group] = {}
            place = place[group]
        place[name] = value
    return nested


def flatten(nested: Mapping[str, Any], choices: Collection[str] = ()) -> dict[str, Any]:
    """Flatten values given nested, by flat path, or mixed.

    Args:
        nested: Values; a key may be a path with dots.
        choices: Paths of the choices with spaces under them, at which ``{option: {...}}`` names an option.

    Returns:
        Values by flat path.

    Raises:
        InvalidSpace: A path is given twice, a key is no text, or the nesting is too deep.

    Example:
        >>> flatten({"optimizer": {"sgd": {"momentum": 0.9}}}, ["optimizer"])
        {'optimizer': 'sgd', 'optimizer.sgd.momentum': 0.9}
    """
    flat: dict[str, Any] = {}
    for path, value in _leaves(nested, "", choices, 1):
        # A choice may be said both by its value and by what is under it.
        if path in flat and not (path in choices and flat[path] == value):
            raise InvalidSpace(path, value, f"given once only; it is also {flat[path]!r}")
        flat[path] = value
    return flat


def _leaves(nested: Mapping[Any, Any], prefix: str, choices: Collection[str], depth: int) -> Iterator[tuple[str, Any]]:
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
    """Return the value at a path, or what is below it.

    Args:
        values: Values by flat path.
        path: A parameter's path, or a group's, or a choice's with an option.

    Returns:
        The value of a parameter (of a choice: its option); for a group a dictionary as :func:`nest` makes it.

    Raises:
        NotFound: Nothing is there; the error suggests the nearest name.

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
