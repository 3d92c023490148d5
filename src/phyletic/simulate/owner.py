"""The owner of a simulated study: the real coordinator, whose process may die while it decides."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial

from phyletic.coordinator.coordinator import Coordinator, Outcome
from phyletic.coordinator.messages import Command, Done, Fail, Grant, Pin, Refused, Reply, Tell
from phyletic.coordinator.state import StudyState
from phyletic.evolution import Algorithm
from phyletic.failpoints import armed
from phyletic.randomness import RandomStream
from phyletic.records import Trial, TrialState
from phyletic.simulate.faults import Faults
from phyletic.simulate.invariants import Ledger
from phyletic.space import Space
from phyletic.storage import reading
from phyletic.storage.store import Store

__all__ = ["SimulatedOwner", "identities"]

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
        store: The database.
        name: The study's name in it.
        space: The study's search space.
        algorithm: The study's algorithm.
        faults: What goes wrong.
        chance: Where chance comes from.
        identity: Gives identities.
        checkpoints: What was published, by id.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        space: Space,
        algorithm: Algorithm,
        faults: Faults,
        chance: RandomStream,
        identity: Callable[[], str],
        checkpoints: dict[str, float],
    ) -> None:
        self.store = store
        self.ledger = Ledger()
        self.deaths = 0
        self.wrong: list[str] = []
        self._make = partial(Coordinator, store, name, space=space, algorithm=algorithm, identity=identity)
        self.faults = faults
        self._chance = chance
        self._checkpoints = checkpoints
        self._confirmed: list[str] = []
        self._coordinator = self._make()

    @property
    def state(self) -> StudyState:
        """The committed state."""
        return self._coordinator.state

    def begin(self, now: float) -> None:
        """Begin to own the study, as a process that knows nothing of an earlier one."""
        self._coordinator = self._make()
        self._confirmed = []
        outcome = self._coordinator.begin(now)
        self._delete(outcome.condemned)

    def publish(self, checkpoint: str, loss: float) -> None:
        """Take in the bytes of a checkpoint."""
        self._checkpoints[checkpoint] = loss
        self.ledger.published.add(checkpoint)

    def execute(self, commands: Sequence[Command], now: float) -> tuple[Reply, ...] | None:
        """Decide a batch; None where the owner died meanwhile, and nobody knows what became of it."""
        try:
            outcome = self._decide(commands, now)
        except _Death:
            self.deaths += 1
            self.begin(now)
            self._notice(commands)
            return None
        for command, reply in zip(commands, outcome.replies, strict=True):
            self._note(command, reply)
        self._delete(outcome.condemned)
        return outcome.replies

    def _decide(self, commands: Sequence[Command], now: float) -> Outcome:
        if not self.faults.owner or self._chance.random() >= self.faults.owner:
            return self._coordinator.execute(commands, now)
        place = self._chance.choice(_PLACES)

        def die(name: str) -> None:
            if name == place:
                raise _Death

        with armed(die):
            return self._coordinator.execute(commands, now)

    def _note(self, command: Command, reply: Reply) -> None:
        ledger = self.ledger
        match command, reply:
            case Tell(), Done(trial=trial) if trial is not None:
                known = ledger.ended.setdefault(trial.number, trial)
                if repr(known) != repr(trial):
                    self.wrong.append(f"the result of trial {trial.number} was {known}, and is now {trial}")
                if command.lease != ledger.granted.get(trial.number):
                    self.wrong.append(f"a result for {command.lease} was taken; granted last was another")
            case Tell(), Refused() if command.lease.trial in ledger.ended:
                if command.lease == ledger.granted.get(command.lease.trial):
                    self.wrong.append(f"the result for {command.lease} was committed, and is refused when said again")
            case Fail(cause="damaged"), Done(trial=trial) if trial is not None and trial.parent is not None:
                ledger.damaged.add(trial.parent)
            case Pin(), Done():
                (ledger.pinned.add if command.keep else ledger.pinned.discard)(command.trial)
            case _, Grant():
                before = ledger.granted.get(reply.lease.trial)
                if before is not None and before != reply.lease and before.fence >= reply.lease.fence:
                    self.wrong.append(f"the grant {reply.lease} does not rise above {before}")
                ledger.granted[reply.lease.trial] = reply.lease

    def _notice(self, commands: Sequence[Command]) -> None:
        """Find what of the last batch was committed: the next owner's only witness is the database."""
        told = {command.lease.trial for command in commands if isinstance(command, Tell)}
        with self.store.read() as connection:
            for number in told - set(self.ledger.ended):
                trial: Trial | None = reading.trial(connection, self.state.id, number)
                if trial is not None and trial.state in (TrialState.COMPLETED, TrialState.PARTIAL):
                    self.ledger.ended[number] = trial
        for command in commands:
            if isinstance(command, Fail) and command.cause == "damaged" and command.lease.trial not in self.state.open:
                with self.store.read() as connection:
                    given_up = reading.trial(connection, self.state.id, command.lease.trial)
                if given_up is not None and given_up.parent is not None:
                    self.ledger.damaged.add(given_up.parent)
            if isinstance(command, Pin) and command.keep == (command.trial in self.state.pinned):
                (self.ledger.pinned.add if command.keep else self.ledger.pinned.discard)(command.trial)

    def _delete(self, ids: Sequence[str]) -> None:
        for checkpoint in ids:
            if self.faults.forget and self._chance.random() < self.faults.forget:
                continue
            self._checkpoints.pop(checkpoint, None)
            self.ledger.published.discard(checkpoint)
            self.ledger.deleted.add(checkpoint)
            self._confirmed.append(checkpoint)
        if len(self._confirmed) >= _CONFIRM_AT_ONCE:
            self._coordinator.confirm(self._confirmed)
            self._confirmed = []
