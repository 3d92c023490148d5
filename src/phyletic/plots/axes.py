"""Axes: their range, whether they are logarithmic, and where a value is on them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from phyletic.records import Metric, Value
from phyletic.space import Choice, Domain, Ordinal

__all__ = ["levels_of", "logarithmic", "place_of", "readable_range"]

_FAR = 12.0
"""Spreads of the better nine tenths of the values at which the worse ones would squash them."""
_WIDE = 10.0
"""Ratio of the largest to the smallest loss from which a logarithmic axis shows more."""


def readable_range(values: Sequence[float], mode: Literal["min", "max"]) -> tuple[float, float] | None:
    """Return the part of the axis worth showing: all values, unless a few bad ones would squash the others.

    The good end is never cut. The bad end is cut if it lies very far beyond nine tenths of the values, as the scores of
    diverged members do; the caller draws the values beyond it at the edge.
    """
    finite = sorted(value for value in values if math.isfinite(value))
    if not finite:
        return None
    low, high = finite[0], finite[-1]
    tenth = len(finite) // 10
    if mode == "max":
        typical = finite[tenth]
        low = low if typical - low <= _FAR * (high - typical) else typical - (high - typical)
    else:
        typical = finite[-1 - tenth]
        high = high if high - typical <= _FAR * (typical - low) else typical + (typical - low)
    margin = 0.05 * (high - low) or max(abs(high) * 0.05, 1e-9)
    return low - margin, high + margin


def logarithmic(scores: Sequence[float], metric: Metric) -> bool:
    """Return whether finite scores are shown best on a logarithmic scale: losses that spread widely above zero."""
    return metric.mode == "min" and bool(scores) and min(scores) > 0 and max(scores) > _WIDE * min(scores)


def levels_of(domain: Domain) -> tuple[Value, ...]:
    """Return the values of a domain that an axis counts; none for numbers."""
    if isinstance(domain, Choice):
        return domain.options
    return domain.values if isinstance(domain, Ordinal) else ()


def place_of(value: Value, levels: tuple[Value, ...]) -> float:
    """Return where a value is on an axis: the number, or its place among the levels."""
    if not levels:
        return float(value)  # type: ignore[arg-type]  # without levels it is a number
    # By type too: 1 and True are two options.
    return float([(type(level), level) for level in levels].index((type(value), value)))
