"""The events of a simulation, in one queue ordered by virtual time; each is handled to its end before the next."""

from __future__ import annotations

import hashlib
import heapq
import math
from collections.abc import Callable
from functools import partial

import msgspec

from phyletic.coordinator.messages import (
    Ask,
    Beat,
    Command,
    Control,
    Done,
    Fail,
    Finished,
    Grant,
    Join,
    Leave,
    Pin,
    Refused,
    Reply,
    Tell,
    Wait,
)
from phyletic.evolution import Algorithm
from phyletic.randomness import RandomStream
from phyletic.records import Metric
from phyletic.simulate.curve import DriftingCurve
from phyletic.simulate.faults import Faults, Speeds
from phyletic.simulate.invariants import check_invariants, check_stored
from phyletic.simulate.owner import SimulatedOwner, identities
from phyletic.simulate.worker import Attempt, Worker, attempt_at, happens
from phyletic.space import Space
from phyletic.storage.store import Store

__all__ = ["Events"]

_CHECK_STORED = 128
"""Events between two comparisons with all that is stored."""
_IDLE_EVENTS = 5000
"""So many events without a decision: the study hangs."""
_MOST_WORKERS = 32
_encoder = msgspec.msgpack.Encoder()

Action = Callable[[], None]


class Events:
    """Runs one simulated study.

    Args:
        store: The database, with the study in it.
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
        now: The virtual time in seconds.
        last_result: When the last result was taken.
        violations: What did not hold; the run ends at the first event with one.
        finished: Why there was nothing to run in the end.
        count: How many events there were.
    """

    def __init__(
        self,
        store: Store,
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
        self.now = self.last_result = 0.0
        self.violations: list[str] = []
        self.finished = ""
        self.count = 0
        self._metric, self._speeds, self._faults, self._curve, self._check = metric, speeds, faults, curve, check
        self._chance = RandomStream(seed, 0x51)
        self._identity = identities(seed)
        self._checkpoints: dict[str, float] = {}
        self.owner = SimulatedOwner(
            store,
            name,
            space=space,
            algorithm=algorithm,
            faults=faults,
            chance=RandomStream(seed, 0x52),
            identity=self._identity,
            checkpoints=self._checkpoints,
        )
        self._queue: list[tuple[float, float, int, Action]] = []
        self._planned = self._requests = 0
        self._waking = False
        self._changed = (-1, 0)
        self._workers: list[Worker] = []
        self._closed: set[str] = set()
        self._log = hashlib.blake2b(digest_size=16)
        self.owner.begin(0.0)
        for _ in range(workers):
            self._join()

    @property
    def digest(self) -> str:
        """A digest of all events so far."""
        return self._log.hexdigest()

    @property
    def utilisation(self) -> float:
        """Share of the workers' time that went into results that were taken."""
        there = sum(
            max(0.0, min(self.last_result, math.inf if worker.left is None else worker.left) - worker.joined)
            for worker in self._workers
        )
        return sum(worker.busy for worker in self._workers) / there if there else 0.0

    def run(self) -> None:
        """Handle events until there is none left, or an invariant is violated."""
        while self._queue and not self.violations:
            self.now, _, _, action = heapq.heappop(self._queue)
            self.count += 1
            action()
            self._verify()
        if not self.violations:
            self._end()

    def control(self, seconds: float, command: Control | Pin) -> None:
        """Plan a change of control."""
        self._at(seconds - self.now, partial(self._control, command))

    # --- the queue and the checks -------------------------------------------------------------------------------

    def _at(self, delay: float, action: Action) -> None:
        self._planned += 1
        heapq.heappush(self._queue, (self.now + delay, self._chance.random(), self._planned, action))

    def _execute(self, *commands: Command) -> tuple[Reply, ...] | None:
        """Let the owner decide a batch; None where it died meanwhile."""
        before = self.owner.state.counters.sequence
        replies = self.owner.execute(commands, self.now)
        self._log.update(_encoder.encode((self.now, commands, replies)))
        if replies is None:
            self._orphaned()
        if self.owner.state.counters.sequence != before:
            self._plan_wake()
        return replies

    def _verify(self) -> None:
        self.violations += self.owner.wrong
        state = self.owner.state
        if self._changed[0] != state.counters.sequence:
            self._changed = (state.counters.sequence, self.count)
        elif self.count - self._changed[1] > _IDLE_EVENTS:
            self.violations.append(f"nothing was decided in {_IDLE_EVENTS} events")
        if self._check:
            self.violations += check_invariants(state, self.owner.ledger)
            if self.count % _CHECK_STORED == 0:
                self.violations += check_stored(self.owner.store, state, self.owner.ledger)

    def _end(self) -> None:
        """Check what must hold when nothing happens any more: nothing is left to do."""
        state = self.owner.state
        if self._check:
            self.violations += check_stored(self.owner.store, state, self.owner.ledger)
        held = {number for numbers in state.sessions.values() for number in numbers}
        if held:
            self.violations.append(f"trials {sorted(held)} are held by {list(state.sessions)}, and nobody runs them")
            return
        self._faults = self.owner.faults = Faults()
        replies = self._execute(Ask(session=self._identity()))
        answer = None if replies is None else replies[0]
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

    # --- workers ------------------------------------------------------------------------------------------------

    def _join(self) -> None:
        number, speeds = len(self._workers), self._speeds
        seconds = speeds.step * math.exp(speeds.spread * self._chance.normal() if speeds.spread else 0.0)
        if happens(speeds.straggler, self._chance):
            seconds *= speeds.slowness
        worker = Worker(f"worker {number}", self._identity(), seconds, self.now)
        self._workers.append(worker)
        self._request(worker, Join(session=worker.session, worker=worker.name), self._ask(worker))

    def _ask(self, worker: Worker) -> Ask:
        return Ask(session=worker.session, in_memory=worker.memory)

    def _plan_wake(self) -> None:
        if not self._waking:
            self._waking = True
            self._at(self._speeds.latency, self._wake)

    def _wake(self) -> None:
        """Let those ask again who were told that there was nothing to run."""
        self._waking = False
        for worker in self._workers:
            if worker.idle and worker.left is None:
                worker.idle = False
                self._request(worker, self._ask(worker))

    def _begin(self, worker: Worker, grant: Grant) -> None:
        if worker.attempt is not None and worker.attempt.grant.lease == grant.lease:
            return
        loss = self._curve.start
        if grant.parent is not None:
            if grant.parent.id not in self._checkpoints:
                self.violations.append(f"trial {grant.trial.number} is granted, but its parent's checkpoint is gone")
                return
            loss = self._checkpoints[grant.parent.id]
            if grant.parent.digest != f"loss:{loss!r}":
                self.violations.append(f"the checkpoint {grant.parent} of a parent holds {loss!r}")
        attempt = worker.attempt = attempt_at(
            grant,
            loss,
            worker,
            curve=self._curve,
            speeds=self._speeds,
            faults=self._faults,
            chance=self._chance,
        )
        self._at(attempt.seconds, partial(self._ends, worker, worker.session, attempt))
        if happens(self._faults.lose or self._faults.pause, self._chance):
            self._at(attempt.seconds * self._chance.random(), partial(self._beats, worker, worker.session, attempt))

    def _beats(self, worker: Worker, session: str, attempt: Attempt) -> None:
        if worker.session == session and worker.attempt is attempt and worker.left is None:
            self._send(worker, None, (Beat(lease=attempt.grant.lease, step=attempt.grant.trial.start_step),))

    def _ends(self, worker: Worker, session: str, attempt: Attempt) -> None:
        """An attempt has come to its end, whatever that is."""
        if worker.session != session or worker.attempt is not attempt or worker.left is not None:
            return
        detection = self._faults.detection
        if attempt.fate == "crashes":
            self._at(detection, partial(self._gone, worker.session))
            self._die(worker)
        elif attempt.fate == "sleeps":
            self._at(detection, partial(self._gone, worker.session))
            self._at(detection * (1 + 3 * self._chance.random()), partial(self._late, worker, session, attempt))
        else:
            said = self._said(attempt)
            worker.memory = attempt.grant.trial.number if isinstance(said, Tell) else None
            self._request(worker, said, self._ask(worker))

    def _said(self, attempt: Attempt) -> Tell | Fail:
        said = attempt.result(self._metric.name, self._metric.mode, self._curve)
        if isinstance(said, Tell):
            score = None if said.partial else said.evaluations[0].value
            self.owner.ledger.reported[said.lease.trial, said.lease.fence] = score
            self.owner.publish(attempt.grant.checkpoint, attempt.loss)
        return said

    def _late(self, worker: Worker, session: str, attempt: Attempt) -> None:
        """A worker wakes that was taken for dead: its result must be refused."""
        if worker.session != session or worker.left is not None:
            return
        replies = self._execute(self._said(attempt))
        if session in self._closed and replies is not None:
            (reply,) = replies
            if not isinstance(reply, Refused) or reply.error != "LeaseLost":
                self.violations.append(f"a result that came too late for {attempt.grant.lease} was answered {reply}")
        self._renew(worker)

    def _renew(self, worker: Worker) -> None:
        """Begin another session of a worker that lost its own."""
        worker.session, worker.attempt, worker.memory, worker.awaited = self._identity(), None, None, None
        self._request(worker, Join(session=worker.session, worker=worker.name), self._ask(worker))

    def _die(self, worker: Worker) -> None:
        """End a worker; another takes its place."""
        worker.left, worker.attempt, worker.awaited = self.now, None, None
        self._at(self._faults.detection * (1 + self._chance.random()), self._join)

    def _gone(self, session: str) -> None:
        """The end of a session is seen."""
        self._closed.add(session)
        if self._execute(Leave(session=session, lost=True, error="its worker died")) is None:
            self._at(self._faults.again, partial(self._gone, session))

    def _orphaned(self) -> None:
        """The owner died: some of its workers die with it, the others go on and find that their leases are void."""
        for worker in self._workers:
            if worker.left is None and self._chance.random() < 0.3:
                self._closed.add(worker.session)
                self._die(worker)

    def _control(self, command: Control | Pin) -> None:
        if self._execute(command) is None:
            self._at(self._faults.again, partial(self._control, command))

    # --- messages -----------------------------------------------------------------------------------------------

    def _request(self, worker: Worker, *commands: Command) -> None:
        """Say something and wait for the answer, saying it again as long as there is none."""
        self._requests += 1
        worker.awaited, worker.request = self._requests, commands
        self._send(worker, self._requests, commands)

    def _send(self, worker: Worker, number: int | None, commands: tuple[Command, ...]) -> None:
        faults, chance = self._faults, self._chance
        if number is not None and (faults.lose or faults.owner):
            self._at(faults.again, partial(self._again, worker, number))
        copies = 1 + happens(faults.duplicate, chance) - happens(faults.lose, chance)
        for _ in range(copies):
            self._at(self._delay(), partial(self._arrives, worker, worker.session, number, commands))

    def _delay(self) -> float:
        delay = self._speeds.latency * 2 * self._chance.random()
        if happens(self._faults.delay, self._chance):
            delay += self._faults.detection * self._chance.random()
        return delay

    def _again(self, worker: Worker, number: int) -> None:
        if worker.awaited == number and worker.left is None:
            self._send(worker, number, worker.request)

    def _arrives(self, worker: Worker, session: str, number: int | None, commands: tuple[Command, ...]) -> None:
        """A message arrives; who is known to have gone gets no trial, but what it said is decided."""
        if session in self._closed:
            commands = tuple(command for command in commands if not isinstance(command, (Ask, Join)))
        if not commands:
            return
        replies = self._execute(*commands)
        if replies is not None and not happens(self._faults.lose, self._chance):
            seen = self.owner.state.counters.sequence
            self._at(self._delay(), partial(self._answered, worker, session, number, commands, replies, seen))

    def _answered(
        self,
        worker: Worker,
        session: str,
        number: int | None,
        commands: tuple[Command, ...],
        replies: tuple[Reply, ...],
        seen: int,
    ) -> None:
        if worker.session != session or worker.left is not None:
            return
        if number is None:
            self._heard(worker, commands[0], replies[0])
            return
        if number != worker.awaited:
            return
        worker.awaited = None
        if session in self._closed:
            self._renew(worker)
            return
        for command, reply in zip(commands, replies, strict=True):
            match command, reply:
                case Tell() | Fail(), _:
                    self._told(worker, command, reply)
                case Ask(), Grant():
                    self._begin(worker, reply)
                case Ask(), Wait() | Finished():
                    worker.idle = True
                    if seen != self.owner.state.counters.sequence:
                        self._plan_wake()
                case Ask(), _:
                    self.violations.append(f"{worker.name} asked for a trial and was answered {reply}")
        self._come_and_go(worker, commands)

    def _told(self, worker: Worker, command: Tell | Fail, reply: Reply) -> None:
        attempt, worker.attempt = worker.attempt, None
        if isinstance(reply, Refused) and reply.error != "LeaseLost":
            self.violations.append(f"{command} was refused: {reply.message}")
        elif isinstance(command, Tell) and isinstance(reply, Done):
            self.last_result = self.now
            worker.busy += 0.0 if attempt is None else attempt.seconds
        else:
            worker.memory = None

    def _heard(self, worker: Worker, command: Command, reply: Reply) -> None:
        """The answer to a heartbeat: who lost the lease stops, and asks for another trial."""
        attempt = worker.attempt
        if not isinstance(command, Beat) or attempt is None or attempt.grant.lease != command.lease:
            return
        if isinstance(reply, Refused) and worker.awaited is None and worker.session not in self._closed:
            worker.attempt = worker.memory = None
            self._request(worker, self._ask(worker))

    def _come_and_go(self, worker: Worker, commands: tuple[Command, ...]) -> None:
        if not any(isinstance(command, Tell) for command in commands):
            return
        there = sum(other.left is None for other in self._workers)
        if there < _MOST_WORKERS and happens(self._faults.join, self._chance):
            self._join()
        elif there > 1 and happens(self._faults.leave, self._chance):
            worker.left = self.now
            self._at(self._speeds.latency, partial(self._gone, worker.session))
