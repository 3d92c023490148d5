"""The owner of a simulated study: the real coordinator, whose process may die while it decides."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from phyletic.coordinator.coordinator import Coordinator, Outcome
from phyletic.coordinator.messages import (
    Ask,
    Command,
    Done,
    Fail,
    Finished,
    Granted,
    Heartbeat,
    Join,
    Leave,
    Pin,
    Refused,
    Reply,
    Tell,
    Wait,
)
from phyletic.coordinator.state import StudyState
from phyletic.evolution import Algorithm
from phyletic.failpoints import armed
from phyletic.randomness import RandomStream
from phyletic.records import Lease, Trial, TrialState
from phyletic.simulate.disk import SimulatedDisk
from phyletic.simulate.faults import Faults
from phyletic.simulate.invariants import Ledger
from phyletic.space import Space
from phyletic.storage import queries

__all__ = ["SimulatedOwner", "identities", "matters"]

_CONFIRM_AT_ONCE = 8
_PLACES = ("coordinator.decided", "storage.begin.before", "storage.commit.before", "storage.commit.after")


class _Death(BaseException):
    """The owner's process has died."""


def identities(seed: int) -> Callable[[], str]:
    """Return a source of identities of 32 hexadecimal digits that are the same for the same seed."""
    count = 0

    def identity() -> str:
        nonlocal count
        count += 1
        return hashlib.blake2b(f"{seed} {count}".encode(), digest_size=16).hexdigest()

    return identity


