"""The workers of a simulated study: they join, ask, train, report, and fail in every way that faults allow."""

from __future__ import annotations

import math
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
from phyletic.simulate.network import Answer, Execute, Network
from phyletic.simulate.observer import Observer
from phyletic.simulate.worker import Attempt, Worker, draw_attempt, loss_digest
from phyletic.simulate.world import World

_MOST_WORKERS = 32
_DIE_WITH_OWNER = 0.3
"""Share of the attached workers that die with their owner's process."""


class Workforce:
    """All workers of one simulated study.

    Args:
        world: The world of the simulation.
        observer: The observer of the owner.
        execute: Lets the owner decide a batch.

    Attributes:
        last_result: The time at which the last result was accepted.
    """

    def __init__(self, world: World, observer: Observer, execute: Execute) -> None:
        self.last_result = 0.0
        self._world, self._observer, self._execute = world, observer, execute
        self._workers: list[Worker] = []
        self._gone: set[str] = set()
        self._waking = self._probing = False
        self._network = Network(world, observer, execute, self._answered, self._gone)

    @property
    def utilisation(self) -> float:
        """The share of the workers' time that went into accepted results."""
        present = sum(
            max(0.0, min(self.last_result, math.inf if worker.left is None else worker.left) - worker.joined)
            for worker in self._workers
        )
        return sum(worker.busy for worker in self._workers) / present if present else 0.0

    # --- joining and asking -------------------------------------------------------------------------------------

    def join(self) -> None:
        """Add a worker."""
        world, speeds = self._world, self._world.speeds
        seconds = speeds.step * math.exp(speeds.spread * world.chance.normal() if speeds.spread else 0.0)
        if world.happens(speeds.straggler):
            world.happened["stragglers"] += 1
            seconds *= speeds.slowness
        detached = world.happens(world.faults.detached)
        worker = Worker(f"worker {len(self._workers)}", world.identity(), seconds, world.now, detached)
        self._workers.append(worker)
        self._ask(worker, joining=True)

    def _ask(self, worker: Worker, *before: Command, joining: bool = False) -> None:
        """Ask for a trial, after other commands if any; a detached worker joins with each ask."""
        lease = self._world.faults.lease if worker.detached else None
        join = [Join(session=worker.session, worker=worker.name, lease_seconds=lease)] * (joining or worker.detached)
        memory = frozenset() if worker.memory is None else frozenset({worker.memory})
        self._network.request(worker, *before, *join, Ask(session=worker.session, in_memory=memory))

    def wake(self) -> None:
        """Have idle workers ask again soon."""
        if not self._waking:
            self._waking = True
            self._world.after(self._world.speeds.latency, self._wake)

    def _wake(self) -> None:
        self._waking = False
        for worker in self._idle():
            worker.idle = False
            self._ask(worker)

    def _idle(self) -> list[Worker]:
        return [worker for worker in self._workers if worker.idle and worker.left is None]

    def _plan_probe(self) -> None:
        """Have one idle worker ask again later: a deadline may have passed by then, which wakes no worker."""
        state = self._observer.state
        if not self._probing and state.deadlines and not state.control.paused:
            self._probing = True
            self._world.after(self._world.faults.lease / HEARTBEATS_PER_LEASE, self._probe)

    def _probe(self) -> None:
        self._probing = False
        for worker in self._idle()[:1]:
            worker.idle = False
            self._ask(worker)

    # --- training -----------------------------------------------------------------------------------------------

    def _start(self, worker: Worker, grant: Grant) -> None:
        """Start an attempt, unless the worker runs it already."""
        if worker.attempt is not None and worker.attempt.grant.lease == grant.lease:
            return
        world, loss = self._world, self._world.curve.start
        if grant.parent is not None:
            found = self._observer.blobs.loss(grant.parent.id)
            if found is None:
                self._fail_without_parent(worker, grant)
                return
            loss = found
            if grant.parent.digest != loss_digest(loss):
                world.violations.append(f"the checkpoint {grant.parent} of a parent holds {loss!r}")
        attempt = worker.attempt = draw_attempt(world, worker, grant, loss)
        world.after(attempt.seconds, partial(self._end, worker, worker.session, attempt))
        if worker.detached:
            self._plan_heartbeat(worker, attempt)
            if world.happens(world.faults.cut):
                world.after(attempt.seconds * world.chance.random(), partial(self._cut, worker))
        elif world.happens(world.faults.lose or world.faults.pause):
            seconds = attempt.seconds * world.chance.random()
            world.after(seconds, partial(self._send_heartbeat, worker, worker.session, attempt))

    def _fail_without_parent(self, worker: Worker, grant: Grant) -> None:
        """Fail an attempt whose parent's checkpoint is gone; the worker may have lost its lease already."""
        lease = grant.lease
        opened = self._observer.state.open.get(lease.trial)
        if opened is not None and opened.lease == lease:
            self._world.violations.append(f"trial {lease.trial} is granted, but its parent's checkpoint is gone")
        worker.memory = None
        self._ask(worker, Fail(lease=lease, error="the parent's checkpoint is missing", cause="damaged"))

    def _runs(self, worker: Worker, session: str, attempt: Attempt) -> bool:
        """Whether a worker still runs an attempt in the same session.

        Args:
            worker: The worker.
            session: Its session when the attempt began.
            attempt: The attempt.
        """
        return worker.session == session and worker.attempt is attempt and worker.left is None

    def _plan_heartbeat(self, worker: Worker, attempt: Attempt) -> None:
        seconds = self._world.faults.lease / HEARTBEATS_PER_LEASE
        self._world.after(seconds, partial(self._keep_lease, worker, worker.session, attempt))

    def _keep_lease(self, worker: Worker, session: str, attempt: Attempt) -> None:
        """Send the heartbeat of a detached worker, and plan the next, for as long as it trains.

        Args:
            worker: The worker.
            session: Its session when the attempt began.
            attempt: The attempt.
        """
        if self._runs(worker, session, attempt) and not worker.asleep:
            self._send_heartbeat(worker, session, attempt)
            self._plan_heartbeat(worker, attempt)

    def _send_heartbeat(self, worker: Worker, session: str, attempt: Attempt) -> None:
        """Send a heartbeat if the worker still runs the attempt.

        Args:
            worker: The worker.
            session: Its session when the attempt began.
            attempt: The attempt.
        """
        if self._runs(worker, session, attempt):
            heartbeat = Heartbeat(lease=attempt.grant.lease, step=attempt.grant.trial.start_step)
            self._network.send(worker, None, (heartbeat,))

    def _cut(self, worker: Worker) -> None:
        self._world.happened["cuts"] += 1
        worker.cut_until = self._world.now + 2 * self._world.faults.lease * self._world.chance.random()

    # --- the end of an attempt ----------------------------------------------------------------------------------

    def _end(self, worker: Worker, session: str, attempt: Attempt) -> None:
        """End an attempt as it was drawn.

        Args:
            worker: The worker.
            session: Its session when the attempt began.
            attempt: The attempt.
        """
        if not self._runs(worker, session, attempt):
            return
        world, faults = self._world, self._world.faults
        world.happened.update(crashed=attempt.fate == "crashes", slept=attempt.fate == "sleeps")
        if attempt.fate not in ("crashes", "sleeps"):
            self._report(worker, attempt)
            return
        if not worker.detached:
            world.after(faults.detection, partial(self._leave, session))
        if attempt.fate == "crashes":
            self._die(worker)
            return
        worker.asleep = True
        # an attached one until it is taken for dead, so that its result is refused
        share = world.chance.random()
        seconds = 2 * faults.lease * share if worker.detached else faults.detection * (1 + 3 * share)
        world.after(seconds, partial(self._wake_up, worker, session, attempt))

    def _wake_up(self, worker: Worker, session: str, attempt: Attempt) -> None:
        """Wake a suspended worker, which reports the attempt if it still runs it.

        Args:
            worker: The worker.
            session: Its session when the attempt began.
            attempt: The attempt.
        """
        worker.asleep = False
        if self._runs(worker, session, attempt):
            self._report(worker, attempt)

    def _report(self, worker: Worker, attempt: Attempt) -> None:
        result = self._result(attempt)
        worker.memory = attempt.grant.trial.number if isinstance(result, Tell) else None
        self._ask(worker, result)

    def _result(self, attempt: Attempt) -> Tell | Fail:
        """Publish the checkpoint of an attempt that has one; return what its worker reports."""
        result = attempt.result(self._world)
        if isinstance(result, Tell):
            score = None if result.partial else result.evaluations[0].value
            self._observer.ledger.reported[result.lease.token] = score
            self._observer.publish(attempt.grant.checkpoint, attempt.loss)
        self._world.happened.update(attempt.incidents())
        return result

    # --- leaving ------------------------------------------------------------------------------------------------

    def _join_again(self, worker: Worker) -> None:
        """Begin another session of a worker whose session has ended."""
        worker.session, worker.attempt, worker.memory, worker.awaited = self._world.identity(), None, None, None
        self._ask(worker, joining=True)

    def _die(self, worker: Worker) -> None:
        """End a worker, and have another take its place."""
        worker.left, worker.attempt, worker.awaited = self._world.now, None, None
        self._world.after(self._world.faults.detection * (1 + self._world.chance.random()), self.join)

    def _leave(self, session: str) -> None:
        """Tell the owner that the process of an attached session has ended."""
        world = self._world
        if world.now < self._observer.asleep_until:
            world.at(self._observer.asleep_until, partial(self._leave, session))
            return
        self._gone.add(session)
        if self._execute(Leave(session=session, lost=True, error="its worker died")) is None:
            world.after(world.faults.again, partial(self._leave, session))

    def orphan(self, *, all_attached: bool) -> None:
        """End attached workers with their owner: all of them, or some.

        The others go on, and learn that their leases are void.
        """
        for worker in self._workers:
            attached = worker.left is None and not worker.detached
            if attached and (all_attached or self._world.happens(_DIE_WITH_OWNER)):
                self._world.happened["orphaned"] += 1
                self._gone.add(worker.session)
                self._die(worker)

    # --- answers ------------------------------------------------------------------------------------------------

    def _answered(self, answer: Answer) -> None:
        worker = answer.worker
        if worker.session != answer.session or worker.left is not None:
            return
        if answer.request is None:
            self._heartbeat_answered(worker, answer.commands[0], answer.replies[0])
            return
        if answer.request != worker.awaited:
            return
        worker.awaited = None
        if worker.session in self._gone:
            self._join_again(worker)
            return
        for command, reply in zip(answer.commands, answer.replies, strict=True):
            match command, reply:
                case Tell() | Fail(), _:
                    self._result_answered(worker, command, reply)
                case Ask(), Granted():
                    self._start(worker, reply.first)
                case Ask(), Wait() | Finished():
                    worker.idle = True
                    # a later copy of the ask may have been granted a trial, which only its holder can find out
                    if answer.changed != self._observer.changed or worker.session in self._observer.state.sessions:
                        self.wake()
                    elif isinstance(reply, Wait):
                        self._plan_probe()
                case Ask(), _:
                    self._world.violations.append(f"{worker.name} asked for a trial and was answered {reply}")
        if any(isinstance(command, Tell) for command in answer.commands):
            self._change_workforce(worker)

    def _result_answered(self, worker: Worker, command: Tell | Fail, reply: Reply) -> None:
        """Handle the reply to a Tell or a Fail.

        Args:
            worker: The worker.
            command: Its command.
            reply: The reply to that command.
        """
        attempt, worker.attempt = worker.attempt, None
        # the budget may have been lowered so that what was handed back is all that was left: then it is trained on
        bounced = isinstance(command, Tell) and command.partial
        if isinstance(reply, Refused) and reply.error != "LeaseLost" and not bounced:
            self._world.violations.append(f"{command} was refused: {reply.message}")
        elif isinstance(command, Tell) and isinstance(reply, Done):
            self.last_result = self._world.now
            worker.busy += 0.0 if attempt is None else attempt.seconds
        else:
            worker.memory = None

    def _heartbeat_answered(self, worker: Worker, command: Command, reply: Reply) -> None:
        """Stop an attempt whose lease is lost, and ask for another trial.

        Args:
            worker: The worker.
            command: Its command.
            reply: The reply to that command.
        """
        attempt = worker.attempt
        if not isinstance(command, Heartbeat) or attempt is None or attempt.grant.lease != command.lease:
            return
        waits = worker.asleep or worker.awaited is not None or worker.session in self._gone
        if isinstance(reply, Refused) and not waits:
            worker.attempt = worker.memory = None
            self._ask(worker)

    def _change_workforce(self, worker: Worker) -> None:
        """After a result, perhaps let another worker join, or this one leave."""
        world = self._world
        present = sum(other.left is None for other in self._workers)
        if present < _MOST_WORKERS and world.happens(world.faults.join):
            world.happened["joined"] += 1
            self.join()
        elif present > 1 and world.happens(world.faults.leave):
            world.happened["left"] += 1
            worker.left = world.now
            if not worker.detached:
                world.after(world.speeds.latency, partial(self._leave, worker.session))
