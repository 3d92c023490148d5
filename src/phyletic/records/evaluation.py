"""What is measured: one value of one metric at one step, and what a lineage measured so far."""

from __future__ import annotations

from typing import Literal

import msgspec


class Evaluation(msgspec.Struct, frozen=True):
    """One reported value.

    Attributes:
        step: Step along the lineage at which the training code measured it.
        metric: Name of the metric.
        value: The measured value; NaN and infinities stay what they are.
        kind: ``"progress"`` for a report during the trial, ``"final"`` for the report at its end.
    """

    step: int
    metric: str
    value: float
    kind: Literal["progress", "final"] = "final"


class Measured(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was measured along a lineage, as far as the study's algorithm reads it.

    Attributes:
        scores: The latest values of the first metric, newest last, as many as the algorithm's window.
        history: ``(end_step, score)`` of the latest trials with a score, oldest first.
    """

    scores: tuple[float, ...] = ()
    history: tuple[tuple[int, float], ...] = ()


NOTHING_MEASURED = Measured()
"""What a newborn has measured, and what an algorithm reads that reads nothing."""
