"""One simulated study, event by event, with what must hold checked after each."""

from __future__ import annotations

import hashlib
from functools import partial

import msgspec

from phyletic.coordinator.messages import Ask, Command, Control, Finished, Pin, Reply, Wait
from phyletic.evolution import Algorithm
from phyletic.randomness import RandomStream
from phyletic.records import Metric
from phyletic.simulate.curve import DriftingCurve
from phyletic.simulate.disk import SimulatedDisk
from phyletic.simulate.faults import Faults, Speeds
from phyletic.simulate.invariants import check_invariants, check_left, check_stored
from phyletic.simulate.owner import SimulatedOwner, identities, matters
from phyletic.simulate.queue import EventQueue
from phyletic.simulate.worker import happens
from phyletic.simulate.workforce import Workforce
from phyletic.space import Space

__all__ = ["Events"]

_CHECK_STORED = 48
"""Transactions between two comparisons with all that is stored."""
_IDLE_EVENTS = 200_000
"""So many events without a decision: the study hangs."""
_MOST_EVENTS = 1_000_000
"""So many events in all: the study has no end."""
_encoder = msgspec.msgpack.Encoder()


class Events:
    """Runs one simulated study.

    Args:
        database: The database, with the study in it.
        name: The study's name.
        space: Its search space.
        algorithm: Its algorithm.
        metric: What is reported.
        workers: Workers in the beginning.
        speeds: How long things take.
        faults: What goes wrong.
        curve: How members learn.
        check: Whether invariants are checked.
        seed: From which all chance is derived.

    Attributes:
        owner: The study's owner.
        workforce: Its workers.
        queue: What is still to happen.
        violations: What did not hold; the run ends at the first event with one.
        finished: Why there was nothing to run in the end.
    """

    def __init__(
        self,
        database: SimulatedDisk,
        name: str,
        *,
        space: Space,
        algorithm: Algorithm,
        metric: Metric,
        workers: int,
        speeds: Speeds,
        faults: Faults,
        curve: DriftingCurve,
        check: bool,
        seed: int,
    ) -> None:
        self.violations: list[str] = []
        self.finished = ""
        self._faults, self._check = faults, check
        self._chance = RandomStream(seed, 0x51)
        self._identity = identities(seed)
        self._changed = (-1, 0)
        self._seen = -1
        self._compared = 0
        self._log = hashlib.blake2b(digest_size=16)
        checkpoints: dict[str, float] = {}
        self.queue = EventQueue(self._chance)
        self.owner = SimulatedOwner(
            database,
            name,
            space=space,
            algorithm=algorithm,
            faults=faults,
            chance=RandomStream(seed, 0x52),
            identity=self._identity,
            checkpoints=checkpoints,
        )
        self.workforce = Workforce(
            self.queue,
            self.owner,
            self._execute,
            self.violations.append,
            metric=metric,
            speeds=speeds,
            faults=faults,
            curve=curve,
            chance=self._chance,
            identity=self._identity,
            checkpoints=checkpoints,
        )
        self.owner.begin(0.0)
        for _ in range(workers):
            self.workforce.join()

    @property
    def digest(self) -> str:
        """A digest of all events so far."""
        return self._log.hexdigest()

    def run(self) -> None:
        """Handle events until there is none left, or an invariant is violated."""
        while self.queue and not self.violations:
            self.queue.next()
            self._verify()
        if not self.violations:
            self._end()

    def control(self, seconds: float, command: Control | Pin) -> None:
        """Plan a change of control."""
        self.queue.at(seconds, partial(self._control, command))

    def _control(self, command: Control | Pin) -> None:
        if self._execute(command) is None:
            self.queue.after(self._faults.again, partial(self._control, command))
        self.workforce.call_back()

    def _execute(self, *commands: Command) -> tuple[Reply, ...] | None:
        """Let the owner decide a batch; None where it cannot now, or died meanwhile."""
        owner, now = self.owner, self.queue.now
        if now < owner.asleep_until:
            return None
        before, outages = owner.changed, owner.happened["outages"]
        replies = owner.execute(commands, now)
        self._log.update(_encoder.encode((now, commands, replies)))
        if replies is None:
            self.workforce.orphaned(all_of_them=owner.happened["outages"] > outages)
        mattered = replies is None or matters(commands, replies)
        # where a study stopped for its failures, the next owner lets it go on: so those ask again who were told so
        if replies is None or (mattered and owner.changed != before):
            self.workforce.wake()
        rested = now >= owner.asleep_until + self._faults.lease
        if mattered and rested and happens(self._faults.suspend, self._chance):
            owner.suspend(now, 3 * self._faults.lease * self._chance.random())
        return replies

    def _verify(self) -> None:
        self.violations += self.owner.wrong
        state, count = self.owner.state, self.queue.count
        if self._changed[0] != self.owner.changed:
            self._changed = (self.owner.changed, count)
        elif count - self._changed[1] > _IDLE_EVENTS:
            self.violations.append(f"nothing was decided in {_IDLE_EVENTS} events")
        if count > _MOST_EVENTS:
            self.violations.append(f"there is no end after {count} events")
        if self._check and state.counters.sequence != self._seen:
            self._seen = state.counters.sequence
            self.violations += check_invariants(state, self.owner.ledger)
            if not 0 <= state.counters.sequence - self._compared < _CHECK_STORED:
                self._compared = state.counters.sequence
                self.violations += check_stored(self.owner.database, state, self.owner.ledger)

    def _end(self) -> None:
        """Check what must hold when nothing happens any more: nothing is left to do, and nothing is left behind."""
        owner, state = self.owner, self.owner.state
        if self._check:
            self.violations += check_stored(owner.database, state, owner.ledger)
        # nobody may look for a silent worker once there is nothing to run
        held = {
            number
            for session, numbers in state.sessions.items()
            for number in numbers
            if session not in state.deadlines
        }
        if held:
            self.violations.append(f"trials {sorted(held)} are held by {list(state.sessions)}, and nobody runs them")
            return
        owner.faults = Faults(lease=self._faults.lease)
        self.queue.now = max(self.queue.now, owner.asleep_until)
        (answer,) = owner.execute([Ask(session=self._identity())], self.queue.now) or (None,)
        if isinstance(answer, Finished):
            self.finished = answer.reason
            limit = state.limit
            young = [m.view.member for m in state.population() if limit is not None and not m.ended(limit)]
            if answer.reason.startswith("every member") and young:
                self.violations.append(f"the study is finished, but members {young} have steps left")
        elif isinstance(answer, Wait) and state.control.paused:
            self.finished = answer.reason
        else:
            self.violations.append(f"workers are idle, but one that asks is answered {answer}")
        if self._check:
            owner.begin(self.queue.now)
            self.violations += owner.wrong
            self.violations += check_left(owner.database, owner.state, owner.ledger)
