"""What happens to a fleet of workers: which are started, answered, killed and given up.

Everything here is decided from what it is told (events) and when (the clock is an argument), and what it answers are
instructions for whoever has the processes: no process, no socket and no time of its own. So a run can be replayed
from what was said, and every kind of worker (local processes, actors elsewhere) is treated alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

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
from phyletic.records import Lease
from phyletic.workers.attempt import PREEMPTED
from phyletic.workers.fleet_protocol import Announce, Answer, End, GiveUp, Instruction, Kill, Outcome, Patience, Start

__all__ = ["Fleet"]

_LONGEST_PAUSE = 5.0
"""Seconds between two starts in a place, at most."""
_SUSPENDED_SECONDS = 1.0
"""A longer turn of the loop means that this process was suspended."""


@dataclass
class _Worker:
    """One incarnation of a worker; times are in seconds of the fleet's clock.

    Attributes:
        join: Its name, session and process.
        output: Says where its output is.
        words: When it last said something.
        lease: The attempt it runs; None while it runs none.
        granted: When that was granted.
        asked: Whether it has ever asked for a trial.
        commands: Its request that is not answered yet.
        replies: The replies to that, None for those still to come.
        told_of: How often it was announced that it has not asked for a trial yet.
        finished: When it was told that there is nothing to run any more.
    """

    join: Join
    output: str
    words: float
    lease: Lease | None = None
    granted: float = 0.0
    asked: bool = False
    commands: tuple[Command, ...] = ()
    replies: list[Reply | None] = field(default_factory=list)
    told_of: int = 0
    finished: float | None = None

    @property
    def name(self) -> str:
        return self.join.worker if self.join.pid is None else f"{self.join.worker} (pid {self.join.pid})"


@dataclass
class _Place:
    """A worker's place: its incarnations follow one another.

    Attributes:
        number: From 0.
        worker: The incarnation that lives.
        over: Whether no other one shall follow.
        early: How many in a row died before they asked for a trial.
        restarts: How many in a row died before they told a result.
        due: When the next one is to start.
    """

    number: int
    worker: _Worker | None = None
    over: bool = False
    early: int = 0
    restarts: int = 0
    due: float = 0.0


class Fleet:
    """The workers of a run, as far as decisions about them need it.

    Args:
        places: How many workers.
        patience: How long they have for what.
        now: The time, in seconds of a clock that never runs backwards.
    """

    def __init__(self, places: int, patience: Patience, now: float) -> None:
        self._places = [_Place(number) for number in range(places)]
        self._patience = patience
        self._looked = now
        self._asked_at = now
        self._leaves: list[Leave] = []
        self._fresh: list[_Worker] = []
        self._said: list[tuple[_Worker, int]] = []
        self._asks: list[tuple[_Worker, int]] = []
        self._stopping = False
        self._interrupted: Literal["", "drained", "stopped", "terminated"] = ""
        self._deadline: float | None = None
        self._finished: Finished | None = None
        self._lost = 0

    @property
    def over(self) -> bool:
        """Whether nothing is left to do but to kill the workers that are left."""
        return self._stopping or all(place.over for place in self._places)

    @property
    def outcome(self) -> Outcome:
        """How the run ended, as far as it has."""
        return Outcome(finished=self._finished, interrupted=self._interrupted, lost=self._lost)

    @property
    def living(self) -> list[int]:
        """The places that have a worker."""
        return [place.number for place in self._places if place.worker is not None]

    @property
    def _workers(self) -> list[_Worker]:
        return [place.worker for place in self._places if place.worker is not None]

    @property
    def _draining(self) -> bool:
        return self._interrupted != ""

    # Time passes

    def turn(self, now: float, is_suspended: Callable[[int], bool]) -> list[Instruction]:
        """Return what is due: workers to start, to kill and to announce.

        Args:
            now: The time.
            is_suspended: Whether a place's worker is suspended (SIGSTOP); asked only of one that is silent.
        """
        self._excuse(now)
        if self._deadline is not None and now >= self._deadline:
            for place in self._places:
                place.over = True
        instructions: list[Instruction] = []
        for place in self._places:
            worker = place.worker
            if worker is None:
                if not place.over and not self._draining and now >= place.due:
                    instructions.append(Start(place.number))
                continue
            reason = self._overdue(place, worker, now, is_suspended)
            if reason is not None:
                if worker.finished is not None:
                    instructions.append(Announce(f"{reason}; it is killed"))
                instructions.append(Kill(place.number, reason))
            elif not worker.asked and not worker.commands:
                instructions += self._slow_start(worker, now)
        return instructions

    def _excuse(self, now: float) -> None:
        """Shift the workers' timers by the time that this process was suspended (Ctrl-Z) and could not answer."""
        missed, self._looked = now - self._looked, now
        if missed > _SUSPENDED_SECONDS:
            for worker in self._workers:
                worker.granted += missed
                worker.words += missed

    def _overdue(self, place: _Place, worker: _Worker, now: float, is_suspended: Callable[[int], bool]) -> str | None:
        """Return why a worker is to be killed; None if it is not. Silence alone is no reason."""
        patience = self._patience
        if self._draining and not worker.asked:
            return f"{worker.name} had not asked for a trial when the run was interrupted"
        if worker.finished is not None:
            if now - worker.finished > patience.exit:
                return f"{worker.name} had not ended {patience.exit:g} s after its last trial"
            return None
        if worker.lease is not None and patience.trial is not None and now - worker.granted > patience.trial:
            name = worker.join.worker
            return f"trial {worker.lease.trial} took longer than trial_timeout={patience.trial:g} s on {name}"
        if now - worker.words > patience.suspended and is_suspended(place.number):
            return f"{worker.name} was suspended for more than {patience.suspended:g} s"
        return None

    def _slow_start(self, worker: _Worker, now: float) -> list[Instruction]:
        """Announce a worker that does not get as far as asking for a trial.

        It holds nothing, so nobody waits for it and it is not killed: loading data may take its time. But if all
        workers hang so, only a person can tell.
        """
        waited = now - worker.words
        if waited <= self._patience.start * 2**worker.told_of:
            return []
        worker.told_of += 1
        text = f"{worker.name} has not asked for a trial in the {waited:.0f} s since it was started"
        return [Announce(f"{text}: it still imports, loads its data, or hangs; {worker.output}")]

    def interrupt(
        self, kind: Literal["drained", "stopped", "terminated"], now: float, by: str = ""
    ) -> list[Instruction]:
        """Follow a request to end the run, and announce it the first time.

        Args:
            kind: ``"drained"`` finishes running trials, ``"terminated"`` has them handed back, ``"stopped"`` leaves.
            now: The time.
            by: Name of the signal that asked.
        """
        self._stopping = self._stopping or kind == "stopped"
        if self._interrupted in (kind, "terminated"):
            return []
        first, self._interrupted = not self._draining, kind
        for place in self._places:
            place.over = place.over or place.worker is None
        running = sum(worker.lease is not None for worker in self._workers)
        trials = f"{running} running trial" + ("" if running == 1 else "s")
        if kind == "terminated":
            self._deadline = now + self._patience.hand_back
            return [Announce(f"{by}: {trials} to hand back within {self._patience.hand_back:g} s")]
        return [Announce(f"finishing {trials}; press Ctrl-C again to stop now")] if first and kind == "drained" else []

    # Something happened to a worker

    def started(self, place: int, join: Join, output: str, now: float) -> None:
        """Note that a place has a worker.

        Args:
            place: The place.
            join: The worker's name, session and process.
            output: Says where its output is.
            now: The time.
        """
        self._places[place].worker = _Worker(join, output, words=now)

    def failed_to_start(self, place: int, text: str, now: float) -> list[Instruction]:
        """Schedule another start, with exponential back-off."""
        return self._schedule(self._places[place], text, False, now)

    def said(self, place: int, commands: tuple[Command, ...], now: float) -> None:
        """Note a worker's request; it waits until all of it is answered."""
        worker = self._places[place].worker
        assert worker is not None
        worker.words = now
        worker.commands, worker.replies = commands, [None] * len(commands)
        self._fresh.append(worker)

    def ended(self, place: int, end: End, now: float, killed: str | None = None) -> list[Instruction]:
        """Decide what follows on a worker's end: its session leaves, and another may follow.

        Args:
            place: Its place.
            end: How its process ended.
            now: The time.
            killed: Why it was killed; None if it died by itself.
        """
        slot = self._places[place]
        worker, slot.worker = slot.worker, None
        assert worker is not None
        # one that was asked to end has handed back what it ran: what it still holds is a grant that it never saw
        unforced = end.kind == "asked" or (end.kind == "distrusted" and worker.lease is None)
        expected = worker.finished is not None or self._draining
        lost = not expected and (killed is not None or not unforced)
        self._leaves.append(Leave(session=worker.join.session, lost=lost, error=killed or end.epitaph))
        if worker.finished is not None or self._draining:
            slot.over = True
            if worker.finished is not None and end.kind != "well" and killed is None and not self._draining:
                return [Announce(f"after the last trial, {end.epitaph}")]
            return []
        self._lost += lost
        return self._schedule(slot, end.epitaph, worker.asked, now)

    def _schedule(self, place: _Place, how: str, asked: bool, now: float) -> list[Instruction]:
        """Schedule a restart with exponential back-off, unless the place's workers die before they ask for a trial."""
        place.restarts += 1
        place.early = 0 if asked else place.early + 1
        place.due = now + (0.0 if place.restarts == 1 else min(_LONGEST_PAUSE, 0.05 * 2.0**place.restarts))
        if place.early < self._patience.early_deaths:
            return []
        place.over = True
        text = f"{how}. That was {place.early} times in a row before it asked for a trial"
        if self._finished is None and all(other.over for other in self._places):
            return [GiveUp(place.number, f"no worker could begin: {text}.")]
        return [Announce(f"{text}; it is not started again")]

    # Answers

    def commands(self, now: float) -> tuple[Command, ...]:
        """Return what to decide in one transaction: results first, then ends, then who gets a trial.

        What a worker told before it died counts, what it asked does not. A worker that asks for a trial while there is
        none is asked for again when something has changed, or after some time.
        """
        self._said = [
            (worker, position)
            for worker in self._fresh
            for position, command in enumerate(worker.commands)
            if not isinstance(command, Ask)
        ]
        said = [worker.commands[position] for worker, position in self._said]
        changed = self._leaves or any(not isinstance(command, (Heartbeat, Ancestors)) for command in said)
        again = changed or self._draining or now - self._asked_at >= self._patience.ask_again
        if again:
            self._asked_at = now
        self._asks = [
            (worker, position)
            for worker in self._workers
            if again or worker in self._fresh
            for position, command in enumerate(worker.commands)
            if isinstance(command, Ask)
        ]
        asked = () if self._draining else tuple(worker.commands[position] for worker, position in self._asks)
        self._fresh = []
        return (*said, *self._leaves, *asked)

    def decided(self, replies: Sequence[Reply], now: float) -> list[Instruction]:
        """Take the replies to :meth:`commands`, and return the answers that are complete now.

        Raises:
            PhyleticError: An ask was refused, for example because an algorithm raised.
        """
        for (worker, position), reply in zip(self._said, replies, strict=False):
            self._take_reply(worker, position, reply, now)
        to_asks = replies[len(self._said) + len(self._leaves) :]
        if self._draining:
            to_asks = [Finished("the run was interrupted")] * len(self._asks)
        for (worker, position), reply in zip(self._asks, to_asks, strict=True):
            self._take_reply(worker, position, reply, now)
        self._said, self._asks, self._leaves = [], [], []
        answers: list[Instruction] = []
        for place in self._places:
            if (living := place.worker) is not None and living.commands:
                complete = tuple(reply for reply in living.replies if reply is not None)
                if len(complete) == len(living.commands):
                    living.commands = ()
                    answers.append(Answer(place.number, complete))
        return answers

    def _take_reply(self, worker: _Worker, position: int, reply: Reply, now: float) -> None:
        """Note what a reply means for a worker, and keep it for its answer."""
        command = worker.commands[position]
        match command, reply:
            case Ask(), Refused():
                raise reply.exception()
            case Ask(), Wait():
                worker.asked = True
                return
            case Ask(), Granted():
                worker.asked = True
                worker.lease, worker.granted = reply.first.lease, now
            case Ask(), Finished():
                worker.asked = True
                worker.finished = now
                if not self._draining:
                    self._finished = reply
            case ((Tell() | Fail()), _):
                worker.lease = None
                if isinstance(command, Tell):
                    for place in self._places:
                        if place.worker is worker:
                            place.restarts = 0
            case Heartbeat(), Done() if self._interrupted == "terminated":
                reply = msgspec.structs.replace(reply, stop=PREEMPTED)
        worker.replies[position] = reply

    def leave_all(self) -> tuple[Command, ...]:
        """Return the commands that release what the remaining workers hold, once they were killed."""
        left = self._workers
        for place in self._places:
            place.worker = None
        return tuple(Leave(session=one.join.session, lost=False, error="the run was stopped") for one in left)
