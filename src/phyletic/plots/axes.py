"""The axes of pictures: which range to show, whether it is logarithmic, and where a value lies on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from phyletic.errors import InvalidArgument
from phyletic.records import Metric, Trial, Value
from phyletic.space import Choice, Int, Ordinal, Space

_FAR = 12.0
"""Cut the bad end if it lies more than this many times the spread of the better nine tenths beyond them."""
_WIDE = 10.0
"""Ratio of the largest to the smallest loss from which a logarithmic axis shows more."""


def readable_range(values: Sequence[float], mode: Literal["min", "max"]) -> tuple[float, float] | None:
    """Return the part of the axis to show: all values, unless a few bad ones would squash the others.

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
    """Return whether a logarithmic axis shows finite scores best: losses that spread widely above zero."""
    return metric.mode == "min" and bool(scores) and min(scores) > 0 and max(scores) > _WIDE * min(scores)


class Scale(msgspec.Struct, frozen=True):
    """The axis of a hyperparameter or of a reported number.

    Attributes:
        name: The hyperparameter's flat path, or the metric's name.
        log: Whether the axis is logarithmic.
        integer: Whether its values are whole numbers.
        levels: The values that it can have, in order, which the axis counts from 0; empty for numbers.
        reported: Whether it is a metric.
    """

    name: str
    log: bool = False
    integer: bool = False
    levels: tuple[Value, ...] = ()
    reported: bool = False

    @property
    def counted(self) -> bool:
        """Whether many trials share a place, so that a little spread makes them visible."""
        return bool(self.levels) or (self.integer and not self.log)

    def place(self, trial: Trial) -> float | None:
        """Return a trial's place on the axis, which is a number or the index of a level; None without a finite value.

        Two levels that are equal in Python, such as 1 and True, have places of their own.
        """
        if self.reported:
            number = trial.metrics.get(self.name, math.nan)
            return number if math.isfinite(number) else None
        if self.name not in trial.hyperparameters:
            return None
        value = trial.hyperparameters[self.name]
        if self.levels:
            return float([(type(level), level) for level in self.levels].index((type(value), value)))
        return float(value)  # type: ignore[arg-type]  # without levels it is a number


def scale_of(name: str, trials: Sequence[Trial], space: Space) -> Scale:
    """Return the axis of a hyperparameter or a metric.

    Args:
        name: The hyperparameter's flat path, or the metric's name.
        trials: Trials of one study, which may have reported the metric.
        space: The study's space.

    Raises:
        InvalidArgument: The space has no such hyperparameter, and no trial reported such a metric.
    """
    if name in space.parameters:
        domain = space.parameters[name].domain
        levels = domain.options if isinstance(domain, Choice) else domain.values if isinstance(domain, Ordinal) else ()
        return Scale(name, domain.log, isinstance(domain, Int), levels)
    reported = list(dict.fromkeys(metric for trial in trials for metric in trial.metrics))
    if name not in reported:
        known = ", ".join([*space.parameters, *reported])
        raise InvalidArgument("pair", name, f"a hyperparameter or a reported metric: {known}")
    return Scale(name, reported=True)
