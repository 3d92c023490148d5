"""Decide what happens to a fleet of workers: which to start, answer, kill and give up.

A fleet has no process, no socket and no clock: it takes events and the time, and returns instructions. So a recorded
run can be replayed, and the same decisions serve every kind of worker (local processes, actors elsewhere).
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
from phyletic.workers.attempt import PREEMPTED
from phyletic.workers.fleet_protocol import (
    Announce,
    Answer,
    End,
    GiveUp,
    Instruction,
    Kill,
    Outcome,
    Patience,
    Start,
    Starting,
)

_LONGEST_PAUSE = 5.0
"""Seconds between two starts in a place, at most."""
_SUSPENDED_SECONDS = 1.0
"""A longer turn of the loop means that this process was suspended."""


@dataclass
class _Worker:
    """One incarnation of a worker; times are in seconds of the fleet's clock.

    Attributes:
        join: Its name, session and process.
        spoke: When it last sent a request.
        granted: When it got each trial that it holds, by number: the one it trains, and the one it uploads.
        asked: Whether it has ever asked for a trial.
        told: Whether it has ever told a result.
        commands: Its unanswered request, whose last command alone may be an ask; empty between requests.
        replies: The replies to that so far, in order.
        announced: How often a person was told that it has not asked for a trial yet.
        finished: When it was told to end because no trials are left; None before.
        leaving: Whether it should hand back its trial, because the machine under it is about to go.
    """

    join: Join
    spoke: float
    granted: dict[int, float] = field(default_factory=dict)
    asked: bool = False
    told: bool = False
    commands: tuple[Command, ...] = ()
    replies: list[Reply] = field(default_factory=list)
    announced: int = 0
    finished: float | None = None
    leaving: bool = False

    @property
    def ask(self) -> Ask | None:
        last = self.commands[-1] if self.commands else None
        return last if isinstance(last, Ask) else None

    @property
    def ready(self) -> bool:
        return self.asked or bool(self.commands)

    @property
    def name(self) -> str:
        return self.join.worker if self.join.pid is None else f"{self.join.worker} (pid {self.join.pid})"


@dataclass
class _Place:
    """A worker's place, in which its incarnations follow one another.

    Attributes:
        number: From 0.
        worker: The living incarnation; None if there is none.
        over: Whether no other incarnation follows.
        early: How many incarnations in a row died before they asked for a trial.
        restarts: How many starts in a row followed a death without a result.
        due: When the next incarnation starts.
    """

    number: int
    worker: _Worker | None = None
    over: bool = False
    early: int = 0
    restarts: int = 0
    due: float = 0.0


class Fleet:
    """The workers of a run, without their processes.

    Args:
        places: How many workers.
        patience: The times that the workers get.
        now: The time, in seconds of a clock that never runs backwards.
    """

    def __init__(self, places: int, patience: Patience, now: float) -> None:
        self._places = [_Place(number) for number in range(places)]
        self._patience = patience
        self._looked = now
        self._asked_at = now
        self._leaves: list[Leave] = []
        self._fresh: list[_Worker] = []
        self._sent: list[tuple[_Worker | None, Command]] = []
        self._stopping = False
        self._interrupted: Literal["", "drained", "stopped", "terminated"] = ""
        self._deadline: float | None = None
        self._finished: Finished | None = None
        self._lost = 0

    @property
    def over(self) -> bool:
        """Whether the run only has to kill the remaining workers."""
        return self._stopping or all(place.over for place in self._places)

    @property
    def outcome(self) -> Outcome:
        """How the run ended, or its state so far."""
        return Outcome(finished=self._finished, interrupted=self._interrupted, lost=self._lost)

    @property
    def living(self) -> list[int]:
        """The places that have a worker."""
        return [place.number for place in self._places if place.worker]

    def starting(self, now: float) -> Starting | None:
        """Return how far the workers are that were started; None once each has asked for a trial."""
        workers = self._workers
        begun = [worker.spoke for worker in workers if not worker.ready]
        if not begun or self._draining:
            return None
        return Starting(workers=len(workers), ready=len(workers) - len(begun), seconds=now - min(begun))

    @property
    def _workers(self) -> list[_Worker]:
        return [place.worker for place in self._places if place.worker]

    @property
    def _draining(self) -> bool:
        return self._interrupted != ""

    # Time passes

    def turn(self, now: float, is_suspended: Callable[[int], bool]) -> list[Instruction]:
        """Return the instructions that are due: workers to start, to kill and to announce.

        Args:
            now: The time.
            is_suspended: Whether a place's worker is suspended (SIGSTOP); called only for a silent worker.
        """
        missed, self._looked = now - self._looked, now
        if missed > _SUSPENDED_SECONDS:
            # this process was suspended (Ctrl-Z) and could not answer, so shift the workers' timers
            for worker in self._workers:
                worker.granted = {trial: granted + missed for trial, granted in worker.granted.items()}
                worker.spoke += missed
        if self._deadline is not None and now >= self._deadline:
            for place in self._places:
                place.over = True
        instructions: list[Instruction] = []
        for place in self._places:
            if place.worker is None:
                if not place.over and not self._draining and now >= place.due:
                    instructions.append(Start(place.number))
            elif reason := self._overdue(place, place.worker, now, is_suspended):
                if place.worker.finished is not None:
                    instructions.append(Announce(f"{reason}; it is killed"))
                instructions.append(Kill(place.number, reason))
            elif not place.worker.ready:
                instructions += self._slow_start(place.number, place.worker, now)
        return instructions

    def _overdue(self, place: _Place, worker: _Worker, now: float, is_suspended: Callable[[int], bool]) -> str | None:
        """Return the reason to kill a worker; None to let it live. Silence alone is no reason."""
        patience = self._patience
        if self._draining and not worker.asked:
            return f"{worker.name} had not asked for a trial when the run was interrupted"
        if worker.finished is not None and not worker.granted:
            if now - worker.finished > patience.exit:
                return f"{worker.name} had not ended {patience.exit:g} s after its last trial"
            return None
        for trial, granted in worker.granted.items():
            if patience.trial is not None and now - granted > patience.trial:
                return f"trial {trial} took longer than trial_timeout={patience.trial:g} s on {worker.join.worker}"
        if now - worker.spoke > patience.suspended and is_suspended(place.number):
            return f"{worker.name} was suspended for more than {patience.suspended:g} s"
        return None

    def _slow_start(self, place: int, worker: _Worker, now: float) -> list[Instruction]:
        """Announce a worker that has not asked for a trial yet. It holds no trial and delays no other, so it lives.

        Args:
            place: Its place.
            worker: The worker.
            now: The time.
        """
        waited = now - worker.spoke
        if waited <= self._patience.start * 2**worker.announced:
            return []
        worker.announced += 1
        return [Announce(f"{worker.name} has not asked for a trial in the {waited:.0f} s since it was started", place)]

    def interrupt(
        self, kind: Literal["drained", "stopped", "terminated"], now: float, by: str = ""
    ) -> list[Instruction]:
        """Follow a request to end the run, and announce it the first time.

        Args:
            kind: ``"drained"`` finishes the running trials, ``"terminated"`` asks the workers to hand them back,
                ``"stopped"`` drops them.
            now: The time.
            by: Name of the signal that made the request.
        """
        self._stopping = self._stopping or kind == "stopped"
        if self._interrupted in (kind, "terminated"):
            return []
        self._interrupted = kind
        for place in self._places:
            place.over = place.over or place.worker is None
        running = sum(len(worker.granted) for worker in self._workers)
        trials = f"{running} running trial" + ("" if running == 1 else "s")
        if kind == "terminated":
            self._deadline = now + self._patience.hand_back
            return [Announce(f"{by}: {trials} to hand back within {self._patience.hand_back:g} s")]
        return [Announce(f"finishing {trials}; press Ctrl-C again to stop now")] if kind == "drained" else []

    # Something happened to a worker

    def started(self, place: int, join: Join, now: float) -> None:
        """Note that a place has a worker.

        Args:
            place: The place.
            join: The worker's name, session and process.
            now: The time.
        """
        self._places[place].worker = _Worker(join, spoke=now)

    def leaving(self, place: int) -> None:
        """Have a place's worker hand back its trial and end, because the machine under it is about to go."""
        worker = self._places[place].worker
        assert worker is not None
        worker.leaving = True

    def failed_to_start(self, place: int, text: str, now: float) -> list[Instruction]:
        """Schedule another start after one that failed.

        Args:
            place: The place.
            text: Why it failed.
            now: The time.
        """
        return self._schedule(self._places[place], None, text, now)

    def said(self, place: int, commands: tuple[Command, ...], now: float) -> None:
        """Note a worker's request. The worker waits until all of it is answered.

        Args:
            place: The worker's place.
            commands: The request.
            now: The time.
        """
        worker = self._places[place].worker
        assert worker is not None
        worker.spoke, worker.commands, worker.replies = now, commands, []
        self._fresh.append(worker)

    def ended(self, place: int, end: End, now: float, killed: str | None = None) -> list[Instruction]:
        """Release what a dead worker held, and schedule its next incarnation if one follows.

        Args:
            place: Its place.
            end: How its process ended.
            now: The time.
            killed: Why this process killed it; None if it died by itself.
        """
        slot = self._places[place]
        worker, slot.worker = slot.worker, None
        assert worker is not None
        # a worker that a signal ended has handed back its trial: it may only hold a grant that it never saw
        unforced = end.kind == "asked" or worker.leaving or (end.kind == "distrusted" and not worker.granted)
        expected = self._draining or (worker.finished is not None and not worker.leaving)
        lost = not expected and (killed is not None or not unforced)
        self._leaves.append(Leave(session=worker.join.session, lost=lost, error=killed or end.epitaph))
        if expected:
            slot.over = True
            if end.kind != "well" and killed is None and not self._draining:
                return [Announce(f"after the last trial, {end.epitaph}")]
            return []
        self._lost += lost
        return self._schedule(slot, worker, end.epitaph, now)

    def _schedule(self, place: _Place, ended: _Worker | None, how: str, now: float) -> list[Instruction]:
        """Schedule a restart with exponential back-off, unless the place's workers die before they ask for a trial.

        Args:
            place: The place.
            ended: Its worker that ended; None if it could not start one.
            how: How that went, for a person.
            now: The time.
        """
        place.restarts = 1 if ended and ended.told else place.restarts + 1
        place.early = 0 if ended and ended.asked else place.early + 1
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
        """Return what to decide in one transaction: results first, then ends, then asks.

        A result that a worker told before it died counts, its ask does not. An ask that got no trial is repeated once
        something has changed, or after some time.
        """
        fresh, leaves, self._fresh, self._leaves = self._fresh, self._leaves, [], []
        said = [(worker, command) for worker in fresh for command in worker.commands if not isinstance(command, Ask)]
        changed = leaves or any(not isinstance(command, (Heartbeat, Ancestors)) for _, command in said)
        again = changed or self._draining or now - self._asked_at >= self._patience.ask_again
        if again:
            self._asked_at = now
        asking = [worker for worker in self._workers if again or worker in fresh]
        asks = [(worker, worker.ask) for worker in asking if worker.ask and not worker.leaving]
        self._sent = [*said, *((None, leave) for leave in leaves), *(asks if not self._draining else [])]
        return tuple(command for _, command in self._sent)

    def decided(self, replies: Sequence[Reply], now: float) -> list[Instruction]:
        """Take the replies to :meth:`commands`, and return the answers that are complete now.

        Args:
            replies: A reply for each of the commands.
            now: The time.

        Raises:
            PhyleticError: An ask was refused, for example because an algorithm raised.
        """
        for (worker, command), reply in zip(self._sent, replies, strict=True):
            if worker is not None:
                self._take_reply(worker, command, reply, now)
        answers: list[Instruction] = []
        for place in self._places:
            worker = place.worker
            if worker and worker.ask and (self._draining or worker.leaving):
                reason = "the run was interrupted" if self._draining else "its machine is about to go"
                self._take_reply(worker, worker.ask, Finished(reason), now)
            if worker and worker.commands and len(worker.replies) == len(worker.commands):
                answers.append(Answer(place.number, tuple(worker.replies)))
                worker.commands = ()
        return answers

    def _take_reply(self, worker: _Worker, command: Command, reply: Reply, now: float) -> None:
        """Note what a reply means for a worker, and keep it for the answer.

        Args:
            worker: The worker.
            command: Its command.
            reply: The reply to that command.
            now: The time.
        """
        worker.asked = worker.asked or isinstance(command, Ask)
        worker.told = worker.told or isinstance(command, Tell)
        match command, reply:
            case Ask(), Refused():
                raise reply.exception()
            case Ask(), Wait():
                return
            case Ask(), Granted():
                held = [grant.lease.trial for grant in reply.grants]
                worker.granted = {trial: worker.granted.get(trial, now) for trial in held}
            case Ask(), Finished():
                worker.finished = now
                if not (self._draining or worker.leaving):
                    self._finished = reply
            case ((Tell(lease=lease) | Fail(lease=lease)), _):
                worker.granted.pop(lease.trial, None)
                if worker.finished is not None:
                    worker.finished = now
            case Heartbeat(), Done() if self._interrupted == "terminated" or worker.leaving:
                reply = msgspec.structs.replace(reply, stop=PREEMPTED)
        worker.replies.append(reply)

    def leave_all(self) -> tuple[Command, ...]:
        """Return the commands that release what the remaining workers hold, after their processes were killed."""
        left = self._workers
        for place in self._places:
            place.worker = None
        return tuple(Leave(session=worker.join.session, lost=False, error="the run was stopped") for worker in left)
