"""Run a fleet: one loop without threads, which carries out what :class:`phyletic.workers.fleet.Fleet` decides.

The loop waits for requests and deaths of workers, has the coordinator decide all requests in one transaction, and
answers.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Sequence

from phyletic.coordinator.channel import Channel
from phyletic.coordinator.messages import Join, Refused
from phyletic.errors import PhyleticError, StudyFailed
from phyletic.workers.fleet import Fleet
from phyletic.workers.fleet_protocol import (
    Announce,
    Answer,
    Broke,
    Died,
    Event,
    GiveUp,
    Instruction,
    Kill,
    Leaving,
    Outcome,
    Processes,
    Said,
    Start,
    Starting,
)
from phyletic.workers.interrupts import Interrupts


class FleetRun:
    """A run of a fleet.

    Args:
        channel: Reaches the coordinator.
        processes: The workers' processes; the caller closes them.
        fleet: Decides.
        announce: Shows a line to the person at the terminal.
        check: Called after each exchange with the coordinator; what it raises ends the run.
        watch: Called in every turn of the loop, with the workers that are starting; None once all are ready.
        clock: Gives the fleet's time in seconds.
    """

    def __init__(
        self,
        channel: Channel,
        processes: Processes,
        fleet: Fleet,
        *,
        announce: Callable[[str], None],
        check: Callable[[], None] = lambda: None,
        watch: Callable[[Starting | None], None] = lambda starting: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._channel = channel
        self._processes = processes
        self._fleet = fleet
        self._announce = announce
        self._check = check
        self._watch = watch
        self._clock = clock
        self._broken: Refused | None = None

    def run(self, interrupts: Interrupts) -> Outcome:
        """Run the fleet until every place is over, then kill the workers that are left.

        Args:
            interrupts: Requests to end the run; this method enters it.

        Raises:
            StudyFailed: No worker could begin.
            PhyleticError: A worker met an error that a second try would meet again, or a command failed.
        """
        with interrupts:
            try:
                while not self._fleet.over:
                    self._heed(interrupts)
                    if not self._fleet.over:
                        self._turn()
            finally:
                self._kill_all()
        return self._fleet.outcome

    def _heed(self, interrupts: Interrupts) -> None:
        now = self._clock()
        if interrupts.terminated is not None:
            self._follow(self._fleet.interrupt("terminated", now, signal.Signals(interrupts.terminated).name))
        if interrupts.stopping:
            self._follow(self._fleet.interrupt("stopped", now))
        elif interrupts.draining and interrupts.terminated is None:
            self._follow(self._fleet.interrupt("drained", now))

    def _turn(self) -> None:
        self._follow(self._fleet.turn(self._clock(), self._processes.is_suspended))
        self._take(self._processes.poll(0.2))
        commands = self._fleet.commands(self._clock())
        replies = self._channel.exchange(commands) if commands else ()
        self._follow(self._fleet.decided(replies, self._clock()))
        self._watch(self._fleet.starting(self._clock()))
        self._check()
        if self._broken is not None:
            # only now, so that no result of the others is lost
            raise self._broken.exception()

    def _follow(self, instructions: Sequence[Instruction]) -> None:
        begun: dict[int, Join] = {}
        for instruction in instructions:
            match instruction:
                case Start(place):
                    self._start(place, begun)
                case Kill(place, reason):
                    self._end(place, reason)
                case Answer(place, replies):
                    self._processes.send(place, replies)
                case Announce(text, place):
                    self._announce(text if place is None else f"{text}: {self._processes.beginning(place)}")
                case GiveUp(place, text):
                    raise StudyFailed(f"{text}\n\n{self._processes.output_tail(place)}".rstrip())
        if begun:
            # record the processes before they begin, so that a later owner finds them
            for reply in self._channel.exchange(list(begun.values())):
                if isinstance(reply, Refused):
                    raise reply.exception()
            for place in begun:
                self._processes.begin(place)

    def _start(self, place: int, begun: dict[int, Join]) -> None:
        try:
            join = self._processes.start(place)
        except StudyFailed as error:
            self._follow(self._fleet.failed_to_start(place, str(error), self._clock()))
            return
        self._fleet.started(place, join, self._clock())
        begun[place] = join

    def _take(self, events: Sequence[Event]) -> None:
        now = self._clock()
        for event in events:
            match event:
                case Said(place, commands) if place in self._fleet.living:
                    self._fleet.said(place, commands, now)
                case Broke(_, error):
                    self._broken = error
                case Died(place) if place in self._fleet.living:
                    self._end(place, None)
                case Leaving(place) if place in self._fleet.living:
                    self._fleet.leaving(place)

    def _end(self, place: int, reason: str | None) -> None:
        said, end = self._processes.kill(place)
        self._take(said)
        self._follow(self._fleet.ended(place, end, self._clock(), reason))

    def _kill_all(self) -> None:
        """Kill the remaining workers, and release their trials, which counts against nothing."""
        for place in self._fleet.living:
            self._processes.kill(place)
        leaves = self._fleet.leave_all()
        try:
            if leaves:
                self._channel.exchange(leaves)
        except PhyleticError:
            # an error already on its way matters more; the next opening of the study ends the leases anyway
            if sys.exc_info()[1] is None:
                raise
