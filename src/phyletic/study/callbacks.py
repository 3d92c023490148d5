"""Callbacks of a run: objects whose methods are called with each change after its commit."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from phyletic.errors import InvalidArgument
from phyletic.evolution.arguments import check_sequence
from phyletic.records import StudyChange
from phyletic.records.event import DECIDED, GIVEN_UP

if TYPE_CHECKING:
    from phyletic.study.study import Study

HOOKS = {
    DECIDED: "on_decision",
    "completed": "on_completed",
    GIVEN_UP: "on_failed",
    "control": "on_control",
    "finished": "on_finished",
}
"""The methods that a callback may have, by the kind of change after which they are called."""

_logger = logging.getLogger("phyletic")


def check_callbacks(callbacks: object) -> tuple[Any, ...]:
    """Return the callbacks of a run, or raise InvalidArgument unless each has one of the methods."""
    if callbacks is None:
        return ()
    allowed = f"a list of objects with any of the methods {', '.join(HOOKS.values())}"
    found = check_sequence("callbacks", callbacks, allowed)
    for callback in found:
        if isinstance(callback, type) or not any(callable(getattr(callback, name, None)) for name in HOOKS.values()):
            raise InvalidArgument("callbacks", callback, allowed)
    return found


def call_back(callbacks: Sequence[Any], study: Study, kind: str, *change: StudyChange) -> None:
    """Call the method of each callback that is for a kind of change; log what a callback raises.

    Args:
        callbacks: The callbacks.
        study: The study that runs.
        kind: The kind of the change, or ``"finished"``.
        *change: The change, unless the run has ended.
    """
    for callback in callbacks:
        method = getattr(callback, HOOKS.get(kind, ""), None)
        if method is not None:
            try:
                method(study, *change)
            except Exception:
                _logger.exception("%r raised, and the study goes on", method)
