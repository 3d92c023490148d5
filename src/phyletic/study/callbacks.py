"""Callbacks of a run: objects that are told what is committed while it goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from phyletic.errors import InvalidArgument
from phyletic.evolution.arguments import check_sequence
from phyletic.records import StudyChange
from phyletic.records.event import DECIDED, GIVEN_UP

if TYPE_CHECKING:
    from phyletic.study.study import Study

__all__ = ["HOOKS", "call_finished", "check_callbacks", "teller"]

_HOOK_OF = {DECIDED: "on_decision", "completed": "on_completed", GIVEN_UP: "on_failed", "control": "on_control"}
HOOKS = (*_HOOK_OF.values(), "on_finished")
"""The methods that a callback may have."""

_logger = logging.getLogger("phyletic")


def check_callbacks(callbacks: object) -> tuple[Any, ...]:
    """Return the callbacks of a run, or raise InvalidArgument unless each has one of the methods."""
    if callbacks is None:
        return ()
    allowed = f"a list of objects with any of the methods {', '.join(HOOKS)}"
    found = tuple(check_sequence("callbacks", callbacks, allowed))
    for callback in found:
        if isinstance(callback, type) or not any(callable(getattr(callback, name, None)) for name in HOOKS):
            raise InvalidArgument("callbacks", callback, allowed)
    return found


def teller(study: Study, callbacks: Sequence[Any]) -> Callable[[Sequence[StudyChange]], None]:
    """Return a function that tells callbacks what was committed; what one of them raises is logged.

    Args:
        study: The study that runs, which each method gets first.
        callbacks: The callbacks.
    """

    def tell(changes: Sequence[StudyChange]) -> None:
        for change in changes:
            name = _HOOK_OF.get(change.kind)
            if name is not None:
                for callback in callbacks:
                    _call(callback, name, study, change)

    return tell


def call_finished(study: Study, callbacks: Sequence[Any]) -> None:
    """Tell callbacks that the run has ended."""
    for callback in callbacks:
        _call(callback, "on_finished", study)


def _call(callback: Any, name: str, *arguments: object) -> None:
    method = getattr(callback, name, None)
    if method is None:
        return
    try:
        method(*arguments)
    except Exception:
        _logger.exception("%r.%s raised, and the study goes on", callback, name)
