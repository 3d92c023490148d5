"""What an algorithm knows of one member."""

from __future__ import annotations

import msgspec

from phyletic.records import Trial

__all__ = ["MemberView"]


class MemberView(msgspec.Struct, frozen=True, kw_only=True):
    """One member of a population, as an algorithm sees it.

    Attributes:
        member: Its place in the population, from 0.
        trial: Its head: its latest completed trial. None before the first.
        scores: Latest evaluations of the metric along the lineage of its weights, newest last; at most the
            algorithm's ``window`` of them.
        history: ``(end_step, score)`` of the trials along its lineage, oldest first, bounded; empty unless the
            algorithm says ``uses_history``.
        failed: Whether its latest trial was given up, so that it must be rescued.
        early_stopped: Whether its latest trial was ended early because the algorithm wanted it.
    """

    member: int
    trial: Trial | None = None
    scores: tuple[float, ...] = ()
    history: tuple[tuple[int, float], ...] = ()
    failed: bool = False
    early_stopped: bool = False

    @property
    def sound(self) -> bool:
        """Whether it can go on from its own head: it has one with a finite score, which is no failure's or hopeless."""
        return self.trial is not None and not self.failed and not self.early_stopped and self.trial.finite
