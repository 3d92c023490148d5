"""The one place where ask, heartbeat, report, tell, fail and control are decided.

``execute(commands, now)`` takes what has arrived and decides it on a draft of the state, in memory; then it writes all
that follows in one transaction, whose first statement compares the study's sequence number with the one that was
decided from. The draft becomes the state when the commit has succeeded; after any exception the state is dropped and
read again. Nothing here reads a clock, draws a random number that matters, or touches a checkpoint's bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from phyletic.coordinator.ask import answer, random_identity
from phyletic.coordinator.control import change, pin
from phyletic.coordinator.heartbeats import beat
from phyletic.coordinator.loading import load, void_leases
from phyletic.coordinator.messages import (
    Ancestors,
    Ask,
    Beat,
    Command,
    Control,
    Done,
    Fail,
    Join,
    Leave,
    Pin,
    Refused,
    Reply,
    Tell,
)
from phyletic.coordinator.sessions import extend_over_gap, hear, join
from phyletic.coordinator.state import StudyState
from phyletic.coordinator.tell import fail, leave, tell
from phyletic.errors import LeaseLost, NotFound, PhyleticError
from phyletic.evolution import Algorithm
from phyletic.failpoints import failpoint
from phyletic.records import CheckpointState, Trial, TrialState
from phyletic.space import Space
from phyletic.storage import queries
from phyletic.storage.changes import Changes
from phyletic.storage.store import Store
from phyletic.storage.writing import take_epoch, write

__all__ = ["Coordinator", "Outcome"]


class Outcome(msgspec.Struct, frozen=True):
    """What a batch of commands led to.

    Attributes:
        replies: One for each command, in order.
        condemned: Ids of checkpoints whose bytes may be deleted now that the transaction is committed.
    """

    replies: tuple[Reply, ...]
    condemned: tuple[str, ...] = ()


class Coordinator:
    """Decides for one study, whose database this process owns.

    Args:
        store: The database.
        name: The study's name in it.
        space: The study's search space.
        algorithm: The study's algorithm, with the user's own functions where it has any.
        identity: Gives random identities of 32 hexadecimal digits.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        space: Space,
        algorithm: Algorithm,
        identity: Callable[[], str] = random_identity,
    ) -> None:
        self._store = store
        self._name = name
        self._space = space
        self._algorithm = algorithm
        self._identity = identity
        self._state: StudyState | None = None
        self._confirmed: list[str] = []

    @property
    def state(self) -> StudyState:
        """The committed state; read it, never change it."""
        if self._state is None:
            self._state = self._read()
        return self._state

    def adopt(self, algorithm: Algorithm) -> None:
        """Decide by an algorithm that is the same, and has the user's own functions."""
        self._algorithm = algorithm
        if self._state is not None:
            self._state.algorithm = algorithm

    def begin(self, now: float) -> Outcome:
        """Begin to decide, as the new owner: leases of earlier owners end here.

        Returns:
            Checkpoints that were condemned earlier, for deletion again.
        """
        with self._store.transaction() as connection:
            stored = queries.load_study(connection, self._name)
            if stored is None:
                raise NotFound(f"there is no study {self._name!r} in {self._store.path or 'memory'}")
            take_epoch(connection, stored.id)
        state = self._read()
        draft = state.draft()
        changes = Changes(expected=state.counters.sequence, counters=state.counters)
        with self._store.read() as connection:
            again = void_leases(connection, draft, changes, now)
        extend_over_gap(draft, now)
        draft.clock = now
        self._commit(draft, changes, durable=True)
        return Outcome((), (*again, *changes.condemned))

    def end(self, now: float, steady: float | None = None) -> None:
        """Write what is still to be noted, and forget the state: others may write the database from now on.

        Args:
            now: The owner's clock, in seconds since 1970.
            steady: As for :meth:`execute`.
        """
        if self._confirmed or (self._state is not None and self._state.sessions):
            draft = self.state.draft()
            _count_active(draft, now if steady is None else steady)
            self._commit(draft, Changes(expected=draft.counters.sequence, counters=draft.counters), durable=True)
        self._state = None

    def execute(self, commands: Sequence[Command], now: float, steady: float | None = None) -> Outcome:
        """Decide a batch of commands in one transaction.

        Args:
            commands: What sessions said, in the order it arrived.
            now: The owner's clock, in seconds since 1970.
            steady: A clock in seconds that neither a step nor a sleep of the machine moves, for the time that counts
                against the budget; ``now`` where left out.

        Raises:
            StorageError: The transaction could not be committed; nothing of it is visible.
        """
        try:
            return self._execute(commands, now, now if steady is None else steady)
        except BaseException:
            self._state = None
            raise

    def _execute(self, commands: Sequence[Command], now: float, steady: float) -> Outcome:
        state = self.state
        draft = state.draft()
        extend_over_gap(draft, now)
        draft.clock = now
        _count_active(draft, steady)
        changes = Changes(expected=state.counters.sequence, counters=state.counters)
        # a decision sees the state that its own transaction leaves, so results are taken in before anything is decided
        draft.counters = msgspec.structs.replace(draft.counters, sequence=changes.expected + 1)
        replies: dict[int, Reply] = {}
        late: list[str] = []
        for place in sorted(range(len(commands)), key=lambda place: not isinstance(commands[place], (Tell, Fail))):
            hear(draft, commands[place], now)
            try:
                replies[place] = self._handle(draft, changes, commands[place], now)
            except PhyleticError as error:
                replies[place] = Refused(error=type(error).__name__, message=str(error))
                if isinstance(error, LeaseLost):
                    late += self._came_late(commands[place])
        failpoint("coordinator.decided")
        # an ask is found again by its session, so it may be lost with the machine; all else is on disk when answered
        # (and bytes are only deleted for what will be known to be condemned)
        durable = bool(changes.condemned) or not all(
            isinstance(command, (Ask, Beat, Join, Ancestors)) for command in commands
        )
        self._commit(draft, changes, durable=durable)
        return Outcome(tuple(replies[place] for place in range(len(commands))), (*changes.condemned, *late))

    def confirm(self, ids: Sequence[str]) -> None:
        """Note that condemned checkpoints are deleted; it is written with the next transaction."""
        self._confirmed.extend(ids)

    def _handle(self, draft: StudyState, changes: Changes, command: Command, now: float) -> Reply:
        match command:
            case Ask():
                return answer(draft, changes, command, now, self._identity)
            case Tell():
                return tell(draft, changes, command, now, self._stored_tell)
            case Beat():
                return beat(draft, command, now)
            case Ancestors():
                return self._ancestors(draft, command.trial)
            case Fail():
                return fail(draft, changes, command, now)
            case Join():
                return join(draft, changes, command, now)
            case Leave():
                return leave(draft, changes, command, now)
            case Control():
                return change(draft, changes, command, now)
            case Pin():
                return pin(draft, changes, command, now, self._trial(draft, command.trial))

    def _commit(self, draft: StudyState, changes: Changes, *, durable: bool) -> None:
        if durable:
            changes.collected.extend(self._confirmed)
        if _empty(changes):
            draft.counters = msgspec.structs.replace(draft.counters, sequence=changes.expected)
            self._state = draft
            return
        draft.counters = msgspec.structs.replace(draft.counters, sequence=changes.expected + 1)
        changes.counters = draft.counters
        with self._store.transaction(durable=durable) as connection:
            write(connection, draft.id, changes)
        if changes.collected:
            self._confirmed.clear()
        self._state = draft

    def _read(self) -> StudyState:
        with self._store.read() as connection:
            stored = queries.load_study(connection, self._name)
            if stored is None:
                raise NotFound(f"there is no study {self._name!r} in {self._store.path or 'memory'}")
            return load(connection, stored, self._space, self._algorithm)

    def _stored_tell(self, number: int) -> tuple[int, str, str, Trial] | None:
        with self._store.read() as connection:
            found = queries.told_digest(connection, self.state.id, number)
            trial = queries.trial(connection, self.state.id, number)
        if found is None or trial is None or trial.state not in (TrialState.COMPLETED, TrialState.PARTIAL):
            return None
        fence, token, digest = found
        return (fence, token, digest or "", trial)

    def _came_late(self, command: Command) -> list[str]:
        """Return the checkpoint of a result that is refused, where it was published after it had been deleted."""
        if not isinstance(command, Tell) or command.checkpoint is None:
            return []
        return self.given_up([command.checkpoint.id])

    def given_up(self, ids: Sequence[str]) -> list[str]:
        """Return those of some checkpoints that were condemned: where their bytes are there, they came late."""
        with self._store.read() as connection:
            return queries.given_up(connection, self.state.id, ids)

    def _ancestors(self, draft: StudyState, number: int) -> Done:
        with self._store.read() as connection:
            numbers = queries.lineage_numbers(connection, draft.id, number)
        if not numbers:
            raise NotFound(f"study {self._name!r} has no trial {number}")
        return Done(lineage=tuple(numbers))

    def _trial(self, draft: StudyState, number: int) -> Trial | None:
        """Return a trial for pinning, without its checkpoint where that is being deleted."""
        with self._store.read() as connection:
            found = queries.trial(connection, draft.id, number)
            if found is None or found.checkpoint is None:
                return found
            state = queries.checkpoint_state(connection, draft.id, found.checkpoint.id)
        return found if state is CheckpointState.DURABLE else msgspec.structs.replace(found, checkpoint=None)


def _count_active(draft: StudyState, steady: float) -> None:
    """Add the time since the last command, if trials were running meanwhile."""
    if draft.running and draft.counted is not None and steady > draft.counted:
        counters = draft.counters
        active = counters.active_seconds + (steady - draft.counted)
        draft.counters = msgspec.structs.replace(counters, active_seconds=active)
    draft.counted = steady


def _empty(changes: Changes) -> bool:
    return not (
        changes.control
        or changes.inserted
        or changes.updated
        or changes.evaluations
        or changes.pending
        or changes.durable
        or changes.condemned
        or changes.collected
        or changes.pinned
        or changes.joined
        or changes.left
        or changes.events
    )
