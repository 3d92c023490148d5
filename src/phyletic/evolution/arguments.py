"""Check arguments: raise InvalidArgument with the name, the value and what is allowed, unless the value is good.

Algorithms, simulations and pictures share these checks.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from phyletic.errors import InvalidArgument
from phyletic.records.encodings import whole_number

T = TypeVar("T")

_LARGEST = sys.float_info.max


def check_flag(name: str, value: object) -> bool:
    """Return True or False, or raise InvalidArgument."""
    if not isinstance(value, bool):
        raise InvalidArgument(name, value, "True or False")
    return value


def check_integer(name: str, value: object, least: int) -> None:
    """Raise InvalidArgument unless ``value`` is a whole number of at least ``least``.

    Args:
        name: The argument's name.
        value: Its value.
        least: The least allowed value.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**53:
        raise InvalidArgument(name, value, f"a whole number of at least {least}, below 2**53")


def check_number(
    name: str, value: object, *, least: float = -math.inf, above: float = -math.inf, most: float = math.inf
) -> None:
    """Raise InvalidArgument unless ``value`` is a finite number from ``least`` to ``most``, and above ``above``.

    Args:
        name: The argument's name.
        value: Its value.
        least: The least allowed value.
        above: A value that is too small by itself.
        most: The largest allowed value.
    """
    bounds = [f"at least {least:g}"] if least > -math.inf else []
    bounds += [f"above {above:g}"] if above > -math.inf else []
    bounds += [f"at most {most:g}"] if most < math.inf else []
    allowed = "a finite number" + (f", {' and '.join(bounds)}" if bounds else "")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -_LARGEST <= value <= _LARGEST:
        raise InvalidArgument(name, value, allowed)
    if not least <= value <= most or value <= above:
        raise InvalidArgument(name, value, allowed)


def check_probability(name: str, value: object) -> None:
    """Raise InvalidArgument unless ``value`` is a number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise InvalidArgument(name, value, "a probability from 0 to 1")


def check_one_of(name: str, value: object, allowed: Sequence[str]) -> None:
    """Raise InvalidArgument unless ``value`` is one of some words.

    Args:
        name: The argument's name.
        value: Its value.
        allowed: The words.
    """
    if not isinstance(value, str) or value not in allowed:
        raise InvalidArgument(name, value, "one of " + ", ".join(f'"{word}"' for word in allowed))


def check_instance(name: str, value: object, kind: type[T], allowed: str) -> T:
    """Return an instance of a class, or raise InvalidArgument.

    Args:
        name: The argument.
        value: Its value.
        kind: The class.
        allowed: What the error says is allowed.
    """
    if not isinstance(value, kind):
        raise InvalidArgument(name, value, allowed)
    return value


def check_sequence(name: str, value: object, allowed: str) -> tuple[Any, ...]:
    """Return a sequence, such as a list, as a tuple; text and bytes do not count as sequences.

    Args:
        name: The argument's name.
        value: Its value.
        allowed: The allowed values, for the error.
    """
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes, bytearray, memoryview)):
        raise InvalidArgument(name, value, allowed)
    return tuple(value)


def check_mapping(name: str, value: object, allowed: str) -> dict[Any, Any]:
    """Return a mapping as a dictionary.

    Args:
        name: The argument's name.
        value: Its value.
        allowed: The allowed values, for the error.
    """
    if not isinstance(value, Mapping):
        raise InvalidArgument(name, value, allowed)
    return dict(value)


def check_seed(seed: object) -> int:
    """Return a seed, or raise InvalidArgument."""
    number = whole_number(seed)
    if number is None or not 0 <= number < 2**63:
        raise InvalidArgument("seed", seed, "a whole number from 0 to 2**63 - 1")
    return number


def check_intervals(interval: object, interval_seconds: object) -> None:
    """Raise InvalidArgument unless exactly one of the two is given, and its value is good."""
    if interval is None and interval_seconds is None:
        raise InvalidArgument(
            "interval",
            None,
            "given",
            hint="Pass the steps of a trial as interval, or its seconds as interval_seconds",
        )
    if interval is not None and interval_seconds is not None:
        raise InvalidArgument("interval_seconds", interval_seconds, "left out if interval is given")
    if interval is not None:
        check_integer("interval", interval, 1)
    else:
        check_number("interval_seconds", interval_seconds, above=0)
