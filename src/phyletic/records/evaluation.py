"""One value of one metric at one step of a trial."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["Evaluation"]


class Evaluation(msgspec.Struct, frozen=True):
    """One reported value.

    Attributes:
        step: Step along the lineage at which it was measured.
        metric: Name of the metric.
        value: What was measured; NaN and infinities are kept as they are.
        kind: ``"progress"`` for a report during the trial, ``"final"`` for the one at its end.
    """

    step: int
    metric: str
    value: float
    kind: Literal["progress", "final"] = "final"
