"""What a budget of steps that was lowered does to trials that wait.

A trial that runs goes on to its end. One that waits is cut to what is left when it is granted; one that would begin at
the limit or beyond is given up, which counts as no failure: its member has ended, or is decided anew. Both are events.
"""

from __future__ import annotations

import msgspec

from phyletic.coordinator.budget import steps_left
from phyletic.coordinator.retention import condemn_unneeded
from phyletic.coordinator.state import BEYOND, OpenTrial, StudyState
from phyletic.records import TrialState
from phyletic.storage.changes import Changes, Event, TrialUpdate

__all__ = ["cut", "give_up_beyond"]


def cut(state: StudyState, changes: Changes, opened: OpenTrial, now: float) -> OpenTrial:
    """Return a trial that waits with no more steps than are left to it."""
    trial = opened.trial
    steps = steps_left(state, trial.start_step, trial.steps)
    if steps == trial.steps:
        return opened
    payload = {"trial": trial.number, "member": trial.member, "steps": [trial.steps, steps]}
    changes.events.append(Event(kind="trial cut", at=now, payload=payload))
    return msgspec.structs.replace(opened, trial=msgspec.structs.replace(trial, steps=steps))


def give_up_beyond(state: StudyState, changes: Changes, now: float) -> None:
    """Give up the waiting trials that would begin at the limit or beyond it."""
    limit = state.limit
    if limit is None:
        return
    for number, opened in sorted(state.open.items()):
        if opened.lease is not None or opened.trial.start_step < limit:
            continue
        state.drop_open(number)
        trial = msgspec.structs.replace(opened.trial, state=TrialState.FAILED, finished=now, error=BEYOND)
        changes.updated.append(TrialUpdate(trial=trial, held=None, lease=None, digest=None))
        member = state.member(trial.member)
        # what it was to be rescued from is as it was
        failed = member.view.trial is None or trial.decision.kind == "rescue"
        view = msgspec.structs.replace(member.view, failed=failed)
        state.members[trial.member] = msgspec.structs.replace(member, open=None, view=view)
        payload: dict[str, object] = {
            "trial": number,
            "member": trial.member,
            "cause": "budget",
            "error": f"{BEYOND}: step {trial.start_step} of {limit}",
        }
        changes.events.append(Event(kind="trial given up", at=now, payload=payload))
        if opened.parent is not None:
            condemn_unneeded(state, changes, [opened.parent])
