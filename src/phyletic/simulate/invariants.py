"""The invariants of a study: what must hold after every event, whatever went wrong.

A :class:`Ledger` holds what an honest observer saw: grants, committed results, published and deleted checkpoints.
:func:`check_invariants` compares the coordinator's state in memory with it, at a cost that grows with the population;
:func:`check_stored` compares both with all that is stored.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec

from phyletic.coordinator.loading import load
from phyletic.coordinator.state import OpenTrial, StudyState
from phyletic.errors import PhyleticError
from phyletic.evolution import Algorithm
from phyletic.records import CheckpointState, Lease, Trial, TrialState
from phyletic.space import Space
from phyletic.storage import queries
from phyletic.storage.database import Database

_STORED = (
    "control",
    "members",
    "open",
    "parents",
    "best",
    "pinned",
    "sessions",
    "lease_seconds",
    "deadlines",
    "curves",
    "running",
    "busy",
)
"""The attributes of a state that are stored, beside its counters."""


@dataclass
class Ledger:
    """What an observer outside of the coordinator saw.

    Attributes:
        granted: The latest lease of each trial.
        reported: The score that each attempt reported, by the token of its lease; None if it was handed back early.
        ended: The committed results, by trial.
        published: The checkpoints that exist.
        deleted: The checkpoints that the owner deleted.
        pinned: The pinned trials.
        seen: The number below which trials are checked already.
        open: The numbers of the trials that were open after the last event.
    """

    granted: dict[int, Lease] = field(default_factory=dict)
    reported: dict[str, float | None] = field(default_factory=dict)
    ended: dict[int, Trial] = field(default_factory=dict)
    published: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    pinned: set[int] = field(default_factory=set)
    seen: int = 0
    open: frozenset[int] = frozenset()


def check_invariants(state: StudyState, ledger: Ledger) -> list[str]:
    """Return what is wrong with a state, in words, and bring the ledger up to date.

    Args:
        state: The coordinator's committed state.
        ledger: What was seen until now.
    """
    wrong = [*_members(state), *_counted(state, ledger), *_kept(state, ledger)]
    new = [opened for number, opened in sorted(state.open.items()) if number >= ledger.seen]
    for opened in new:
        wrong += _decided(state, opened)
        wrong += _origin(ledger, opened)
    if state.algorithm.synchronous:
        wrong += _barrier(state, ledger, [opened.trial for opened in new])
    ledger.seen = state.counters.next_trial
    ledger.open = frozenset(state.open)
    return wrong


def _members(state: StudyState) -> list[str]:
    """Each member has at most one open trial, each open trial a member, and each lease a session."""
    wrong = []
    holders = Counter(opened.trial.member for opened in state.open.values())
    wrong += [f"member {member} has {count} open trials" for member, count in holders.items() if count > 1]
    for number, opened in state.open.items():
        member = state.members.get(opened.trial.member)
        if member is None or member.open != number:
            wrong.append(f"trial {number} is open, but its member {opened.trial.member} does not have it")
        if opened.lease is None and opened.trial.member >= state.control.population:
            wrong.append(f"trial {number} waits, but its member {opened.trial.member} is not in the population")
        if (opened.lease is None) != (opened.trial.state is TrialState.WAITING):
            wrong.append(f"trial {number} is {opened.trial.state}, its lease is {opened.lease}")
    for number, member in state.members.items():
        if member.open is not None and member.open not in state.open:
            wrong.append(f"member {number} waits for trial {member.open}, which is not open")
    if len(state.population()) != state.control.population:
        wrong.append(f"the population is {len(state.population())}, not {state.control.population}")
    held = sorted(number for numbers in state.sessions.values() for number in numbers)
    granted = sorted(number for number, opened in state.open.items() if opened.lease is not None)
    if held != granted:
        wrong.append(f"sessions hold {held}, granted are {granted}")
    return wrong


def _counted(state: StudyState, ledger: Ledger) -> list[str]:
    """The counters count the committed results, each once, and the budget is not exceeded."""
    wrong = []
    completed = sum(trial.state is TrialState.COMPLETED for trial in ledger.ended.values())
    if state.counters.completed != completed:
        wrong.append(f"{state.counters.completed} trials are counted as completed, {completed} were")
    steps = sum(trial.steps_done or 0 for trial in ledger.ended.values())
    if state.counters.member_steps != steps:
        wrong.append(f"{state.counters.member_steps} member-steps are counted, {steps} were trained")
    limit = state.control.budget.trials
    if limit is not None and state.counters.completed + state.running > limit:
        wrong.append(f"{state.counters.completed} completed and {state.running} running exceed {limit} trials")
    for number in state.open:
        if number in ledger.ended:
            wrong.append(f"trial {number} is open, but its result was committed")
    return wrong


def _kept(state: StudyState, ledger: Ledger) -> list[str]:
    """Every checkpoint that anything may still need exists."""
    needed: list[tuple[str, Trial | None]] = []
    for member in state.population():
        needed += [(f"a head of member {member.view.member}", kept) for kept in member.kept]
        needed.append((f"the head of member {member.view.member}", member.view.trial))
        needed.append((f"the tip of member {member.view.member}", member.tip))
    needed += [(f"the parent of trial {number}", opened.parent) for number, opened in state.open.items()]
    needed += [("one of the best", trial) for trial in state.best[: state.control.keep_best]]
    needed += [("pinned", ledger.ended[number]) for number in ledger.pinned if number in ledger.ended]
    return [
        f"the checkpoint of trial {trial.number} is gone, but it is {why}"
        for why, trial in needed
        if trial is not None and trial.checkpoint is not None and trial.checkpoint.id not in ledger.published
    ]


def _origin(ledger: Ledger, opened: OpenTrial) -> list[str]:
    """A new trial starts where its parent ended, and its donor has a finite score."""
    trial, wrong = opened.trial, []
    where = f"trial {trial.number} ({trial.decision.kind})"
    if opened.parent is None:
        if trial.parent is not None or trial.start_step != 0:
            wrong.append(f"{where} starts at {trial.start_step} of {trial.parent}, with no parent's checkpoint")
    else:
        if opened.parent.number != trial.parent:
            wrong.append(f"{where} has the parent {trial.parent}, but is given {opened.parent.number}")
        if trial.start_step != opened.parent.end_step:
            wrong.append(f"{where} starts at {trial.start_step}, its parent ended at {opened.parent.end_step}")
        if trial.parent not in ledger.ended:
            wrong.append(f"{where} starts from trial {trial.parent}, which has not ended")
    donor = trial.decision.donor
    if donor is not None:
        score = ledger.ended[donor].score if donor in ledger.ended else None
        if score is None or not math.isfinite(score):
            wrong.append(f"{where} has the donor {donor}, whose score is {score}")
    return wrong


def _decided(state: StudyState, opened: OpenTrial) -> list[str]:
    """A new trial is within the population, the budget and the space."""
    trial, wrong = opened.trial, []
    where = f"trial {trial.number} ({trial.decision.kind})"
    if trial.member >= state.control.population:
        wrong.append(f"{where} was decided for member {trial.member} of {state.control.population}")
    if state.limit is not None and trial.steps is not None and trial.start_step + trial.steps > state.limit:
        wrong.append(f"{where} goes to step {trial.start_step + trial.steps}, beyond {state.limit}")
    try:
        same = state.space.validate(trial.hyperparameters) == trial.hyperparameters
    except PhyleticError as error:
        wrong.append(f"{where} is outside of its space: {error}")
    else:
        if not same:
            wrong.append(f"{where} has {trial.hyperparameters}, which its space repairs")
    return wrong


def _barrier(state: StudyState, ledger: Ledger, new: list[Trial]) -> list[str]:
    """A generation is decided once the previous one has ended: all at once, in the order of the members.

    Args:
        state: The coordinator's committed state.
        ledger: What was seen until now.
        new: The trials that are open and new to the ledger, by number.
    """
    decided = [trial for trial in new if trial.decision.kind != "resume"]
    if not decided:
        return []
    wrong = []
    numbers = {trial.number for trial in decided}
    before = [
        number
        for number, opened in state.open.items()
        if number not in numbers and opened.trial.member < state.control.population
    ]
    if before:
        wrong.append(f"generation {sorted(numbers)} was decided while {before} were open")
    members = [trial.member for trial in decided]
    if members != sorted(set(members)):
        wrong.append(f"a generation was decided in the order {members}")
    if len({trial.decision.as_of for trial in decided}) > 1:
        wrong.append(f"generation {sorted(numbers)} was decided on several views")
    left = [
        member.view.member
        for member in state.population()
        if member.open is None and not member.ended(state.limit) and member.latest not in ledger.open
    ]
    if left:
        wrong.append(f"generation {sorted(numbers)} leaves out members {left}")
    return wrong


def stored_state(database: Database, name: str, space: Space, algorithm: Algorithm) -> StudyState:
    """Return the state that the next owner would read.

    Args:
        database: The database.
        name: The study's name.
        space: Its search space.
        algorithm: Its algorithm.
    """
    with database.read() as connection:
        stored = queries.load_study(connection, name)
        assert stored is not None
        return load(connection, stored, space, algorithm).state


def check_stored(database: Database, state: StudyState, ledger: Ledger) -> list[str]:
    """Return how the database differs from what it should hold, in words.

    Args:
        database: The database.
        state: The coordinator's committed state.
        ledger: What was seen until now.
    """
    wrong = _differences(state, stored_state(database, state.identity.name, state.space, state.algorithm))
    with database.read() as connection:
        trials = queries.trials(connection, state.id)
        checkpoints = queries.checkpoints(connection, state.id)
    ended = {trial.number: trial for trial in trials if trial.state in (TrialState.COMPLETED, TrialState.PARTIAL)}
    if [trial.number for trial in trials] != list(range(len(trials))):
        wrong.append(f"the stored trials are {[trial.number for trial in trials]}")
    for number in sorted({*ended, *ledger.ended}):
        kept, seen = ended.get(number), ledger.ended.get(number)
        # as texts, since NaN does not equal itself
        if repr(kept) != repr(seen):
            wrong.append(f"trial {number} is stored as {kept}, but was acknowledged as {seen}")
    for number, trial in ended.items():
        lease = ledger.granted.get(number)
        if lease is not None and lease.token in ledger.reported:
            score = ledger.reported[lease.token]
            if trial.attempts != lease.fence or repr(score) != repr(trial.score):
                wrong.append(f"trial {number} has the score {trial.score}, its latest grant reported {score}")
    for row in checkpoints:
        if row.state is CheckpointState.DURABLE and row.id not in ledger.published:
            wrong.append(f"checkpoint {row.id} of trial {row.trial} is stored as durable, but is gone")
        if row.id in ledger.deleted and row.state not in (CheckpointState.CONDEMNED, CheckpointState.COLLECTED):
            wrong.append(f"checkpoint {row.id} of trial {row.trial} was deleted, but is {row.state}")
    return wrong


def check_left(database: Database, state: StudyState, ledger: Ledger) -> list[str]:
    """Return which checkpoints were not cleaned up in the end, in words.

    Call it when nothing runs, after an owner whose deletions all succeeded has ended: then only durable checkpoints
    exist, and no deletion is left to do.

    Args:
        database: The database.
        state: The coordinator's committed state.
        ledger: What was seen until now.
    """
    with database.read() as connection:
        known = {row.id: row.state for row in queries.checkpoints(connection, state.id)}
    held = {opened.checkpoint for opened in state.open.values()}
    left = [
        f"checkpoint {checkpoint} is {known[checkpoint]}, but its bytes are still there"
        for checkpoint in sorted(ledger.published)
        # the database does not know what was published for a grant that a loss of power undid
        if checkpoint in known and known[checkpoint] is not CheckpointState.DURABLE and checkpoint not in held
    ]
    condemned = [
        f"checkpoint {checkpoint} is condemned, and its deletion was never confirmed"
        for checkpoint, life in known.items()
        if life is CheckpointState.CONDEMNED
    ]
    return left + condemned


def _differences(state: StudyState, loaded: StudyState) -> list[str]:
    """Compare the state in memory with the one that the next owner would read: they are always the same."""
    pairs = [(name, getattr(state, name), getattr(loaded, name)) for name in _STORED]
    pairs.append(("counters", _counters(state), _counters(loaded)))
    return [
        f"{name} in memory is {here}, stored {there}"
        for name, here, there in pairs
        if repr(_sorted(here)) != repr(_sorted(there))
    ]


def _sorted(value: Any) -> Any:
    return sorted(value.items()) if isinstance(value, dict) else sorted(value) if isinstance(value, set) else value


def _counters(state: StudyState) -> object:
    # time goes on while nothing is written
    return msgspec.structs.replace(state.counters, active_seconds=0.0, clock=None)
