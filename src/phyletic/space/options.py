"""What Ordinal and Choice share: the checks of their options, and finding a value among them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from phyletic.errors import InvalidSpace
from phyletic.space.bounds import refuse
from phyletic.space.values import Value, plain, storable, typed

__all__ = ["as_options", "check_options", "find", "position", "typed_options"]


def as_options(values: Any) -> Any:
    """Return the options as a tuple of plain values; what holds none is left as it is, to be refused later."""
    # a set has no order: the same study would have another identity in each process
    if isinstance(values, (str, bytes, set, frozenset)) or not isinstance(values, Iterable):
        return values
    try:
        return tuple(plain(value) for value in values)
    except Exception:  # what cannot be iterated although it says so, such as an array of no dimension
        return values


def check_options(path: str, field: str, options: Any) -> None:
    """Check that there are options, that each can be stored, and that stored ones can be told apart.

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
        # 1 and 1.0 are one number in JSON, while 1 and True differ.
        key = (isinstance(option, bool), option)
        if key in seen:
            same = "given once only" if typed(seen[key]) == typed(option) else f"told apart from {seen[key]!r} by JSON"
            refuse(path, f"{field}[{place}]", option, same)
        seen[key] = option


def position(options: tuple[Value, ...], value: object) -> int | None:
    """Return where a plain value of the very same type is among the options; None where it is not.

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
    """Return the option that a user's value stands for; numbers may come as 1 for 1.0 and the reverse.

    Raises:
        InvalidSpace: It stands for none.
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
    """Return options that are equal only where their types are too; what holds none as it is."""
    return tuple(map(typed, options)) if isinstance(options, tuple) else options
