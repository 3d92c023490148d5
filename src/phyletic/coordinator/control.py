"""Changes of a study's control, each recorded as an event."""

from __future__ import annotations

from typing import Any

import msgspec

from phyletic.coordinator.messages import Control, Done, Pin
from phyletic.coordinator.retention import condemn_unneeded, rank_best
from phyletic.coordinator.state import StudyState
from phyletic.coordinator.transitions import BEYOND, TAKEN_OUT, give_up
from phyletic.errors import InvalidArgument, NotFound
from phyletic.evolution import MemberView
from phyletic.evolution.arguments import check_flag, check_instance
from phyletic.records import Budget, Event, Trial
from phyletic.storage.changes import Changes

LARGEST_POPULATION = 100_000


def check_count(name: str, value: object, most: int = LARGEST_POPULATION) -> int:
    """Return a whole number from 1 to ``most``, or raise InvalidArgument naming it.

    Args:
        name: The argument's name.
        value: Its value.
        most: The largest allowed value.
    """
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

    Args:
        state: The study's state.
        changes: Where the rows go.
        command: The settings to change.
        now: Seconds since 1970.

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
    if control.population != before.population:
        _resize(state, changes, control.population, before.population, now)
    if control.budget.steps is not None:
        _cut_waiting(state, changes, control.budget.steps, now)
    if control.keep_best > before.keep_best:
        rank_best(state)
    elif control.keep_best < before.keep_best:
        fallen, state.best = state.best[control.keep_best :], state.best[: control.keep_best]
        condemn_unneeded(state, changes, fallen)
    return Done()


def _resize(state: StudyState, changes: Changes, size: int, before: int, now: float) -> None:
    """Take out the members with the highest numbers, or bring members in.

    What a removed member runs goes on to its end; its waiting trial is given up, and it keeps no heads, so its
    checkpoints survive only if they are best or pinned. A member that is brought back begins with a rescue, unless it
    still runs.

    Args:
        state: The study's state.
        changes: Where the rows go.
        size: The new number of members.
        before: The number of members until now.
        now: Seconds since 1970.
    """
    unneeded: list[Trial] = []
    for number in range(size, before):
        member = state.members.get(number)
        if member is None:
            continue
        unneeded.extend(member.kept)
        opened = None if member.open is None else state.open[member.open]
        if opened is not None and opened.lease is None:
            give_up(state, changes, opened, "taken out", TAKEN_OUT, now)
        else:
            view = MemberView(member=number, failed=member.open is None)
            state.put(msgspec.structs.replace(member, view=view, tip=None, kept=()))
    state.set_population()
    condemn_unneeded(state, changes, unneeded)


def _cut_waiting(state: StudyState, changes: Changes, limit: int, now: float) -> None:
    """Give up the waiting trials that would begin at the limit or beyond it; the others are cut when granted.

    Args:
        state: The study's state.
        changes: Where the rows go.
        limit: The age in steps at which a member ends.
        now: Seconds since 1970.
    """
    for _, opened in sorted(state.open.items()):
        if opened.lease is None and opened.trial.start_step >= limit:
            give_up(state, changes, opened, "budget", BEYOND, now)


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value)


def pin(state: StudyState, changes: Changes, command: Pin, now: float, found: Trial | None) -> Done:
    """Keep a trial's checkpoint for good, or no longer.

    Args:
        state: The study's state.
        changes: Where the rows go.
        command: Which trial, and whether to keep its checkpoint.
        now: Seconds since 1970.
        found: The trial; None if the study has no trial of that number.

    Raises:
        NotFound: There is no such trial, or its checkpoint is gone.
    """
    if found is None:
        raise NotFound(f"study {state.identity.name!r} has no trial {command.trial}")
    if command.keep:
        if found.checkpoint is None:
            raise NotFound(f"trial {found.number} has no checkpoint to keep: it left none, or it was collected")
        state.pinned.add(found.number)
    else:
        state.pinned.discard(found.number)
    changes.pinned.append((found.number, command.keep))
    if not command.keep:
        condemn_unneeded(state, changes, [found])
    return Done(trial=found)
