"""The one place where ask, heartbeat, tell, fail and control are decided.

``execute(commands, now)`` takes what has arrived, decides it on the state in memory, and writes all that follows in one
transaction, whose first statement compares the study's sequence number and epoch with those that were decided from.
After any exception the state is dropped and read again. Nothing here reads a clock, draws a random number that matters,
or touches a checkpoint's bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from phyletic.coordinator.ask import answer, random_identity
from phyletic.coordinator.control import change, pin
from phyletic.coordinator.decisions import close_barrier
from phyletic.coordinator.enqueued import enqueue
from phyletic.coordinator.heartbeats import record
from phyletic.coordinator.loading import Loaded, load, put_members, void_leases
from phyletic.coordinator.messages import (
    Ancestors,
    Ask,
    Command,
    Control,
    Done,
    Enqueue,
    Fail,
    Heartbeat,
    Join,
    Leave,
    Pin,
    Refused,
    Reply,
    Save,
    Tell,
)
from phyletic.coordinator.saves import save
from phyletic.coordinator.sessions import extend_over_gap, join, renew, renew_all
from phyletic.coordinator.state import StudyState
from phyletic.coordinator.tell import fail, leave, tell
from phyletic.errors import LeaseLost, NotFound, PhyleticError, StorageOwned
from phyletic.evolution import Algorithm
from phyletic.failpoints import failpoint
from phyletic.records import CheckpointState, Event, Trial
from phyletic.records.event import OWNER
from phyletic.space import Space
from phyletic.storage import queries
from phyletic.storage.changes import Changes, StaleState
from phyletic.storage.database import Database
from phyletic.storage.writing import take_epoch, write


class Outcome(msgspec.Struct, frozen=True):
    """What a batch of commands led to.

    Attributes:
        replies: One for each command, in order.
        condemned: Ids of checkpoints whose bytes may be deleted now that the transaction is committed.
        changes: What was committed; None if nothing was.
    """

    replies: tuple[Reply, ...]
    condemned: tuple[str, ...] = ()
    changes: Changes | None = None


class Coordinator:
    """Decides for one study, whose database this process owns.

    Args:
        database: Where the study is stored.
        name: The study's name in it.
        space: The study's search space.
        algorithm: The study's algorithm, with the user's own functions where it has any.
        identity: Gives random identities of 32 hexadecimal digits.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        *,
        space: Space,
        algorithm: Algorithm,
        identity: Callable[[], str] = random_identity,
    ) -> None:
        self._database = database
        self._name = name
        self._space = space
        self._algorithm = algorithm
        self._identity = identity
        self._state: StudyState | None = None
        self._epoch: int | None = None
        self._confirmed: list[str] = []

    @property
    def state(self) -> StudyState:
        """The committed state; read it, never change it.

        Raises:
            StorageOwned: Another owner has begun since this one.
        """
        if self._state is None:
            self._state = self._read().state
        return self._state

    def adopt(self, algorithm: Algorithm) -> None:
        """Decide by an algorithm that is the same, and has the user's own functions."""
        self._algorithm = algorithm
        if self._state is not None:
            self._state.algorithm = algorithm

    def begin(
        self,
        now: float,
        *,
        about: Mapping[str, Any] | None = None,
        prepare: Callable[[Loaded], object] = lambda loaded: None,
    ) -> Outcome:
        """Begin to decide, as the new owner: leases of earlier owners end here.

        Args:
            now: The owner's clock, in seconds since 1970.
            about: What is recorded of this owner: its machine, and the versions of what it runs with.
            prepare: Called with what is stored before this owner's epoch begins; nothing is changed if it raises.

        Returns:
            Checkpoints that were condemned earlier, to be deleted again.

        Raises:
            StaleState: Another owner began at the same moment.
        """
        self._epoch = self._state = None
        loaded = self._read()
        prepare(loaded)
        state = loaded.state
        with self._database.transaction() as connection:
            self._epoch = take_epoch(connection, state.id, state.counters.epoch)
        counters = state.counters = msgspec.structs.replace(state.counters, epoch=self._epoch)
        changes = self._changes(state)
        again = void_leases(loaded, changes, now)
        renew_all(state, changes, now)
        if about is not None:
            changes.events.append(Event(kind=OWNER, at=now, payload=dict(about)))
        # a reset count of failures is stored even if nothing else changed
        outcome = self._commit(state, changes, now, durable=True, always=state.counters is not counters)
        self._state = state
        return msgspec.structs.replace(outcome, condemned=(*again, *outcome.condemned))

    def end(self, now: float, steady: float | None = None) -> None:
        """Write the deletions and the time that no transaction has recorded yet, and forget the state.

        Others may write the database from now on. If another owner has begun already, this one writes nothing.

        Args:
            now: The owner's clock, in seconds since 1970.
            steady: As for :meth:`execute`.
        """
        state, self._state = self._state, None
        if self._confirmed or (state is not None and state.sessions):
            with suppress(StaleState, StorageOwned):
                state = state or self._read().state
                _count_active(state, now if steady is None else steady)
                self._commit(state, self._changes(state), now, durable=True, always=True)

    def execute(self, commands: Sequence[Command], now: float, steady: float | None = None) -> Outcome:
        """Decide a batch of commands in one transaction.

        Args:
            commands: What sessions said, in the order it arrived.
            now: The owner's clock, in seconds since 1970.
            steady: A clock in seconds that neither a step nor a sleep of the machine moves, for the time that counts
                against the budget; ``now`` if left out.

        Raises:
            StorageOwned: Another owner has begun since this one, so it decides nothing more.
            StorageError: The transaction could not be committed; nothing of it is visible.
        """
        steady = now if steady is None else steady
        try:
            try:
                return self._execute(commands, now, steady)
            except StaleState:
                # reading the state again tells a superseded owner from one whose state was merely old
                self._state = None
                return self._execute(commands, now, steady)
        except BaseException:
            self._state = None
            raise

    def _execute(self, commands: Sequence[Command], now: float, steady: float) -> Outcome:
        """Decide a batch on the state in memory, and commit it.

        Args:
            commands: What sessions said, in the order it arrived.
            now: The owner's clock, in seconds since 1970.
            steady: As for :meth:`execute`.
        """
        state = self.state
        changes = self._changes(state)
        extend_over_gap(state, changes, now)
        _count_active(state, steady)
        # a decision sees the state that its own transaction leaves, so results are recorded before anything is decided
        state.counters = msgspec.structs.replace(state.counters, sequence=changes.expected + 1, clock=now)
        replies: dict[int, Reply] = {}
        late: list[str] = []
        for place in sorted(range(len(commands)), key=lambda place: not isinstance(commands[place], (Tell, Fail))):
            renew(state, changes, commands[place], now)
            try:
                replies[place] = self._handle(state, changes, commands[place], now)
            except PhyleticError as error:
                replies[place] = Refused.of(error)
                if isinstance(error, LeaseLost):
                    late += self._came_late(commands[place])
        failpoint("coordinator.decided")
        # an ask is found again by its session, so it may be lost with the machine; all else is on disk when answered
        # (and bytes are only deleted for what will be known to be condemned)
        durable = bool(changes.condemned or changes.void) or not all(
            isinstance(command, (Ask, Heartbeat, Join, Ancestors)) for command in commands
        )
        outcome = self._commit(state, changes, now, durable=durable)
        return msgspec.structs.replace(
            outcome,
            replies=tuple(replies[place] for place in range(len(commands))),
            condemned=(*outcome.condemned, *late),
        )

    def confirm(self, ids: Sequence[str]) -> None:
        """Note that condemned checkpoints are deleted; it is written with the next transaction."""
        self._confirmed.extend(ids)

    def _handle(self, state: StudyState, changes: Changes, command: Command, now: float) -> Reply:
        """Decide one command, and return the reply.

        Args:
            state: The study's state.
            changes: Where the rows go.
            command: The command.
            now: The owner's clock, in seconds since 1970.
        """
        match command:
            case Ask():
                return answer(state, changes, command, now, self._identity)
            case Save():
                return save(state, changes, command)
            case Heartbeat():
                return record(state, command, now)
            case Ancestors():
                return self._ancestors(state, command.trial)
            case Join():
                return join(state, changes, command, now)
            case Pin():
                return pin(state, changes, command, now, self._trial(state, command.trial))
            case Tell():
                reply = tell(state, changes, command, now, self._ended_before)
            case Fail():
                reply = fail(state, changes, command, now, self._ended_before)
            case Leave():
                reply = leave(state, changes, command, now)
            case Control():
                reply = change(state, changes, command, now)
            case Enqueue():
                return enqueue(state, changes, command, now)
        # a user's explore may raise: the result stands all the same, and the next session that asks gets the error
        with suppress(PhyleticError):
            close_barrier(state, changes, now)
        return reply

    def _changes(self, state: StudyState) -> Changes:
        self._best = state.best
        return Changes(expected=state.counters.sequence, counters=state.counters)

    def _commit(
        self, state: StudyState, changes: Changes, now: float, *, durable: bool, always: bool = False
    ) -> Outcome:
        """Write the changes in one transaction.

        Args:
            state: The study's state.
            changes: The rows to write.
            now: The owner's clock, in seconds since 1970.
            durable: Whether the commit must be on the disk before this returns.
            always: Whether to commit even if nothing has changed.
        """
        put_members(state, changes, now)
        if durable:
            changes.collected.extend(self._confirmed)
        if state.best is not self._best:
            changes.best = tuple(trial.number for trial in state.best)
        if changes.empty and not always:
            state.counters = msgspec.structs.replace(state.counters, sequence=changes.expected)
            return Outcome(())
        state.counters = msgspec.structs.replace(state.counters, sequence=changes.expected + 1, clock=now)
        changes.counters = state.counters
        with self._database.transaction(durable=durable) as connection:
            write(connection, state.id, changes)
        if changes.collected:
            self._confirmed.clear()
        return Outcome((), changes.deletable, changes)

    def _read(self) -> Loaded:
        with self._database.read() as connection:
            stored = queries.load_study(connection, self._name)
            if stored is None:
                raise NotFound(f"there is no study {self._name!r} in {self._database.location}")
            if self._epoch is not None and stored.counters.epoch != self._epoch:
                raise StorageOwned(
                    f"another owner of study {self._name!r} has begun since, so this one decides nothing more: "
                    "open the study again"
                )
            return load(connection, stored, self._space, self._algorithm)

    def _ended_before(self, number: int) -> tuple[int, str, str, Trial] | None:
        with self._database.read() as connection:
            found = queries.told_digest(connection, self.state.id, number)
            trial = queries.trial(connection, self.state.id, number)
        return None if found is None or trial is None else (*found, trial)

    def _came_late(self, command: Command) -> list[str]:
        """Return the checkpoint of a result or a save that is refused, where it was published after it was deleted."""
        if not isinstance(command, (Tell, Save)) or command.checkpoint is None:
            return []
        return self.given_up([command.checkpoint.id])

    def given_up(self, ids: Sequence[str]) -> list[str]:
        """Return those of some checkpoints that were condemned: where their bytes are there, they came late."""
        with self._database.read() as connection:
            return queries.given_up(connection, self.state.id, ids)

    def _ancestors(self, state: StudyState, number: int) -> Done:
        with self._database.read() as connection:
            numbers = queries.lineage_numbers(connection, state.id, number)
        if not numbers:
            raise NotFound(f"study {self._name!r} has no trial {number}")
        return Done(lineage=tuple(numbers))

    def _trial(self, state: StudyState, number: int) -> Trial | None:
        """Return a trial for pinning; without its checkpoint if that is being deleted."""
        with self._database.read() as connection:
            found = queries.trial(connection, state.id, number)
            if found is None or found.checkpoint is None:
                return found
            life = queries.checkpoint_state(connection, state.id, found.checkpoint.id)
        return found if life is CheckpointState.DURABLE else msgspec.structs.replace(found, checkpoint=None)


def _count_active(state: StudyState, steady: float) -> None:
    """Add the time since the last command, if trials were running meanwhile."""
    if state.running and state.counted is not None and steady > state.counted:
        active = state.counters.active_seconds + (steady - state.counted)
        state.counters = msgspec.structs.replace(state.counters, active_seconds=active)
    state.counted = steady
