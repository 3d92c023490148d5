"""One value of one metric at one step of a trial."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["Evaluation"]


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
