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
        scores: The latest evaluations of the metric along its lineage, newest last: as many as the algorithm's
            ``reads.scores`` asks for.
        history: ``(end_step, score)`` of the latest trials along its lineage, oldest first; empty unless the
            algorithm's ``reads.history`` is true.
        failed: Whether its latest trial was given up, so that it must be rescued.
        early_stopped: Whether the algorithm ended its latest trial early.
    """

    member: int
    trial: Trial | None = None
    scores: tuple[float, ...] = ()
    history: tuple[tuple[int, float], ...] = ()
    failed: bool = False
    early_stopped: bool = False

    @property
    def sound(self) -> bool:
        """Whether it can go on from its own head: a finite score, and neither failed nor stopped early."""
        return self.trial is not None and not self.failed and not self.early_stopped and self.trial.finite
