"""One simulated study, event by event, with what must hold checked after each."""

from __future__ import annotations

import hashlib
from functools import partial

import msgspec

from phyletic.coordinator.messages import Ask, Command, Control, Finished, Pin, Reply, Wait
from phyletic.evolution import Algorithm
from phyletic.simulate.faults import Faults
from phyletic.simulate.invariants import check_invariants, check_left, check_stored
from phyletic.simulate.observer import Observer
from phyletic.simulate.simulated_disk import SimulatedDatabase
from phyletic.simulate.workforce import Workforce
from phyletic.simulate.world import World
from phyletic.space import Space

_CHECK_STORED = 48
"""Transactions between two comparisons with all that is stored."""
_IDLE_EVENTS = 200_000
"""So many events without a decision: the study hangs."""
_MOST_EVENTS = 1_000_000
"""So many events in all: the study has no end."""
_encoder = msgspec.msgpack.Encoder()


class SimulatedStudy:
    """Runs one simulated study.

    Args:
        world: The world of the simulation.
        database: The database, with the study in it.
        name: The study's name.
        space: Its search space.
        algorithm: Its algorithm.
        workers: How many workers there are in the beginning.
        check: Whether invariants are checked.

    Attributes:
        observer: The observer of the study's owner.
        workforce: Its workers.
        finished: Why there was no trial left in the end.
    """

    def __init__(
        self,
        world: World,
        database: SimulatedDatabase,
        name: str,
        *,
        space: Space,
        algorithm: Algorithm,
        workers: int,
        check: bool,
    ) -> None:
        self.finished = ""
        self._world, self._check = world, check
        self._last_change = (-1, 0)
        self._checked = -1
        self._compared = 0
        self._log = hashlib.blake2b(digest_size=16)
        self.observer = Observer(world, database, name, space=space, algorithm=algorithm)
        self.workforce = Workforce(world, self.observer, self._execute)
        for _ in range(workers):
            self.workforce.join()

    @property
    def digest(self) -> str:
        """A digest of all events so far."""
        return self._log.hexdigest()

    def run(self) -> None:
        """Let events happen until none is left, or something does not hold."""
        while not self._world.violations and self._world.next_event():
            self._verify()
        if not self._world.violations:
            self._end()

    def plan_control(self, seconds: float, command: Control | Pin) -> None:
        """Plan a change of control, some seconds from the start."""
        self._world.at(seconds, partial(self._control, command))

    def _control(self, command: Control | Pin) -> None:
        if self._execute(command) is None:
            self._world.after(self._world.faults.again, partial(self._control, command))
        self.workforce.wake()

    def _execute(self, *commands: Command) -> tuple[Reply, ...] | None:
        """Let the owner decide a batch; return None if it is suspended, or died meanwhile."""
        world, observer = self._world, self.observer
        if world.now < observer.asleep_until:
            return None
        changed, outages = observer.changed, world.happened["outages"]
        replies = observer.execute(commands)
        self._log.update(_encoder.encode((world.now, commands, replies)))
        if replies is None:
            self.workforce.orphan(all_attached=world.happened["outages"] > outages)
        if replies is None or observer.changed != changed:
            self.workforce.wake()
            rested = world.now >= observer.asleep_until + world.faults.lease
            if rested and world.happens(world.faults.suspend):
                observer.suspend(3 * world.faults.lease * world.chance.random())
        return replies

    def _verify(self) -> None:
        world, observer, state = self._world, self.observer, self.observer.state
        if self._last_change[0] != observer.changed:
            self._last_change = (observer.changed, world.count)
        elif world.count - self._last_change[1] > _IDLE_EVENTS:
            world.violations.append(f"nothing was decided in {_IDLE_EVENTS} events")
        if world.count > _MOST_EVENTS:
            world.violations.append(f"there is no end after {world.count} events")
        sequence = state.counters.sequence
        if self._check and sequence != self._checked:
            self._checked = sequence
            world.violations += check_invariants(state, observer.ledger)
            if not 0 <= sequence - self._compared < _CHECK_STORED:
                self._compared = sequence
                world.violations += check_stored(observer.database, state, observer.ledger)

    def _end(self) -> None:
        """Check what must hold when no event is left: there is nothing left to do, and nothing left behind."""
        world, observer, state = self._world, self.observer, self.observer.state
        if self._check:
            world.violations += check_stored(observer.database, state, observer.ledger)
        # no worker looks for a silent one once there is no trial, so a detached session may hold one for good
        held = {
            number
            for session, numbers in state.sessions.items()
            for number in numbers
            if session not in state.deadlines
        }
        if held:
            world.violations.append(f"trials {sorted(held)} are held by {list(state.sessions)}, but none of them runs")
            return
        world.faults = Faults(lease=world.faults.lease)
        world.now = max(world.now, observer.asleep_until)
        (answer,) = observer.execute([Ask(session=world.identity())]) or (None,)
        self._check_finished(answer)
        if self._check:
            # the first to delete what could not be deleted before, the second to confirm it
            observer.hand_over()
            observer.hand_over()
            world.violations += check_stored(observer.database, observer.state, observer.ledger)
            world.violations += check_left(observer.database, observer.state, observer.ledger)

    def _check_finished(self, answer: Reply | None) -> None:
        """Check that a worker is right to be idle in the end."""
        world, state = self._world, self.observer.state
        if isinstance(answer, Finished):
            self.finished = answer.reason
            limit = state.limit
            young = [m.view.member for m in state.population() if limit is not None and not m.ended(limit)]
            if answer.reason.startswith("every member") and young:
                world.violations.append(f"the study is finished, but members {young} have steps left")
        elif isinstance(answer, Wait) and state.control.paused:
            self.finished = answer.reason
        else:
            world.violations.append(f"workers are idle, but an ask was answered {answer}")
