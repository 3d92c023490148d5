"""The observer of a simulated study: it drives the real owner, makes it fail, and notes what it did.

An owner's process may die while it decides, before or after the commit; its machine may lose power; it may be
suspended. The observer then starts the next owner, which knows only what is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from phyletic.checkpoints.checkpoints import Checkpoints
from phyletic.coordinator.feed import Follower
from phyletic.coordinator.messages import (
    Ask,
    Command,
    Done,
    Fail,
    Granted,
    Heartbeat,
    Join,
    Leave,
    Pin,
    Refused,
    Reply,
    Tell,
)
from phyletic.coordinator.owner import Owner
from phyletic.coordinator.state import StudyState
from phyletic.evolution import Algorithm
from phyletic.failpoints import armed
from phyletic.records import Lease, TrialState
from phyletic.simulate.invariants import Ledger, stored_state
from phyletic.simulate.simulated_disk import SimulatedBlobs, SimulatedDatabase
from phyletic.simulate.world import World
from phyletic.space import Space
from phyletic.storage import queries

_DELETIONS_PER_SYNC = 8
"""Fewer than usual: a simulated study is short, and some of its deletions should be confirmed on the way."""
_PLACES_OF_DEATH = ("coordinator.decided", "storage.begin.before", "storage.commit.before", "storage.commit.after")


class _Death(BaseException):
    """The owner's process has died."""


