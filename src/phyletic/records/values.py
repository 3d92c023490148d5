"""The values a hyperparameter can have, and numbers that survive JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

__all__ = ["Hyperparameters", "Value", "decode_number", "encode_number"]

Value: TypeAlias = float | int | str | bool | None
"""One hyperparameter's value. Floats are finite."""

Hyperparameters: TypeAlias = Mapping[str, Value]
"""Values by flat path (``"optimizer.sgd.momentum"``), in the order of the space."""


def encode_number(number: float) -> float | str:
    """Encode a number for JSON, which has no NaN and no infinities (both would become null).

    Example:
        >>> encode_number(float("-inf")), encode_number(0.5)
        ('-Infinity', 0.5)
    """
    if math.isfinite(number):
        return number
    if number != number:
        return "NaN"
    return "Infinity" if number > 0 else "-Infinity"


def decode_number(encoded: float | str) -> float:
    """Decode what :func:`encode_number` gave.

    Example:
        >>> decode_number("NaN")
        nan
    """
    return float(encoded)
