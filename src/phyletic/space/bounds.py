"""Convert, check and print the arguments of Float and Int."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from phyletic.errors import InvalidSpace
from phyletic.space.values import EXACT_INTEGERS, plain

_FINEST = 1e9
"""Largest number of steps from zero to the far end of a grid of floats; rounding would blur a finer grid."""

_ROUNDING = 1e-6
"""A float closer than this to a grid point, in steps, differs from it only by rounding."""


def as_float(value: Any) -> Any:
    """Convert a number to a float if that is exact; return anything else unchanged, for the check to refuse."""
    value = plain(value)
    if type(value) is int:
        try:
            converted = float(value)
        except OverflowError:
            return value
        return converted + 0.0 if converted == value else value
    return value + 0.0 if type(value) is float else value  # -0.0 becomes 0.0


def as_int(value: Any) -> Any:
    """Convert a whole float to an int; return anything else unchanged, for the check to refuse."""
    value = plain(value)
    if type(value) is float and value.is_integer():
        return int(value)
    return value


def keep_arguments(domain: Any, convert: Callable[[Any], Any], **given: Any) -> None:
    """Set the fields of a new Float or Int: numbers converted, and limits as a pair.

    A value that cannot be converted is kept as it is, for the check to refuse.

    Args:
        domain: The domain, frozen.
        convert: :func:`as_float` or :func:`as_int`.
        **given: The user's arguments; limits of None stand for ``(low, high)``.
    """
    kept = {**given, **{name: convert(given[name]) for name in ("low", "high", "step")}}
    limits = given["limits"]
    if limits is None:
        kept["limits"] = (kept["low"], kept["high"])
    elif isinstance(limits, (tuple, list)) and len(limits) == 2:
        kept["limits"] = (convert(limits[0]), convert(limits[1]))
    for name, value in kept.items():
        object.__setattr__(domain, name, value)


def whole_steps(distance: float, step: float) -> int | None:
    """Return how many steps make up ``distance``; None if no whole number does, apart from rounding.

    Example:
        >>> whole_steps(0.3, 0.1), whole_steps(0.35, 0.1), whole_steps(9, 3)
        (3, None, 3)
    """
    if isinstance(distance, int) and isinstance(step, int):
        return distance // step if distance % step == 0 else None
    ratio = distance / step
    nearest = round(ratio)
    return nearest if abs(ratio - nearest) <= _ROUNDING else None


def check_bounds(path: str, domain: Any, kind: type) -> None:
    """Check ``low``, ``high``, ``limits`` and ``log`` of a Float or an Int.

    Args:
        path: The parameter's path.
        domain: The domain.
        kind: ``float`` or ``int``.

    Raises:
        InvalidSpace: Names the parameter, the field, its value and what is allowed.
    """
    check_flag(path, "log", domain.log)
    check_flag(path, "fixed", domain.fixed)
    _check_number(path, "low", domain.low, kind)
    _check_number(path, "high", domain.high, kind)
    if domain.high <= domain.low:
        hint = f"A value that never varies is a constant: {domain.low!r}" if domain.high == domain.low else ""
        refuse(path, "high", domain.high, f"above low ({domain.low!r})", hint)
    limits = domain.limits
    if not isinstance(limits, tuple) or len(limits) != 2:
        refuse(path, "limits", limits, "a pair (lowest, highest)")
    for place, bound in enumerate(limits):
        _check_number(path, f"limits[{place}]", bound, kind)
    if limits[0] > domain.low or limits[1] < domain.high:
        refuse(path, "limits", limits, f"at least as wide as low to high ({domain.low!r} to {domain.high!r})")
    if not math.isfinite(limits[1] - limits[0]):
        refuse(path, "limits", limits, "closer together: their distance overflows a float")
    if domain.log and domain.low <= 0:
        refuse(path, "low", domain.low, "above 0 with log=True")
    if domain.log and limits[0] <= 0:
        refuse(path, "limits[0]", limits[0], "above 0 with log=True")


def _check_number(path: str, field: str, value: Any, kind: type) -> None:
    """Raise InvalidSpace unless a field holds a number of this kind.

    Args:
        path: The parameter's path.
        field: The field's name.
        value: Its value.
        kind: ``float`` or ``int``.
    """
    if kind is int:
        if type(value) is not int or not -EXACT_INTEGERS <= value <= EXACT_INTEGERS:
            refuse(path, field, value, "a whole number from -2**53 to 2**53")
    elif type(value) is not float or not math.isfinite(value):
        refuse(path, field, value, "a finite number")


def check_step(path: str, domain: Any, kind: type[float]) -> None:
    """Check the ``step`` of a Float or an Int whose bounds are valid.

    Args:
        path: The parameter's path.
        domain: The domain.
        kind: ``float`` or ``int``.

    Raises:
        InvalidSpace: Names the parameter, the field, its value and what is allowed.
    """
    step, low, high = domain.step, domain.low, domain.high
    whole = "a whole number" if kind is int else "a finite number"
    if type(step) is not kind or not 0 < step <= sys.float_info.max:
        refuse(path, "step", step, f"{whole} above 0" + ("" if kind is int else ", or None"))
    if kind is float and max(abs(low), abs(high), *map(abs, domain.limits)) / step > _FINEST:
        refuse(path, "step", step, "at least a billionth of the largest bound", "Leave it out for a continuous range")
    if whole_steps(high - low, step) is None or high - low < step / 2:
        refuse(path, "step", step, f"a divisor of high - low ({high!r} - {low!r} = {high - low!r})")
    for place, bound in enumerate(domain.limits):
        if whole_steps(bound - low, step) is None:
            refuse(path, f"limits[{place}]", bound, f"on the grid: low ({low!r}) plus whole steps of {step!r}")


def check_flag(path: str, field: str, value: object) -> None:
    """Raise InvalidSpace unless a field of a domain is True or False.

    Args:
        path: The parameter's path.
        field: The field's name.
        value: Its value.
    """
    if not isinstance(value, bool):
        refuse(path, field, value, "True or False")


def refuse(path: str, field: str, value: object, allowed: str, hint: str = "") -> NoReturn:
    """Raise InvalidSpace for one field of a domain.

    Args:
        path: The parameter's path.
        field: The field's name.
        value: Its value.
        allowed: What the field may be, as the end of "must be ...".
        hint: What to do, if ``allowed`` does not say it.
    """
    raise InvalidSpace(f"space[{path!r}].{field}", value, allowed, hint)


def arguments(domain: Any) -> dict[str, Any]:
    """Return the arguments of a Float or an Int that differ from their defaults."""
    kept = {"low": domain.low, "high": domain.high}
    if domain.log:
        kept["log"] = True
    if domain.step is not None and not (type(domain.step) is int and domain.step == 1):
        kept["step"] = domain.step
    if domain.limits != (domain.low, domain.high):
        kept["limits"] = list(domain.limits) if isinstance(domain.limits, tuple) else domain.limits
    if domain.fixed:
        kept["fixed"] = True
    return kept


def shown(domain: Any) -> str:
    """Return a Float or an Int as Python code."""
    rest = arguments(domain)
    low, high = rest.pop("low"), rest.pop("high")
    if "limits" in rest:
        rest["limits"] = domain.limits
    words = [repr(low), repr(high), *(f"{name}={value!r}" for name, value in rest.items())]
    return f"{type(domain).__name__}({', '.join(words)})"
