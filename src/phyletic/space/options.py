"""Options of Ordinal and Choice: check them, and find a value among them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from phyletic.errors import InvalidSpace
from phyletic.space.bounds import refuse
from phyletic.space.values import Value, plain, storable, typed


def as_options(values: Any) -> Any:
    """Return the options as a tuple of plain values; return anything else unchanged, for the check to refuse."""
    # refuse sets: their order differs between processes, and so would the study's identity
    if isinstance(values, (str, bytes, set, frozenset)) or not isinstance(values, Iterable):
        return values
    try:
        return tuple(plain(value) for value in values)
    except Exception:  # an object that only claims to be iterable, such as an array without dimensions
        return values


def check_options(path: str, field: str, options: Any) -> None:
    """Check that there is an option, that each can be stored, and that stored options differ.

    Args:
        path: The parameter's path.
        field: The name of the argument that holds the options.
        options: The options.

    Raises:
        InvalidSpace: Names the parameter, the field, its value and what is allowed.
    """
    if not isinstance(options, tuple):
        refuse(path, field, options, "a list of values")
    if not options:
        refuse(path, field, list(options), "a list of at least one value")
    seen: dict[Any, Any] = {}
    for place, option in enumerate(options):
        if not storable(option):
            refuse(path, f"{field}[{place}]", option, "text, a finite number, True, False or None")
        # JSON does not distinguish 1 and 1.0, but it does distinguish 1 and True.
        key = (isinstance(option, bool), option)
        if key in seen:
            same = "given only once" if typed(seen[key]) == typed(option) else f"different from {seen[key]!r} in JSON"
            refuse(path, f"{field}[{place}]", option, same)
        seen[key] = option


def position(options: tuple[Value, ...], value: object) -> int | None:
    """Return the index of the option that equals a plain value and has its type, or None.

    Example:
        >>> position((1, True, "a"), True), position((1, 2), 1.0)
        (1, None)
    """
    kind = type(value)
    if kind not in (str, int, float, bool, type(None)):
        return None
    for place, option in enumerate(options):
        if type(option) is kind and option == value:
            return place
    return None


def find(options: tuple[Value, ...], value: Any, path: str) -> Value:
    """Return the option that a user's value stands for; 1 may stand for 1.0, and the reverse.

    Args:
        options: The options.
        value: The user's value.
        path: The parameter's path, for the error.

    Raises:
        InvalidSpace: The value is not among the options.
    """
    found = plain(value)
    place = position(options, found)
    if place is None and type(found) in (int, float):
        numbers = [option for option in options if type(option) in (int, float) and option == found]
        if numbers:
            return numbers[0]
    if place is None:
        listed = ", ".join(repr(option) for option in options[:20]) + (", ..." if len(options) > 20 else "")
        raise InvalidSpace(path, value, f"one of {listed}" if len(options) > 1 else listed)
    return options[place]


def typed_options(options: Any) -> Any:
    """Return a key that tells 1, 1.0 and True apart; return anything but a tuple unchanged."""
    return tuple(map(typed, options)) if isinstance(options, tuple) else options
