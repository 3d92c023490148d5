"""One attempt that ended with an error."""

from __future__ import annotations

from typing import Any

import msgspec

from phyletic.records.event import Event


class FailedAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt at a trial that raised, was lost with its worker, or met a damaged checkpoint.

    Attributes:
        trial: Number of the trial.
        member: Its member.
        attempt: Which attempt it was, from 1.
        cause: ``"error"`` (the training code raised), ``"lost"`` or ``"damaged"``.
        worker: Name of the worker; None if it had none.
        at: When it ended, in seconds since 1970.
        error: The last line of the text, which names the exception.
        traceback: The whole text.
    """

    trial: int
    member: int
    attempt: int
    cause: str
    worker: str | None
    at: float
    error: str
    traceback: str


def failed_attempt(event: Event) -> FailedAttempt | None:
    r"""Return the failed attempt that an event of the kind ``"attempt ended"`` tells; None if it did not fail.

    Example:
        >>> payload = {"member": 2, "attempt": 1, "worker": None, "cause": "error", "error": "...\nValueError: no"}
        >>> failed_attempt(Event(kind="attempt ended", at=0.0, trial=7, payload=payload)).error
        'ValueError: no'
    """
    payload: dict[str, Any] = event.payload
    if event.trial is None or payload.get("cause") not in ("error", "lost", "damaged"):
        return None
    text = str(payload["error"]).strip()
    return FailedAttempt(
        trial=event.trial,
        member=payload["member"],
        attempt=payload["attempt"],
        cause=payload["cause"],
        worker=payload["worker"],
        at=event.at,
        error=text.rpartition("\n")[2],
        traceback=text,
    )
