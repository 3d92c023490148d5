"""The workers of a simulated study: they join, ask, train, say what came of it, and come to grief."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from phyletic.coordinator.messages import (
    Ask,
    Command,
    Done,
    Fail,
    Finished,
    Grant,
    Granted,
    Heartbeat,
    Join,
    Leave,
    Refused,
    Reply,
    Tell,
    Wait,
)
from phyletic.coordinator.sessions import HEARTBEATS_PER_LEASE
from phyletic.randomness import RandomStream
from phyletic.records import Metric
from phyletic.simulate.curve import DriftingCurve
from phyletic.simulate.faults import Faults, Speeds
from phyletic.simulate.network import Network
from phyletic.simulate.owner import SimulatedOwner
from phyletic.simulate.queue import EventQueue
from phyletic.simulate.worker import Attempt, Worker, attempt_at, happens

__all__ = ["Workforce"]

_MOST_WORKERS = 32


class Workforce:
    """All workers of one simulated study.

    Args:
        queue: Where events are planned.
        owner: The study's owner.
        execute: Lets the owner decide a batch; None where it died meanwhile.
        complain: Called with what does not hold, in words.
        metric: What is reported.
        speeds: How long things take.
        faults: What goes wrong.
        curve: How members learn.
        chance: Where chance comes from.
        identity: Gives identities.
        checkpoints: What was published, by id.

    Attributes:
        last_result: When the last result was taken.
    """

    def __init__(
        self,
        queue: EventQueue,
        owner: SimulatedOwner,
        execute: Callable[..., tuple[Reply, ...] | None],
        complain: Callable[[str], None],
        *,
        metric: Metric,
        speeds: Speeds,
        faults: Faults,
        curve: DriftingCurve,
        chance: RandomStream,
        identity: Callable[[], str],
        checkpoints: dict[str, float],
    ) -> None:
        self.last_result = 0.0
        self._queue, self._owner, self._execute, self._complain = queue, owner, execute, complain
        self._happened = owner.happened
        self._metric, self._speeds, self._faults, self._curve = metric, speeds, faults, curve
        self._chance, self._identity, self._checkpoints = chance, identity, checkpoints
        self._workers: list[Worker] = []
        self._gone: set[str] = set()
        self._waking = self._looking = False
        self._network = Network(
            queue, owner, execute, self._answered, speeds=speeds, faults=faults, chance=chance, gone=self._gone
        )

    @property
    def utilisation(self) -> float:
        """Share of the workers' time that went into results that were taken."""
        there = sum(
            max(0.0, min(self.last_result, math.inf if worker.left is None else worker.left) - worker.joined)
            for worker in self._workers
        )
        return sum(worker.busy for worker in self._workers) / there if there else 0.0

    # --- coming and asking --------------------------------------------------------------------------------------

    def join(self) -> None:
        """Let one more worker come."""
        number, speeds = len(self._workers), self._speeds
        seconds = speeds.step * math.exp(speeds.spread * self._chance.normal() if speeds.spread else 0.0)
        if happens(speeds.straggler, self._chance):
            self._happened["stragglers"] += 1
            seconds *= speeds.slowness
        detached = happens(self._faults.detached, self._chance)
        worker = Worker(f"worker {number}", self._identity(), seconds, self._queue.now, detached=detached)
        self._workers.append(worker)
        self._ask(worker, joining=True)

    def _ask(self, worker: Worker, *said: Command, joining: bool = False) -> None:
        """Say something, and ask for a trial; a detached worker says each time who it is."""
        lease = self._faults.lease if worker.detached else None
        join = [Join(session=worker.session, worker=worker.name, lease_seconds=lease)] * (joining or worker.detached)
        self._network.request(
            worker,
            *said,
            *join,
            Ask(session=worker.session, in_memory=frozenset() if worker.memory is None else frozenset({worker.memory})),
        )

    def call_back(self) -> None:
        """Let those ask again who were told that there was nothing left."""
        for worker in self._workers:
            worker.idle, worker.finished = worker.idle or worker.finished, False
        self.wake()

    def wake(self) -> None:
        """Let those ask again, soon, who were told that there was nothing to run now."""
        if not self._waking:
            self._waking = True
            self._queue.after(self._speeds.latency, self._wake)

    def _wake(self) -> None:
        self._waking = False
        for worker in self._workers:
            if worker.idle and worker.left is None:
                worker.idle = False
                self._ask(worker)

    def _look_again(self) -> None:
        """Let one ask again for whom a deadline may have passed: of that, nobody is told."""
        if not self._looking and self._owner.state.deadlines and not self._owner.state.control.paused:
            self._looking = True
            self._queue.after(self._faults.lease / HEARTBEATS_PER_LEASE, self._look)

    def _look(self) -> None:
        self._looking = False
        idle = [worker for worker in self._workers if worker.idle and worker.left is None]
        if idle:
            idle[0].idle = False
            self._ask(idle[0])

    # --- training -----------------------------------------------------------------------------------------------

    def _begin(self, worker: Worker, grant: Grant) -> None:
        if worker.attempt is not None and worker.attempt.grant.lease == grant.lease:
            return
        loss = self._curve.start
        if grant.parent is not None:
            if grant.parent.id not in self._checkpoints:
                self._missing(worker, grant)
                return
            loss = self._checkpoints[grant.parent.id]
            if grant.parent.digest != f"loss:{loss!r}":
                self._complain(f"the checkpoint {grant.parent} of a parent holds {loss!r}")
        attempt = worker.attempt = attempt_at(
            grant,
            loss,
            worker,
            curve=self._curve,
            speeds=self._speeds,
            faults=self._faults,
            chance=self._chance,
        )
        session, chance = worker.session, self._chance
        self._queue.after(attempt.seconds, partial(self._ends, worker, session, attempt))
        if worker.detached:
            self._queue.after(
                self._faults.lease / HEARTBEATS_PER_LEASE, partial(self._renews, worker, session, attempt)
            )
            if happens(self._faults.cut, chance):
                self._queue.after(attempt.seconds * chance.random(), partial(self._cut, worker))
        elif happens(self._faults.lose or self._faults.pause, chance):
            self._queue.after(attempt.seconds * chance.random(), partial(self._beats, worker, session, attempt))

    def _missing(self, worker: Worker, grant: Grant) -> None:
        """A parent's checkpoint is gone, which is no wonder where the trial is another's by now."""
        lease = grant.lease
        opened = self._owner.state.open.get(lease.trial)
        if opened is not None and opened.lease == lease:
            self._complain(f"trial {lease.trial} is granted, but its parent's checkpoint is gone")
        worker.memory = None
        self._ask(worker, Fail(lease=lease, error="the parent's checkpoint is missing", cause="damaged"))

    def _runs(self, worker: Worker, session: str, attempt: Attempt) -> bool:
        return worker.session == session and worker.attempt is attempt and worker.left is None

    def _beats(self, worker: Worker, session: str, attempt: Attempt) -> None:
        if self._runs(worker, session, attempt):
            lease, step = attempt.grant.lease, attempt.grant.trial.start_step
            self._network.send(worker, None, (Heartbeat(lease=lease, step=step),))

    def _renews(self, worker: Worker, session: str, attempt: Attempt) -> None:
        """A detached worker says that it is alive, for as long as it trains."""
        if self._runs(worker, session, attempt) and not worker.asleep:
            self._beats(worker, session, attempt)
            self._queue.after(
                self._faults.lease / HEARTBEATS_PER_LEASE, partial(self._renews, worker, session, attempt)
            )

    def _cut(self, worker: Worker) -> None:
        self._happened["cuts"] += 1
        worker.cut = self._queue.now + 2 * self._faults.lease * self._chance.random()

    def _ends(self, worker: Worker, session: str, attempt: Attempt) -> None:
        """An attempt has come to its end, whatever that is."""
        if not self._runs(worker, session, attempt):
            return
        detection = self._faults.detection
        self._happened.update(crashed=attempt.fate == "crashes", slept=attempt.fate == "sleeps")
        if attempt.fate == "crashes":
            if not worker.detached:
                self._queue.after(detection, partial(self._leaves, worker.session))
            self._die(worker)
        elif attempt.fate == "sleeps" and worker.detached:
            worker.asleep = True
            seconds = 2 * self._faults.lease * self._chance.random()
            self._queue.after(seconds, partial(self._wakes, worker, session, attempt))
        elif attempt.fate == "sleeps":
            self._queue.after(detection, partial(self._leaves, worker.session))
            self._queue.after(
                detection * (1 + 3 * self._chance.random()), partial(self._late, worker, session, attempt)
            )
        else:
            self._tell(worker, attempt)

    def _wakes(self, worker: Worker, session: str, attempt: Attempt) -> None:
        worker.asleep = False
        if self._runs(worker, session, attempt):
            self._tell(worker, attempt)

    def _tell(self, worker: Worker, attempt: Attempt) -> None:
        said = self._said(attempt)
        worker.memory = attempt.grant.trial.number if isinstance(said, Tell) else None
        self._ask(worker, said)

    def _said(self, attempt: Attempt) -> Tell | Fail:
        said = attempt.result(self._metric.name, self._metric.mode, self._curve)
        if isinstance(said, Tell):
            score = None if said.partial else said.evaluations[0].value
            self._owner.ledger.reported[said.lease.token] = score
            self._owner.publish(attempt.grant.checkpoint, attempt.loss)
        self._happened.update(attempt.incidents())
        return said

    def _late(self, worker: Worker, session: str, attempt: Attempt) -> None:
        """A worker wakes that was taken for dead: its result must be refused."""
        if worker.session != session or worker.left is not None:
            return
        if self._queue.now < self._owner.asleep_until:
            self._queue.at(self._owner.asleep_until, partial(self._late, worker, session, attempt))
            return
        replies = self._execute(self._said(attempt))
        if session in self._gone and replies is not None:
            (reply,) = replies
            if not isinstance(reply, Refused) or reply.error != "LeaseLost":
                self._complain(f"a result that came too late for {attempt.grant.lease} was answered {reply}")
        if worker.left is None:
            self._renew(worker)

    # --- going --------------------------------------------------------------------------------------------------

    def _renew(self, worker: Worker) -> None:
        """Begin another session of a worker that lost its own."""
        worker.session, worker.attempt, worker.memory, worker.awaited = self._identity(), None, None, None
        self._ask(worker, joining=True)

    def _die(self, worker: Worker) -> None:
        """End a worker; another takes its place."""
        worker.left, worker.attempt, worker.awaited = self._queue.now, None, None
        self._queue.after(self._faults.detection * (1 + self._chance.random()), self.join)

    def _leaves(self, session: str) -> None:
        """The end of a session is seen."""
        if self._queue.now < self._owner.asleep_until:
            self._queue.at(self._owner.asleep_until, partial(self._leaves, session))
            return
        self._gone.add(session)
        if self._execute(Leave(session=session, lost=True, error="its worker died")) is None:
            self._queue.after(self._faults.again, partial(self._leaves, session))

    def orphaned(self, *, all_of_them: bool) -> None:
        """The owner died: of the workers that it can look at, all or some die with it.

        The others go on and find that their leases are void.
        """
        for worker in self._workers:
            if worker.left is None and not worker.detached and (all_of_them or self._chance.random() < 0.3):
                self._happened["orphaned"] += 1
                self._gone.add(worker.session)
                self._die(worker)

    # --- answers ------------------------------------------------------------------------------------------------

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
        if session in self._gone:
            self._renew(worker)
            return
        for command, reply in zip(commands, replies, strict=True):
            match command, reply:
                case Tell() | Fail(), _:
                    self._told(worker, command, reply)
                case Ask(), Granted():
                    self._begin(worker, reply.first)
                case Ask(), Wait() | Finished():
                    changed = seen != self._owner.changed
                    # what is finished is so for good, unless something came in between, or failures were the reason
                    worker.finished = isinstance(reply, Finished) and not reply.failed and not changed
                    worker.idle = not worker.finished
                    if changed:
                        self.wake()
                    elif isinstance(reply, Wait):
                        self._look_again()
                case Ask(), _:
                    self._complain(f"{worker.name} asked for a trial and was answered {reply}")
        self._come_and_go(worker, commands)

    def _told(self, worker: Worker, command: Tell | Fail, reply: Reply) -> None:
        attempt, worker.attempt = worker.attempt, None
        # what is handed back may be all that is left to train, since the budget was lowered: then it is trained on
        bounced = isinstance(command, Tell) and command.partial
        if isinstance(reply, Refused) and reply.error != "LeaseLost" and not bounced:
            self._complain(f"{command} was refused: {reply.message}")
        elif isinstance(command, Tell) and isinstance(reply, Done):
            self.last_result = self._queue.now
            worker.busy += 0.0 if attempt is None else attempt.seconds
        else:
            worker.memory = None

    def _heard(self, worker: Worker, command: Command, reply: Reply) -> None:
        """The answer to a heartbeat: who lost the lease stops, and asks for another trial."""
        attempt = worker.attempt
        if (
            not isinstance(command, Heartbeat)
            or attempt is None
            or attempt.grant.lease != command.lease
            or worker.asleep
        ):
            return
        if isinstance(reply, Refused) and worker.awaited is None and worker.session not in self._gone:
            worker.attempt = worker.memory = None
            self._ask(worker)

    def _come_and_go(self, worker: Worker, commands: tuple[Command, ...]) -> None:
        if not any(isinstance(command, Tell) for command in commands):
            return
        there = sum(other.left is None for other in self._workers)
        if there < _MOST_WORKERS and happens(self._faults.join, self._chance):
            self._happened["joined"] += 1
            self.join()
        elif there > 1 and happens(self._faults.leave, self._chance):
            self._happened["left"] += 1
            worker.left = self._queue.now
            if not worker.detached:
                self._queue.after(self._speeds.latency, partial(self._leaves, worker.session))
