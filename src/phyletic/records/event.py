"""What happens to a study, as the database stores it and as followers get it."""

from __future__ import annotations

from typing import Any

import msgspec

from phyletic.records.trial import Trial

DECIDED = "decided"
"""Kind of the change that a trial was decided; the trial itself tells it, so it is no event."""
RESULTS = ("completed", "partial")
"""Kinds of the changes that a trial was told: with a score, or handed back early; these are no events either."""
GIVEN_UP = "trial given up"
"""A trial ended without a result, and will not be tried again."""
ENDED_ATTEMPT = "attempt ended"
"""An attempt ended without a result; its payload has the worker, the times and the cause."""
HEAD = "head"
"""A member's head changed otherwise than by completing a trial; its payload has the member and the head."""
OWNER = "owner"
"""An owner began; its payload has its host and the versions that it ran with."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to a study beside decisions and results, which the trials themselves tell.

    Attributes:
        kind: What, in a few words: ``"trial given up"``, ``"attempt ended"``, ``"trial cut"``,
            ``"trial stopped early"``, ``"head"``, ``"control"`` or ``"owner"``.
        at: When, in seconds since 1970.
        trial: Number of the trial that it happened to; None if it happened to the study.
        payload: The particulars; anything that JSON can hold, and records.
    """

    kind: str
    at: float
    trial: int | None = None
    payload: dict[str, Any] = {}


class StudyChange(msgspec.Struct, frozen=True, kw_only=True):
    """One committed change of a study: followers get this record while it runs, and readers get the same one later.

    Attributes:
        sequence: Number of the write that committed it; several changes of one write share it.
        kind: ``"decided"``, ``"completed"``, ``"partial"``, or as in :class:`Event`.
        at: When, in seconds since 1970.
        trial: The trial that it happened to. While the study runs it is the trial as the write left it; read from the
            store it is the trial as it is stored now. None for a change of the study itself.
        payload: The particulars.
    """

    sequence: int
    kind: str
    at: float
    trial: Trial | None = None
    payload: dict[str, Any] = {}