class Observer:
    """Drives the owner of one study, one owner after another, and writes in a ledger what it sees them do.

    Args:
        world: The world of the simulation.
        database: The database, with the study in it.
        name: The study's name.
        space: Its search space.
        algorithm: Its algorithm.

    Attributes:
        database: The database.
        blobs: The checkpoints' bytes.
        ledger: What the observer saw.
        asleep_until: The time until which the owner is suspended and hears nobody.
        changed: How many batches changed more than deadlines.
    """

    def __init__(
        self, world: World, database: SimulatedDatabase, name: str, *, space: Space, algorithm: Algorithm
    ) -> None:
        self._world = world
        self.database = database
        self.blobs = SimulatedBlobs(self._deletion_fails)
        self.ledger = Ledger()
        self.asleep_until = 0.0
        self.changed = 0
        self._slept = self._woken_at = 0.0
        self._last_words: dict[str, float] = {}
        self._checkpoints = Checkpoints(self.blobs)
        self._stored = partial(stored_state, database, name, space, algorithm)
        self._make = partial(
            Owner,
            database,
            name,
            space=space,
            algorithm=algorithm,
            checkpoints=self._checkpoints,
            identity=world.identity,
            clock=lambda: world.now,
            steady=lambda: world.now,
            batch=_DELETIONS_PER_SYNC,
        )
        self._begin()

    @property
    def state(self) -> StudyState:
        """The committed state, as the owner knows it."""
        return self._owner.state

    @property
    def _awake(self) -> float:
        """The seconds until now during which owners could hear."""
        return self._world.now - self._slept

    # --- owners come and go -------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Start an owner, in a process that knows nothing of the one before."""
        before = _detached_leases(self._stored())
        if self.database.owned:
            # the lock of a process ends with it
            self.database.release()
        self._owner, self._follower = self._make(), Follower()
        self._owner.feed.follow(self._follower)
        self._owner.begin()
        self._count_changes()
        self._look_at_checkpoints()
        after = _detached_leases(self.state)
        for number, lease in before.items():
            if after.get(number) != lease:
                self._complain(f"the lease {lease} of a detached worker ended with its owner")
        self._last_words = dict.fromkeys(self._last_words, self._awake)

    def hand_over(self) -> None:
        """Let the owner end in good order, and another begin."""
        self._owner.release(0)
        self._begin()

    def suspend(self, seconds: float) -> None:
        """Suspend the owner for some seconds; it hears nobody meanwhile."""
        self._world.happened["suspended"] += 1
        self._slept += seconds
        self.asleep_until = self._world.now + seconds

    def _lose_power(self) -> None:
        """Undo what was not yet on the disk, forget in the ledger the grants among it, and start the next owner."""
        happened, ledger, before = self._world.happened, self.ledger, _leases(self.state)
        happened["outages"] += 1
        self.database.lose_power()
        self.blobs.lose_power()
        state = self._stored()
        for number in list(ledger.granted):
            if number in state.open or number >= state.counters.next_trial:
                del ledger.granted[number]
        left = _leases(state)
        ledger.granted.update(left)
        happened["undone"] += len(before.items() - left.items())
        ledger.seen = min(ledger.seen, state.counters.next_trial)
        self._begin()
        ledger.open = frozenset(self.state.open)

    # --- deciding -----------------------------------------------------------------------------------------------

    def execute(self, commands: Sequence[Command]) -> tuple[Reply, ...] | None:
        """Let the owner decide a batch; return None if it died meanwhile, so that nobody got an answer."""
        world, state = self._world, self.state
        before, overslept, detached = _leases(state), self._overslept(), set(state.lease_seconds)
        try:
            replies = self._decide(commands)
        except _Death:
            world.happened["deaths"] += 1
            self._begin()
            self._note_unanswered(commands)
            return None
        self._look_at_checkpoints()
        # a grant of a trial that waited is not published
        decided = self._count_changes() or _leases(self.state) != before
        if decided and world.happens(world.faults.power):
            self._lose_power()
            self._note_unanswered(commands)
            return None
        for command, reply in zip(commands, replies, strict=True):
            self._count_reply(command, reply)
            self._note_reply(command, reply, before)
        self._check_lost_leases(before, detached, commands)
        world.happened["spared"] += len(overslept & _detached_leases(self.state).items())
        return replies

    def _decide(self, commands: Sequence[Command]) -> tuple[Reply, ...]:
        world = self._world
        if all(isinstance(command, Heartbeat) for command in commands) or not world.happens(world.faults.owner):
            return self._owner.execute(commands)
        place = world.chance.choice(_PLACES_OF_DEATH)

        def die(name: str) -> None:
            if name == place:
                raise _Death

        with armed(die):
            return self._owner.execute(commands)

    def _count_changes(self) -> bool:
        """Count whether the owner published changes since the last call, and return it."""
        changes, _ = self._follower.take()
        self.changed += bool(changes)
        return bool(changes)

    def _overslept(self) -> set[tuple[int, Lease]]:
        """Return, by trial, the leases whose deadlines passed while the owner was suspended; once per suspension."""
        if self._woken_at == self.asleep_until:
            return set()
        self._woken_at, deadlines, now = self.asleep_until, self.state.deadlines, self._world.now
        leases = _detached_leases(self.state).items()
        return {(number, lease) for number, lease in leases if now > deadlines.get(lease.session, now)}

    # --- checkpoints --------------------------------------------------------------------------------------------

    def publish(self, checkpoint: str, loss: float) -> None:
        """Publish the checkpoint of a worker."""
        self.blobs.save(checkpoint, loss)
        self.ledger.published.add(checkpoint)

    def _deletion_fails(self) -> bool:
        fails = self._world.happens(self._world.faults.forget)
        self._world.happened["forgotten"] += fails
        return fails

    def _look_at_checkpoints(self) -> None:
        """Note in the ledger which checkpoints the owner deleted, or a loss of power brought back."""
        published = set(self._checkpoints.ids())
        self.ledger.deleted |= self.ledger.published - published
        self.ledger.published = published

    # --- what the replies say -----------------------------------------------------------------------------------

    def _complain(self, violation: str) -> None:
        self._world.violations.append(violation)

    def _count_reply(self, command: Command, reply: Reply) -> None:
        if isinstance(command, Tell):
            late = isinstance(reply, Refused) and reply.error == "LeaseLost"
            again = isinstance(reply, Done) and command.lease.trial in self.ledger.ended
            self._world.happened.update(refused=late, told_again=again)

    def _note_reply(self, command: Command, reply: Reply, before: dict[int, Lease]) -> None:
        """Note in the ledger what a reply says, and complain if it should not say so.

        Args:
            command: The command.
            reply: Its reply.
            before: The leases before the batch, by trial.
        """
        ledger = self.ledger
        match command, reply:
            case Tell(), Done(trial=trial) if trial is not None:
                if trial.number not in ledger.ended and command.lease != before.get(trial.number):
                    self._complain(f"a result for {command.lease} was recorded, but the lease had ended")
                known = ledger.ended.setdefault(trial.number, trial)
                if repr(known) != repr(trial):
                    self._complain(f"the result of trial {trial.number} was {known!r}, and is now {trial!r}")
                if command.lease != ledger.granted.get(trial.number):
                    self._complain(f"a result for {command.lease} was recorded, but it is not the latest grant")
            case Tell(partial=True), Refused(error="InvalidArgument"):
                # the budget was lowered, and what was handed back is all that was left to train
                pass
            case Tell() | Fail() | Heartbeat(), Refused() if self._holds(command.lease):
                self._complain(f"{command} was refused, although its worker holds the lease: {reply.message}")
            case Tell(), Refused() if command.lease.trial in ledger.ended:
                if command.lease == ledger.granted.get(command.lease.trial):
                    self._complain(f"the result for {command.lease} was committed, but was refused when sent again")
            case Pin(), Done():
                self._note_pin(command)
            case _, Granted():
                for grant in reply.grants:
                    lease, earlier = grant.lease, ledger.granted.get(grant.lease.trial)
                    if earlier is not None and earlier != lease and earlier.fence >= lease.fence:
                        self._complain(f"the grant {lease} does not rise above {earlier}")
                    ledger.granted[lease.trial] = lease

    def _holds(self, lease: Lease) -> bool:
        return _detached_leases(self.state).get(lease.trial) == lease

    def _note_pin(self, command: Pin) -> None:
        (self.ledger.pinned.add if command.keep else self.ledger.pinned.discard)(command.trial)

    def _note_unanswered(self, commands: Sequence[Command]) -> None:
        """Note in the ledger what of a batch without an answer was committed: only the database can tell."""
        for command in commands:
            if isinstance(command, Pin) and command.keep == (command.trial in self.state.pinned):
                self._note_pin(command)
            if isinstance(command, Tell) and command.lease.trial not in self.ledger.ended:
                number = command.lease.trial
                with self.database.read() as connection:
                    trial = queries.trial(connection, self.state.id, number)
                if trial is not None and trial.state in (TrialState.COMPLETED, TrialState.PARTIAL):
                    self.ledger.ended[number] = trial
                    self._world.happened["unheard"] += 1

    def _check_lost_leases(self, before: dict[int, Lease], detached: set[str], commands: Sequence[Command]) -> None:
        """Complain if a worker lost a lease although it neither gave it up nor was silent for the length of one.

        Args:
            before: The leases before the batch, by trial.
            detached: The sessions that were detached before the batch.
            commands: The batch.
        """
        ended = {command.lease for command in commands if isinstance(command, (Tell, Fail))}
        left = {command.session for command in commands if isinstance(command, Leave)}
        after = _leases(self.state)
        for number, lease in before.items():
            if after.get(number) == lease or lease in ended or lease.session in left:
                continue
            if lease.session not in detached:
                self._complain(f"{lease} was taken from a worker that had not left")
                continue
            self._world.happened["regranted"] += number in after
            silent = self._awake - self._last_words.get(lease.session, self._awake)
            # a sleep that is much shorter than a lease is not noticed
            if silent < self._world.faults.lease / 2:
                self._complain(f"{lease} was taken from a worker that was silent for {silent:.3g} s")
        for command in commands:
            if (session := _session(command)) is not None:
                self._last_words[session] = self._awake


def _leases(state: StudyState) -> dict[int, Lease]:
    return {number: opened.lease for number, opened in state.open.items() if opened.lease is not None}


def _detached_leases(state: StudyState) -> dict[int, Lease]:
    if not state.lease_seconds:
        return {}
    return {number: lease for number, lease in _leases(state).items() if lease.session in state.lease_seconds}


def _session(command: Command) -> str | None:
    match command:
        case Ask() | Join():
            return command.session
        case Tell() | Fail() | Heartbeat():
            return command.lease.session
        case _:
            return None
