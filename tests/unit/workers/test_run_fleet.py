"""The loop of a fleet carries out decisions in an order that loses nothing; the processes here are fake."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from phyletic.coordinator.messages import Ask, Command, Done, Finished, Join, Leave, Refused, Reply, Wait
from phyletic.errors import MetricMissing, StorageBusy, StudyFailed
from phyletic.workers.fleet import Fleet
from phyletic.workers.fleet_protocol import Broke, Died, End, Event, Outcome, Patience, Said
from phyletic.workers.interrupts import Interrupts
from phyletic.workers.run_fleet import FleetRun


class Script:
    """Fake processes, channel and clock that record every call in order."""

    def __init__(self, *turns: Callable[[], Sequence[Event]], answer: Callable[[Command], Reply]) -> None:
        self.now = 0.0
        self.notes: list[Any] = []
        self._turns = list(turns)
        self._answer = answer

    def run(self, places: int = 1, interrupts: Interrupts | None = None, **patience: Any) -> Outcome:
        fleet = Fleet(places, Patience(**patience), self.now)
        run = FleetRun(self, self, fleet, announce=self.notes.append, clock=lambda: self.now)  # type: ignore[arg-type]
        return run.run(interrupts or Interrupts())

    # a channel

    def exchange(self, commands: Sequence[Command], timeout: float | None = None) -> tuple[Reply, ...]:
        self.notes.append([type(command).__name__ for command in commands])
        return tuple(map(self._answer, commands))

    # processes

    def start(self, place: int) -> Join:
        self.notes.append(f"start {place}")
        return Join(session=session_of(place), worker=f"worker-{place}")

    def begin(self, place: int) -> None:
        self.notes.append(f"begin {place}")

    def poll(self, seconds: float) -> Sequence[Event]:
        self.now += 0.2
        return self._turns.pop(0)() if self._turns else ()

    def send(self, place: int, replies: tuple[Reply, ...]) -> None:
        self.notes.append(f"send {place}")

    def kill(self, place: int) -> tuple[Sequence[Event], End]:
        self.notes.append(f"kill {place}")
        return (), End(epitaph=f"worker-{place} died", kind="well")

    def is_suspended(self, place: int) -> bool:
        return False

    def output(self, place: int) -> str:
        return "its output is nowhere"

    def output_tail(self, place: int) -> str:
        return "Traceback: no such data"


def session_of(place: int) -> str:
    return f"{place:032x}"


def ask(place: int) -> Callable[[], Sequence[Event]]:
    return lambda: [Said(place, (Ask(session=session_of(place)),))]


def died(place: int) -> Callable[[], Sequence[Event]]:
    return lambda: [Died(place)]


def finished(command: Command) -> Reply:
    return Finished("done") if isinstance(command, Ask) else Done()


def waiting(command: Command) -> Reply:
    return Wait() if isinstance(command, Ask) else Done()


def test_a_worker_is_recorded_before_it_begins_and_leaves_after_it_died() -> None:
    script = Script(ask(0), died(0), answer=finished)
    assert script.run() == Outcome(finished=Finished("done"), interrupted="", lost=0)
    assert script.notes == ["start 0", ["Join"], "begin 0", ["Ask"], "send 0", "kill 0", ["Leave"]]


def test_a_worker_whose_record_was_refused_never_begins() -> None:
    script = Script(answer=lambda command: Refused(error="StorageBusy", message="locked"))
    with pytest.raises(StorageBusy, match="locked"):
        script.run()
    assert script.notes == ["start 0", ["Join"], "kill 0", ["Leave"]]


def test_messages_of_other_workers_are_handled_before_an_error_ends_the_run() -> None:
    error = Refused(error="MetricMissing", message="worker-0: no score")
    both = [Broke(0, error), Said(1, (Ask(session=session_of(1)),))]
    script = Script(lambda: both, answer=waiting)
    with pytest.raises(MetricMissing, match="no score"):
        script.run(2)
    assert script.notes[-4:] == [["Ask"], "kill 0", "kill 1", ["Leave", "Leave"]]


def test_workers_that_cannot_begin_end_the_run_with_their_output() -> None:
    nothing: Callable[[], Sequence[Event]] = tuple
    # the third start is due a little later
    script = Script(died(0), died(0), nothing, nothing, died(0), answer=waiting)
    with pytest.raises(StudyFailed, match=r"worker-0 died\. That was 3 times in a row(.|\n)*Traceback: no such data"):
        script.run()


def test_an_immediate_stop_kills_workers_and_releases_their_trials() -> None:
    left = []

    def answer(command: Command) -> Reply:
        left.extend([command] if isinstance(command, Leave) else [])
        return waiting(command)

    def stop() -> Sequence[Event]:
        assert Interrupts.request("study", now=True)
        return ()

    script = Script(ask(0), stop, answer=answer)
    assert script.run(interrupts=Interrupts("study")).interrupted == "stopped"
    assert left == [Leave(session=session_of(0), lost=False, error="the run was stopped")]
    assert script.notes[-2:] == ["kill 0", ["Leave"]]


def test_a_failing_leave_does_not_hide_the_first_error() -> None:
    def answer(command: Command) -> Reply:
        raise StorageBusy("locked" if isinstance(command, Join) else "still locked")

    with pytest.raises(StorageBusy, match=r"^locked"):
        Script(answer=answer).run()
