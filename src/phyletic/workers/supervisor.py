"""Local worker processes and their supervision: one loop, no threads.

The loop waits for what workers say and for their deaths, decides all that has arrived in one transaction, and answers.
A worker that asks for a trial while there is none is not answered until there is something to say.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from phyletic import errors
from phyletic.coordinator.messages import (
    Ancestors,
    Ask,
    Command,
    Done,
    Fail,
    Finished,
    Granted,
    Heartbeat,
    Join,
    Leave,
    Refused,
    Reply,
    Tell,
    Wait,
)
from phyletic.errors import StudyFailed
from phyletic.workers.interrupts import Interrupts
from phyletic.workers.lifeline import Lifeline
from phyletic.workers.local_worker import LocalWorker, Pending, log_tail
from phyletic.workers.process_tree import creation_time
from phyletic.workers.supervision import Outcome, Supervision, overdue, slow_start
from phyletic.workers.wire import DISTRUSTED, TERMINATED, Answers, Broken, Setup
from phyletic.workers.worker_place import Place

__all__ = ["Supervisor"]

_SUSPENDED_SECONDS = 1.0
"""A longer turn of the loop means that this process was suspended."""
_PIDFD = hasattr(os, "pidfd_open")


class Supervisor:
    """Starts workers, answers what they say, replaces those that die.

    Args:
        execute: Decides commands in one transaction and gives a reply for each.
        start: Starts the worker of a place, from 0.
        setup: What each worker is told first; its name and session are filled in.
        places: How many workers.
        supervision: How they are watched.
        announce: Takes a line for the person at the terminal.
        study: The study's uuid, by which a request to stop finds this run.
    """

    def __init__(
        self,
        execute: Callable[[Sequence[Command]], Sequence[Reply]],
        start: Callable[[int, Lifeline], LocalWorker],
        setup: Setup,
        *,
        places: int,
        supervision: Supervision,
        announce: Callable[[str], None],
        study: str = "",
    ) -> None:
        self._execute = execute
        self._start = start
        self._setup = setup
        self._places = [Place(number) for number in range(places)]
        self._supervision = supervision
        self._announce = announce
        self._interrupts = Interrupts(study)
        self._lifeline = Lifeline()
        self._selector = selectors.DefaultSelector()
        self._buried: list[LocalWorker] = []
        self._broken: Refused | None = None
        self._finished: Finished | None = None
        self._lost = 0
        self._asked_at = 0.0
        self._announced = False
        self._deadline: float | None = None
        self._looked = time.monotonic()

    def run(self) -> Outcome:
        """Supervise until every place is over."""
        with self._interrupts, contextlib.ExitStack() as stack:
            stack.callback(self._lifeline.close)
            stack.callback(self._selector.close)
            stack.callback(self._close_buried)
            stack.callback(self._kill_all)
            while not all(place.over for place in self._places):
                if self._interrupts.draining and self._drain():
                    break
                self._start_due()
                fresh = self._listen()
                self._excuse()
                leaves = self._bury_the_dead(fresh)
                self._answer(fresh, leaves)
                if self._broken is not None:
                    # only now, so that what the others told is not lost
                    raise self._broken.exception()
        return Outcome(finished=self._finished, interrupted=self._interrupted(), lost=self._lost)

    @property
    def _living(self) -> list[LocalWorker]:
        return [place.worker for place in self._places if place.worker is not None]

    # Beginning

    def _start_due(self) -> None:
        """Start workers in places that have none; they are recorded before they are told what to do."""
        now, begun = time.monotonic(), list[tuple[LocalWorker, Join]]()
        for place in self._places:
            if self._interrupts.draining or not place.vacant(now):
                continue
            try:
                worker = place.worker = self._start(place.number, self._lifeline)
            except StudyFailed as error:
                self._schedule(place, str(error), asked=False)
                continue
            created = creation_time(worker.pid)
            join = Join(session=worker.session, worker=worker.name, pid=worker.pid, created=created)
            begun.append((worker, join))
            self._selector.register(worker.connection, selectors.EVENT_READ, worker)
            for end in (worker.pidfd, worker.signals):
                if end is not None:
                    self._selector.register(end, selectors.EVENT_READ, worker)
        if not begun:
            return
        for reply in self._execute([join for _, join in begun]):
            if isinstance(reply, Refused):
                raise reply.exception()
        for worker, _ in begun:
            worker.connection.send(msgspec.structs.replace(self._setup, worker=worker.name, session=worker.session))
            self._watch(worker)

    # Listening

    def _watch(self, worker: LocalWorker) -> None:
        """Have the selector wait for what a worker's socket can do next."""
        socket = worker.connection
        watched = socket.fileno() in self._selector.get_map()
        if socket.ended:
            if watched:
                self._selector.unregister(socket)
            return
        self._selector.modify(socket, selectors.EVENT_READ | (selectors.EVENT_WRITE if socket.sending else 0), worker)

    def _listen(self) -> list[LocalWorker]:
        """Wait for messages, deaths or a short time; returns the workers that made a request."""
        fresh = []
        for worker in {key.data: None for key, _ in self._selector.select(0.2 if _PIDFD else 0.05)}:
            worker.connection.flush()
            if self._hear(worker):
                fresh.append(worker)
            if not worker.hear_signals():
                self._forget(worker.signals)
            self._watch(worker)
        return fresh

    def _hear(self, worker: LocalWorker) -> bool:
        """Take in what a worker says; returns whether it made a request."""
        try:
            messages = worker.connection.receive()
        except msgspec.DecodeError as error:
            self._announce(f"{worker.name} sent what is no message ({error}); it is killed")
            worker.kill()
            return False
        for message in messages:
            worker.heard = time.monotonic()
            if isinstance(message, Broken):
                self._broken = Refused(error=message.error, message=f"{worker.name}: {message.message}")
            else:
                worker.pending = Pending(message.commands, [None] * len(message.commands))
        return bool(messages)

    # Deaths

    def _excuse(self) -> None:
        """Count no time against workers during which this process was suspended (Ctrl-Z) and could not answer."""
        now = time.monotonic()
        missed, self._looked = now - self._looked, now
        if missed > _SUSPENDED_SECONDS:
            for worker in self._living:
                worker.granted += missed
                worker.heard += missed
                if worker.asked_to_end is not None:
                    worker.asked_to_end += missed

    def _bury_the_dead(self, fresh: list[LocalWorker]) -> list[Leave]:
        """End the sessions of workers that died, or that must die; what they told before counts."""
        leaves = []
        now = time.monotonic()
        for place in self._places:
            worker = place.worker
            if worker is None:
                continue
            reason = overdue(worker, self._supervision, now)
            if reason is None and not worker.died():
                if (told := slow_start(worker, self._supervision, now)) is not None:
                    self._announce(told)
                continue
            if reason is not None and (worker.finished is not None or worker.asked_to_end is not None):
                self._announce(f"{reason}; it is killed")
            self._remove(worker)
            worker.hear_signals()
            if self._hear(worker) and worker not in fresh:
                fresh.append(worker)
            leaves.append(self._leave(place, worker, reason))
        return leaves

    def _remove(self, worker: LocalWorker) -> None:
        """Kill a worker with its tree, and forget its process."""
        worker.kill()
        self._buried.append(worker)
        self._lifeline.release(worker.pid)
        for end in (worker.connection.fileno(), worker.pidfd, worker.signals):
            self._forget(end)

    def _forget(self, end: int | None) -> None:
        """Have the selector wait for a file descriptor no more."""
        if end is not None and end in self._selector.get_map():
            self._selector.unregister(end)

    def _leave(self, place: Place, worker: LocalWorker, reason: str | None) -> Leave:
        """Decide what follows on a worker's end."""
        status = worker.process.returncode
        place.worker = None
        expected = worker.finished is not None or worker.asked_to_end is not None or self._interrupts.draining
        # asked to end, it has handed back what it ran: what it still holds is a grant that it never saw
        unforced = status == TERMINATED or (status == DISTRUSTED and worker.lease is None)
        lost = not expected and (reason is not None or not unforced)
        if worker.finished is not None:
            place.over = True
            if status != 0 and reason is None and not self._interrupts.draining:
                self._announce(f"after the last trial, {worker.epitaph()}")
        elif self._interrupts.draining:
            place.over = True
        else:
            self._lost += lost
            self._schedule(place, worker.epitaph(), asked=worker.asked, log=worker.log)
        return Leave(session=worker.session, lost=lost, error=reason or worker.epitaph())

    def _schedule(self, place: Place, how: str, *, asked: bool, log: Path | None = None) -> None:
        """Have a place's next worker started, unless its workers die before they are of any use."""
        if place.again(time.monotonic(), asked=asked, early_deaths=self._supervision.early_deaths):
            return
        text = f"{how}. That was {place.early} times in a row before it asked for a trial"
        if all(other.over for other in self._places) and self._finished is None:
            raise StudyFailed(f"no worker could begin: {text}." + ("" if log is None else f"\n\n{log_tail(log)}"))
        self._announce(f"{text}; it is not started again")

    # Answering

    def _answer(self, fresh: list[LocalWorker], leaves: list[Leave]) -> None:
        """Decide all that arrived in one transaction: results first, then ends, then who gets a trial."""
        said: list[tuple[LocalWorker, int]] = []
        asks: list[tuple[LocalWorker, int]] = []
        for worker in fresh:
            if worker.pending is not None:
                for position, command in enumerate(worker.pending.commands):
                    if not isinstance(command, Ask):
                        said.append((worker, position))
        changed = bool(leaves) or any(not isinstance(_command(*one), (Heartbeat, Ancestors)) for one in said)
        now = time.monotonic()
        again = changed or now - self._asked_at >= self._supervision.ask_again or self._interrupts.draining
        for worker in self._living:
            if worker.pending is not None and (again or worker in fresh):
                asks += [(worker, position) for position in _asks(worker.pending)]
        if again:
            self._asked_at = now
        if self._interrupts.draining:
            for worker, position in asks:
                self._take(worker, position, Finished("the run was interrupted"))
            asks = []
        commands = [*(_command(*one) for one in said), *leaves, *(_command(*one) for one in asks)]
        if commands:
            replies = self._execute(commands)
            for (worker, position), reply in zip(said, replies[: len(said)], strict=True):
                self._take(worker, position, reply)
            for (worker, position), reply in zip(asks, replies[len(said) + len(leaves) :], strict=True):
                self._take(worker, position, reply)
        for worker in self._living:
            self._send(worker)
        self._close_buried()

    def _close_buried(self) -> None:
        """Close the sockets of workers that died: all that they had said is decided."""
        for worker in self._buried:
            worker.close()
        self._buried.clear()

    def _take(self, worker: LocalWorker, position: int, reply: Reply) -> None:
        """Note what a reply means for a worker, and keep it for its answer."""
        assert worker.pending is not None
        command = worker.pending.commands[position]
        place = next((place for place in self._places if place.worker is worker), None)
        match command, reply:
            case Ask(), Wait():
                worker.asked = True
                return
            case Ask(), Refused():
                raise reply.exception()
            case Ask(), Granted():
                worker.asked = True
                worker.lease, worker.granted = reply.grants[0].lease, time.monotonic()
            case Ask(), Finished():
                worker.asked = True
                worker.finished = time.monotonic()
                if not self._interrupts.draining:
                    self._finished = reply
            case ((Tell() | Fail()), _):
                worker.lease = None
                if place is not None and isinstance(command, Tell):
                    place.restarts = 0
            case Heartbeat(), Done() if self._interrupts.terminated is not None:
                reply = msgspec.structs.replace(reply, stop="preempted")
        worker.pending.replies[position] = reply

    def _send(self, worker: LocalWorker) -> None:
        if worker.pending is None or any(reply is None for reply in worker.pending.replies):
            return
        replies = tuple(reply for reply in worker.pending.replies if reply is not None)
        worker.pending = None
        worker.connection.send(Answers(replies))
        self._watch(worker)

    # Ending

    def _drain(self) -> bool:
        """Follow an interrupt; returns whether all is to be stopped now."""
        now = time.monotonic()
        running = sum(worker.lease is not None for worker in self._living)
        if self._interrupts.terminated is not None and self._deadline is None:
            self._deadline = now + self._supervision.grace
            name = signal.Signals(self._interrupts.terminated).name
            self._announce(f"{name}: {_trials(running)} to hand back within {self._supervision.grace:g} s")
        elif not self._announced and self._deadline is None:
            self._announce(f"finishing {_trials(running)}; press Ctrl-C again to stop now")
        self._announced = True
        for place in self._places:
            place.over = place.over or place.worker is None
            if place.worker is not None and not place.worker.asked:
                # still importing or loading its data: there is nothing of it to finish
                place.worker.kill()
        return self._interrupts.stopping or (self._deadline is not None and now >= self._deadline)

    def _kill_all(self) -> None:
        """Kill the workers that are left; their trials are released, and count against nothing."""
        left = self._living
        for worker in left:
            self._remove(worker)
        for place in self._places:
            place.worker = None
        if not left:
            return
        leaves = [Leave(session=worker.session, lost=False, error="the run was stopped") for worker in left]
        try:
            self._execute(leaves)
        except errors.PhyleticError:
            # on its way is what made this necessary; leases end anyway with the next opening of the study
            if sys.exc_info()[1] is None:
                raise

    def _interrupted(self) -> Literal["", "drained", "stopped", "terminated"]:
        if self._interrupts.terminated is not None:
            return "terminated"
        if self._interrupts.stopping:
            return "stopped"
        return "drained" if self._interrupts.draining else ""


def _command(worker: LocalWorker, position: int) -> Command:
    assert worker.pending is not None
    return worker.pending.commands[position]


def _asks(pending: Pending) -> list[int]:
    return [
        position
        for position, command in enumerate(pending.commands)
        if isinstance(command, Ask) and pending.replies[position] is None
    ]


def _trials(count: int) -> str:
    return f"{count} running trial" + ("" if count == 1 else "s")
