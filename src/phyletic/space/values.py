"""The values of parameters: plain Python objects that JSON stores exactly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

Value: TypeAlias = float | int | str | bool | None
"""One parameter's value. Floats are finite."""

Hyperparameters: TypeAlias = Mapping[str, Value]
"""Values by flat path (``"optimizer.sgd.momentum"``), in the order of the space."""

EXACT_INTEGERS = 2**53
"""Every reader of JSON keeps whole numbers up to this size exact."""

_LONGEST_TEXT = 10_000


def plain(value: Any) -> Any:
    """Convert a numpy scalar, or an instance of a subclass, to a plain Python value; return anything else unchanged.

    Example:
        >>> import numpy as np
        >>> plain(np.float32(0.5)), plain(np.int64(3)), plain(np.bool_(True)), plain([1])
        (0.5, 3, True, [1])
    """
    if value is None or type(value) in (float, int, bool, str):
        return value
    # without importing numpy: code that holds one of its scalars has imported it
    scalar = type(value).__module__ == "numpy" and type(value).__name__ != "ndarray"
    kind = value.dtype.kind if scalar and hasattr(value, "dtype") else ""
    if kind == "b":
        return bool(value)
    if kind == "f" or isinstance(value, float):
        return float(value)
    if kind in ("i", "u") or isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        return str.__str__(value)
    return value


def storable(value: Any) -> bool:
    """Whether JSON and a database keep ``value`` exactly: text, None, a truth value or a finite number.

    Example:
        >>> storable("sgd"), storable(float("nan")), storable(2**60), storable([1])
        (True, False, False, False)
    """
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, int):
        return -EXACT_INTEGERS <= value <= EXACT_INTEGERS
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, str):
        return len(value) <= _LONGEST_TEXT and not any("\ud800" <= letter <= "\udfff" for letter in value)
    return False


def typed(value: Any) -> tuple[type, Any]:
    """Return a key under which 1, 1.0 and True are different values."""
    return type(value), value
