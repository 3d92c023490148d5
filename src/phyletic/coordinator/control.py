"""Changes of a study's control, each recorded as an event."""

from __future__ import annotations

from typing import Any

import msgspec

from phyletic.coordinator.messages import Control, Done, Pin
from phyletic.coordinator.retention import condemn_unneeded, rank_best
from phyletic.coordinator.state import TAKEN_OUT, StudyState
from phyletic.errors import InvalidArgument, NotFound
from phyletic.evolution.arguments import check_flag, check_instance
from phyletic.records import Budget, Trial, TrialState
from phyletic.storage.changes import Changes, Event, TrialUpdate

__all__ = ["change", "check_control", "check_count", "pin"]

LARGEST_POPULATION = 100_000


def check_count(name: str, value: object, most: int = LARGEST_POPULATION) -> int:
    """Return a whole number from 1 to ``most``, or raise InvalidArgument naming it."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise InvalidArgument(name, value, f"a whole number from 1 to {most}")
    return value


def check_control(command: Control) -> dict[str, Any]:
    """Return the settings that a change of control gives, or raise InvalidArgument naming one that cannot be."""
    settings = {name: value for name, value in msgspec.structs.asdict(command).items() if value is not None}
    for name in ("population", "max_failures", "max_losses", "keep_best"):
        if name in settings:
            check_count(name, settings[name])
    if "paused" in settings:
        check_flag("paused", settings["paused"])
    if "budget" in settings:
        check_instance("budget", settings["budget"], Budget, "a Budget, such as ph.Budget(steps=3000)")
    return settings


def change(state: StudyState, changes: Changes, command: Control, now: float) -> Done:
    """Apply a change of control.

    Raises:
        InvalidArgument: A setting is out of its range.
    """
    settings = check_control(command)
    before = state.control
    control = msgspec.structs.replace(before, **settings)
    if control == before:
        return Done()
    state.control = control
    changes.control = control
    differing = {name: _plain(value) for name, value in settings.items() if value != getattr(before, name)}
    changes.events.append(Event(kind="control", at=now, payload=differing))
    if control.population < before.population:
        _take_out(state, changes, control.population, before.population, now)
    elif control.population > before.population:
        _bring_back(state, before.population, control.population)
    if control.keep_best > before.keep_best:
        rank_best(state)
    elif control.keep_best < before.keep_best:
        fallen, state.best = state.best[control.keep_best :], state.best[: control.keep_best]
        condemn_unneeded(state, changes, fallen)
    return Done()


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value)


def _take_out(state: StudyState, changes: Changes, first: int, end: int, now: float) -> None:
    """Take members out: what they run goes on to its end, what waits is given up, what they kept may go."""
    candidates: list[Trial] = []
    for number in range(first, end):
        member = state.members.get(number)
        if member is None:
            continue
        candidates.extend(member.kept)
        opened = None if member.open is None else state.open[member.open]
        if opened is not None and opened.lease is None:
            state.drop_open(opened.trial.number)
            member = msgspec.structs.replace(member, open=None)
            left = msgspec.structs.replace(opened.trial, state=TrialState.FAILED, finished=now, error=TAKEN_OUT)
            changes.updated.append(TrialUpdate(trial=left, held=None, lease=None, digest=None))
            if opened.parent is not None:
                candidates.append(opened.parent)
        state.members[number] = msgspec.structs.replace(member, kept=())
    condemn_unneeded(state, changes, candidates)


def _bring_back(state: StudyState, first: int, end: int) -> None:
    """Bring back members that were taken out earlier: their checkpoints are gone, so they begin with a rescue.

    One whose last trial still runs goes on from its end.
    """
    for number in range(first, end):
        member = state.members.get(number)
        if member is not None:
            failed = member.open is None
            view = msgspec.structs.replace(member.view, trial=None, scores=(), history=(), failed=failed)
            state.members[number] = msgspec.structs.replace(member, view=view, tip=None, kept=())


def pin(state: StudyState, changes: Changes, command: Pin, now: float, found: Trial | None) -> Done:
    """Keep a trial's checkpoint for good, or no longer.

    Raises:
        NotFound: There is no such trial, or its checkpoint is gone.
    """
    if found is None:
        raise NotFound(f"study {state.identity.name!r} has no trial {command.trial}")
    if command.keep:
        if found.checkpoint is None:
            raise NotFound(f"trial {found.number} has no checkpoint to keep: it left none, or it was collected")
        state.pinned = state.pinned | {found.number}
    else:
        state.pinned = state.pinned - {found.number}
    changes.pinned.append((found.number, command.keep))
    if not command.keep:
        condemn_unneeded(state, changes, [found])
    return Done(trial=found)
