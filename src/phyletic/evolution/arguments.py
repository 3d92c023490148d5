"""Checks of arguments that several algorithms take."""

from __future__ import annotations

import math
import sys

from phyletic.errors import InvalidArgument

__all__ = ["check_flag", "check_integer", "check_intervals", "check_number", "check_probability"]

_LARGEST = sys.float_info.max


def check_flag(name: str, value: object) -> bool:
    """Return True or False, or raise InvalidArgument."""
    if not isinstance(value, bool):
        raise InvalidArgument(name, value, "True or False")
    return value


def check_integer(name: str, value: object, least: int) -> None:
    """Raise InvalidArgument unless ``value`` is a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**53:
        raise InvalidArgument(name, value, f"a whole number of at least {least}")


def check_number(name: str, value: object, *, least: float = -math.inf, above: float = -math.inf) -> None:
    """Raise InvalidArgument unless ``value`` is a finite number, at least ``least`` and above ``above``."""
    allowed = "a finite number"
    if least > -math.inf:
        allowed += f" of at least {least:g}"
    if above > -math.inf:
        allowed += f" above {above:g}"
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -_LARGEST <= value <= _LARGEST:
        raise InvalidArgument(name, value, allowed)
    if value < least or value <= above:
        raise InvalidArgument(name, value, allowed)


def check_probability(name: str, value: object) -> None:
    """Raise InvalidArgument unless ``value`` is a number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise InvalidArgument(name, value, "a probability from 0 to 1")


def check_intervals(interval: object, interval_seconds: object) -> None:
    """Raise InvalidArgument unless exactly one of the two is given, and it is good."""
    if interval is None and interval_seconds is None:
        raise InvalidArgument(
            "interval",
            None,
            "given",
            hint="Pass the steps of a trial as interval, or its seconds as interval_seconds",
        )
    if interval is not None and interval_seconds is not None:
        raise InvalidArgument("interval_seconds", interval_seconds, "left out where interval is given")
    if interval is not None:
        check_integer("interval", interval, 1)
    else:
        check_number("interval_seconds", interval_seconds, above=0)
