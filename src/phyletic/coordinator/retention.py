"""Which checkpoints something may still need.

Retention keeps the latest two of each member (its two heads) and the one that it may donate, the parents of open
trials, the best ones, and those that the user pinned. It condemns every other checkpoint in the transaction after which
nothing needs it; the bytes are deleted after the commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from phyletic.coordinator.state import StudyState
from phyletic.records import Trial
from phyletic.storage.changes import Changes


def needed(state: StudyState, trial: Trial) -> bool:
    """Whether anything may still need a trial's checkpoint."""
    number = trial.number
    if number in state.parents or number in state.pinned:
        return True
    if trial.member < state.control.population and any(
        kept.number == number for kept in state.member(trial.member).kept
    ):
        return True
    return any(best.number == number for best in state.best[: state.control.keep_best])


def condemn_unneeded(state: StudyState, changes: Changes, candidates: Iterable[Trial]) -> None:
    """Condemn the checkpoints that nothing needs any more, among those of some trials.

    Args:
        state: The study's state.
        changes: Where the rows go.
        candidates: The trials to look at.
    """
    seen: set[int] = set()
    for trial in candidates:
        if trial.checkpoint is None or trial.number in seen:
            continue
        seen.add(trial.number)
        if not needed(state, trial):
            changes.condemned.append(trial.checkpoint.id)


def heads(ended: Sequence[Trial]) -> tuple[Trial, ...]:
    """Return the trials that a member keeps: the latest two, and the latest with a score, which may be a donor.

    Args:
        ended: Its trials with checkpoints, the newest first.
    """
    donor = next((trial for trial in ended if trial.score is not None), None)
    return tuple(trial for place, trial in enumerate(ended) if place < 2 or trial is donor)


def insert_best(state: StudyState, trial: Trial) -> list[Trial]:
    """Insert a completed trial into the best ones; returns those that it pushed out.

    A tie goes to the higher number, whichever was completed first: it was trained longer.
    """
    if not trial.finite or trial.score is None:
        return []
    place = len(state.best)
    while place and _before(state, trial, state.best[place - 1]):
        place -= 1
    keep = max(1, state.control.keep_best)
    if place >= keep:
        return []
    ranked = (*state.best[:place], trial, *state.best[place:])
    state.best = ranked[:keep]
    return list(ranked[keep:])


def rank_best(state: StudyState, without: int | None = None) -> None:
    """Rank the best ones anew, among the trials whose checkpoints are kept for any reason."""
    known = {trial.number: trial for trial in state.best}
    known |= {trial.number: trial for member in state.members.values() for trial in member.kept}
    known |= {opened.parent.number: opened.parent for opened in state.open.values() if opened.parent is not None}
    if without is not None:
        known.pop(without, None)
    state.best = ()
    for trial in known.values():
        insert_best(state, trial)


def forget_damaged(state: StudyState, changes: Changes, damaged: Trial) -> None:
    """Stop relying on a trial whose checkpoint is not what was published.

    A member whose head it was goes on from its other head, or is rescued if it has none. A pinned checkpoint stays: the
    user who pinned it may still get something out of it.

    Args:
        state: The study's state.
        changes: Where the rows go.
        damaged: The trial.
    """
    assert damaged.checkpoint is not None
    if damaged.number not in state.pinned and damaged.number not in state.parents:
        changes.condemned.append(damaged.checkpoint.id)
    rank_best(state, without=damaged.number)
    member = state.holder(damaged.number)
    if member is None:
        return
    kept = tuple(trial for trial in member.kept if trial.number != damaged.number)
    view, tip = member.view, member.tip
    if tip is not None and tip.number == damaged.number:
        tip = kept[0] if kept else None
    if view.trial is not None and view.trial.number == damaged.number:
        head = next((trial for trial in kept if trial.score is not None), None)
        failed = head is None and member.open is None
        view = msgspec.structs.replace(view, trial=head, scores=(), history=(), failed=failed)
    state.put(msgspec.structs.replace(member, view=view, tip=tip, kept=kept))


def _before(state: StudyState, trial: Trial, other: Trial) -> bool:
    """Whether a trial ranks before another: by score, and of equal ones the later trial.

    Args:
        state: The study's state.
        trial: A trial with a score.
        other: Another trial with a score.
    """
    assert trial.score is not None
    assert other.score is not None
    return state.better(trial.score, other.score) or (trial.score == other.score and trial.number > other.number)