class SimulatedOwner:
    """Decides batches of commands, deletes what was condemned, and notes in a ledger what an observer sees.

    Args:
        database: The database.
        name: The study's name in it.
        space: The study's search space.
        algorithm: The study's algorithm.
        faults: What goes wrong.
        chance: Where chance comes from.
        identity: Gives identities.
        checkpoints: What was published, by id.

    Attributes:
        database: The database.
        ledger: What an observer saw.
        happened: What went wrong, by the names of :class:`~phyletic.simulate.Incidents`.
        wrong: What did not hold, in words.
        asleep_until: Until when it is suspended, and hears nobody.
        changed: How many batches changed more than deadlines.
    """

    def __init__(
        self,
        database: SimulatedDisk,
        name: str,
        *,
        space: Space,
        algorithm: Algorithm,
        faults: Faults,
        chance: RandomStream,
        identity: Callable[[], str],
        checkpoints: dict[str, float],
    ) -> None:
        self.database = database
        self.ledger = Ledger()
        self.happened: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.asleep_until = 0.0
        self.changed = 0
        self._slept = self._woken = 0.0
        self._heard: dict[str, float] = {}
        self._make = partial(Coordinator, database, name, space=space, algorithm=algorithm, identity=identity)
        self.faults = faults
        self._chance = chance
        self._checkpoints = checkpoints
        self._unconfirmed: dict[str, float] = {}
        self._coordinator = self._make()

    @property
    def state(self) -> StudyState:
        """The committed state."""
        return self._coordinator.state

    def begin(self, now: float) -> None:
        """Begin to own the study, as a process that knows nothing of an earlier one."""
        before = self._detached()
        self._coordinator = self._make()
        self._unconfirmed = {}
        outcome = self._coordinator.begin(now)
        for number, lease in before.items():
            if self._detached().get(number) != lease:
                self.wrong.append(f"the lease {lease} of a detached worker ended with its owner")
        self._heard = dict.fromkeys(self._heard, now - self._slept)
        self._delete(outcome.condemned)
        self._delete(self._coordinator.given_up(sorted(self.ledger.published)))

    def suspend(self, now: float, seconds: float) -> None:
        """Hear nobody for a while."""
        self.happened["suspended"] += 1
        self._slept += seconds
        self.asleep_until = now + seconds

    def _detached(self) -> dict[int, Lease]:
        """Return the leases of detached sessions, by trial."""
        state = self.state
        if not state.lease_seconds:
            return {}
        return {number: lease for number, lease in _leases(state).items() if lease.session in state.lease_seconds}

    def _overslept(self, now: float) -> set[tuple[int, Lease]]:
        """Return the leases of detached sessions whose deadlines passed while the owner was suspended, by trial."""
        if self._woken == self.asleep_until:
            return set()
        self._woken, deadlines = self.asleep_until, self.state.deadlines
        return {
            (number, lease) for number, lease in self._detached().items() if now > deadlines.get(lease.session, now)
        }

    def publish(self, checkpoint: str, loss: float) -> None:
        """Take in the bytes of a checkpoint."""
        self._checkpoints[checkpoint] = loss
        self.ledger.published.add(checkpoint)

    def execute(self, commands: Sequence[Command], now: float) -> tuple[Reply, ...] | None:
        """Decide a batch; None where the owner died meanwhile, and nobody knows what became of it."""
        before, overslept = _leases(self.state), self._overslept(now)
        detached = set(self.state.lease_seconds)
        try:
            outcome = self._decide(commands, now)
        except _Death:
            self.happened["deaths"] += 1
            self.begin(now)
            self._notice(commands)
            return None
        if self.faults.power and matters(commands, outcome.replies) and self._chance.random() < self.faults.power:
            self._lose_power(commands, now)
            return None
        self.changed += bool(outcome.changes)
        for command, reply in zip(commands, outcome.replies, strict=True):
            self._note(command, reply)
        self._check_taken(before, detached, commands, now)
        self.happened["spared"] += len(overslept & self._detached().items())
        self._delete(outcome.condemned)
        return outcome.replies

    def _lose_power(self, commands: Sequence[Command], now: float) -> None:
        self.happened["outages"] += 1
        ledger, unconfirmed, before = self.ledger, self._unconfirmed, _leases(self.state)
        self.database.lose_power()
        self._coordinator = self._make()
        state = self.state
        # grants that nobody wrote down never were
        for number in [
            number for number in ledger.granted if number in state.open or number >= state.counters.next_trial
        ]:
            del ledger.granted[number]
        left = _leases(state)
        ledger.granted.update(left)
        self.happened["undone"] += len(before.items() - left.items())
        ledger.seen = min(ledger.seen, state.counters.next_trial)
        # what was deleted, and is not said to be, may be back
        for checkpoint, loss in unconfirmed.items():
            self.publish(checkpoint, loss)
        self.begin(now)
        ledger.open = frozenset(self.state.open)
        self._notice(commands)

    def _check_taken(
        self, before: dict[int, Lease], detached: set[str], commands: Sequence[Command], now: float
    ) -> None:
        """Nobody loses a lease but by its own word, or by silence for the length of one while the owner could hear."""
        awake = now - self._slept
        said = {_session(command) for command in commands} - {None}
        ended = {command.lease for command in commands if isinstance(command, (Tell, Fail))}
        left = {command.session for command in commands if isinstance(command, Leave)}
        still = _leases(self.state)
        for number, lease in before.items():
            if still.get(number) == lease or lease in ended or lease.session in left:
                continue
            if lease.session not in detached:
                self.wrong.append(f"{lease} was taken from a worker that had not left")
                continue
            self.happened["regranted"] += number in still
            silent = awake - self._heard.get(lease.session, awake)
            # a sleep that is much shorter than a lease is not noticed
            if silent < self.faults.lease / 2:
                self.wrong.append(f"{lease} was taken from a worker that was silent for {silent:.3g} s")
        for session in said:
            self._heard[str(session)] = awake

    def _decide(self, commands: Sequence[Command], now: float) -> Outcome:
        harmless = not self.faults.owner or all(isinstance(command, Heartbeat) for command in commands)
        if harmless or self._chance.random() >= self.faults.owner:
            return self._coordinator.execute(commands, now)
        place = self._chance.choice(_PLACES)

        def die(name: str) -> None:
            if name == place:
                raise _Death

        with armed(die):
            return self._coordinator.execute(commands, now)

    def _note(self, command: Command, reply: Reply) -> None:
        ledger = self.ledger
        if isinstance(command, Tell):
            late = isinstance(reply, Refused) and reply.error == "LeaseLost"
            again = isinstance(reply, Done) and command.lease.trial in ledger.ended
            self.happened.update(refused=late, told_again=again)
        match command, reply:
            case Tell(), Done(trial=trial) if trial is not None:
                known = ledger.ended.setdefault(trial.number, trial)
                if repr(known) != repr(trial):
                    self.wrong.append(f"the result of trial {trial.number} was {known}, and is now {trial}")
                if command.lease != ledger.granted.get(trial.number):
                    self.wrong.append(f"a result for {command.lease} was taken; granted last was another")
            case Tell(partial=True), Refused(error="InvalidArgument"):
                # the budget was lowered, and what is handed back is all that was left to train
                pass
            case Tell() | Fail() | Heartbeat(), Refused() if self._detached().get(command.lease.trial) == command.lease:
                self.wrong.append(f"{command} was refused, though its worker holds the lease: {reply.message}")
            case Tell(), Refused() if command.lease.trial in ledger.ended:
                if command.lease == ledger.granted.get(command.lease.trial):
                    self.wrong.append(f"the result for {command.lease} was committed, and is refused when said again")
            case Fail(cause="damaged"), Done(trial=trial) if trial is not None and trial.parent is not None:
                ledger.damaged.add(trial.parent)
            case Pin(), Done():
                (ledger.pinned.add if command.keep else ledger.pinned.discard)(command.trial)
            case _, Granted():
                for granted in reply.grants:
                    lease, before = granted.lease, ledger.granted.get(granted.lease.trial)
                    if before is not None and before != lease and before.fence >= lease.fence:
                        self.wrong.append(f"the grant {lease} does not rise above {before}")
                    ledger.granted[lease.trial] = lease

    def _notice(self, commands: Sequence[Command]) -> None:
        """Find what of the last batch was committed: the next owner's only witness is the database."""
        told = {command.lease.trial for command in commands if isinstance(command, Tell)}
        with self.database.read() as connection:
            for number in told - set(self.ledger.ended):
                trial: Trial | None = queries.trial(connection, self.state.id, number)
                if trial is not None and trial.state in (TrialState.COMPLETED, TrialState.PARTIAL):
                    self.ledger.ended[number] = trial
                    self.happened["unheard"] += 1
        for command in commands:
            if isinstance(command, Fail) and command.cause == "damaged" and command.lease.trial not in self.state.open:
                with self.database.read() as connection:
                    given_up = queries.trial(connection, self.state.id, command.lease.trial)
                if given_up is not None and given_up.parent is not None:
                    self.ledger.damaged.add(given_up.parent)
            if isinstance(command, Pin) and command.keep == (command.trial in self.state.pinned):
                (self.ledger.pinned.add if command.keep else self.ledger.pinned.discard)(command.trial)

    def _delete(self, ids: Sequence[str]) -> None:
        for checkpoint in ids:
            if self.faults.forget and self._chance.random() < self.faults.forget:
                self.happened["forgotten"] += 1
                continue
            loss = self._checkpoints.pop(checkpoint, None)
            self.ledger.published.discard(checkpoint)
            self.ledger.deleted.add(checkpoint)
            self._unconfirmed.setdefault(checkpoint, math.nan if loss is None else loss)
        if len(self._unconfirmed) >= _CONFIRM_AT_ONCE:
            self._coordinator.confirm(list(self._unconfirmed))
            self._unconfirmed = {}


def matters(commands: Sequence[Command], replies: Sequence[Reply]) -> bool:
    """Whether a batch was more than signs of life and asks for what there is not."""
    return any(
        not isinstance(command, (Join, Heartbeat)) and not isinstance(reply, (Wait, Finished))
        for command, reply in zip(commands, replies, strict=True)
    )


def _leases(state: StudyState) -> dict[int, Lease]:
    return {number: opened.lease for number, opened in state.open.items() if opened.lease is not None}


def _session(command: Command) -> str | None:
    match command:
        case Ask() | Join():
            return command.session
        case Tell() | Fail() | Heartbeat():
            return command.lease.session
        case _:
            return None
