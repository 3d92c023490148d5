"""The decisions of a fleet, given events and times; no process runs here."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from phyletic.errors import NotFound
from phyletic.records import Decision, Lease, Trial, TrialState
from phyletic.workers.attempt import PREEMPTED
from phyletic.workers.fleet import Fleet
from phyletic.workers.fleet_protocol import Announce, Answer, End, GiveUp, Kill, Outcome, Patience, Start, Starting

BADLY = End(epitaph="worker-0 (pid 10) was killed by signal 9 (SIGKILL)")


class Told:
    """A fleet with a clock that the test moves, and shortcuts for the events that it is told."""

    def __init__(self, places: int = 1, **patience: Any) -> None:
        self.now = 100.0
        self.fleet = Fleet(places, Patience(**patience), self.now)
        self.suspended: set[int] = set()
        self.incarnations = 0

    def after(self, seconds: float) -> list[Any]:
        """Let time pass in turns too short to count as a suspension of this process; return all instructions."""
        end = self.now + seconds
        told: list[Any] = []
        while self.now < end:
            self.now = min(end, self.now + 0.75)
            told += self.turn()
        return told

    def turn(self) -> list[Any]:
        return self.fleet.turn(self.now, self.suspended.__contains__)

    def start(self, place: int = 0) -> str:
        self.incarnations += 1
        session = f"{self.incarnations:032x}"
        join = Join(session=session, worker=f"worker-{place}", pid=10 + place)
        self.fleet.started(place, join, self.now)
        return session

    def say(self, *commands: Command, place: int = 0) -> None:
        self.fleet.said(place, commands, self.now)

    def decide(self, *replies: Reply) -> tuple[tuple[Command, ...], list[Any]]:
        """Return the commands that the fleet sends, and its instructions after the replies."""
        commands = self.fleet.commands(self.now)
        assert len(commands) == len(replies)
        return commands, self.fleet.decided(replies, self.now)

    def run_a_trial(self, session: str, place: int = 0, number: int = 3) -> Grant:
        granted = grant(session, number)
        self.say(Ask(session=session), place=place)
        reply = Granted(grants=(granted,))
        assert self.decide(reply)[1] == [Answer(place, (reply,))]
        return granted

    def end(self, end: End = BADLY, killed: str | None = None, place: int = 0) -> list[Any]:
        return self.fleet.ended(place, end, self.now, killed)


def grant(session: str, number: int = 3) -> Grant:
    trial = Trial(
        number=number, member=0, generation=0, parent=None, hyperparameters={}, start_step=0, steps=5, seed=0,
        state=TrialState.RUNNING, decision=Decision(kind="birth"),
    )  # fmt: skip
    return Grant(trial=trial, lease=Lease(trial=number, fence=1, token="t", session=session), checkpoint="c")


def tell(granted: Grant) -> Tell:
    return Tell(lease=granted.lease, evaluations=(), steps_done=5)


def lines(instructions: list[Any]) -> list[str]:
    return [one.text for one in instructions if isinstance(one, Announce)]


def reasons(instructions: list[Any]) -> list[str]:
    return [one.reason for one in instructions if isinstance(one, Kill)]


# --- starting and dying -----------------------------------------------------------------------------------------


def test_every_place_is_started_at_once() -> None:
    assert Told(3).turn() == [Start(0), Start(1), Start(2)]


def test_workers_are_starting_until_each_has_asked_for_a_trial() -> None:
    told = Told(2)
    assert told.fleet.starting(told.now) is None
    first, second = told.start(0), told.start(1)
    told.now += 8.0
    assert told.fleet.starting(told.now) == Starting(workers=2, ready=0, seconds=8.0)
    told.run_a_trial(first, 0)
    told.now += 1.0
    assert told.fleet.starting(told.now) == Starting(workers=2, ready=1, seconds=9.0)
    told.run_a_trial(second, 1, 4)
    assert told.fleet.starting(told.now) is None
    # the incarnation that follows a dead one starts anew
    told.end(place=1)
    told.start(1)
    told.now += 2.0
    assert told.fleet.starting(told.now) == Starting(workers=2, ready=1, seconds=2.0)
    told.fleet.interrupt("drained", told.now)
    assert told.fleet.starting(told.now) is None


def test_restarts_are_delayed_exponentially_up_to_a_limit() -> None:
    told = Told()
    for pause in [0.0, 0.2, 0.4, 0.8, 1.6, 3.2, *[5.0] * 6]:
        told.run_a_trial(told.start())
        assert told.end() == []
        told.decide(Done())
        died = told.now
        if pause:
            told.now = died + pause - 0.01
            assert told.turn() == []
        told.now = died + pause + 0.01
        assert told.turn() == [Start(0)]


def test_a_result_resets_the_count_of_restarts() -> None:
    told = Told()
    for _ in range(4):
        granted = told.run_a_trial(told.start())
        told.say(tell(granted))
        told.decide(Done())
        told.end()
        told.decide(Done())
        assert told.turn() == [Start(0)]


def test_workers_that_die_too_often_before_they_ask_are_not_started_again() -> None:
    told = Told(2, early_deaths=3)
    told.start(1)
    for _ in range(2):
        told.start()
        assert told.end() == []
    told.start()
    (line,) = lines(told.end())
    assert "That was 3 times in a row before it asked for a trial; it is not started again" in line
    assert Start(0) not in told.after(60)
    assert not told.fleet.over
    # the last place has no other worker to wait for
    assert told.end(place=1) == []
    assert told.fleet.failed_to_start(1, "worker-1 could not be started", told.now) == []
    (given_up,) = told.fleet.failed_to_start(1, "worker-1 could not be started", told.now)
    text = "worker-1 could not be started. That was 3 times in a row before it asked for a trial."
    assert given_up == GiveUp(1, f"no worker could begin: {text}")


def test_only_early_deaths_in_a_row_count() -> None:
    told = Told(early_deaths=3)
    for asked in (False, False, True, False, False):
        session = told.start()
        if asked:
            told.say(Ask(session=session))
            told.decide(Wait())
        assert told.end() == []
        told.decide(Done())
        told.now += 60
        assert told.turn() == [Start(0)]
    told.start()
    (given_up,) = told.end()
    assert "3 times in a row" in given_up.text


@pytest.mark.parametrize(
    ("kind", "killed", "holds", "lost"),
    [
        ("badly", None, True, True),
        ("well", None, False, True),
        ("badly", "trial 3 took too long", True, True),
        ("asked", None, True, False),
        ("distrusted", None, False, False),
        ("distrusted", None, True, True),
    ],
)
def test_which_worker_deaths_count_as_losses(kind: Any, killed: str | None, holds: bool, lost: bool) -> None:
    told = Told()
    session = told.start()
    granted = told.run_a_trial(session)
    if not holds:
        told.say(Fail(lease=granted.lease, error="x"))
        told.decide(Done())
    told.end(End(epitaph="gone", kind=kind), killed)
    assert told.decide(Done())[0] == (Leave(session=session, lost=lost, error=killed or "gone"),)
    assert told.fleet.outcome.lost == lost


def test_a_dead_workers_result_counts_but_its_request_for_a_trial_does_not() -> None:
    told = Told(2)
    first, other = told.start(0), told.start(1)
    granted = told.run_a_trial(first)
    told.say(tell(granted), Ask(session=first))
    told.say(Ask(session=other), place=1)
    told.end()
    commands, instructions = told.decide(Done(), Done(), Wait())
    assert [type(command) for command in commands] == [Tell, Leave, Ask]
    assert commands[2] == Ask(session=other)
    assert instructions == []


# --- time -------------------------------------------------------------------------------------------------------


def test_the_trial_timeout_counts_from_the_grant() -> None:
    told = Told(trial=50.0)
    session = told.start()
    assert reasons(told.after(200)) == []
    told.run_a_trial(session)
    assert reasons(told.after(50)) == []
    (reason,) = reasons(told.after(0.5))
    assert reason == "trial 3 took longer than trial_timeout=50 s on worker-0"


def test_a_silent_worker_is_killed_only_if_it_is_suspended() -> None:
    told = Told(suspended=10.0)
    told.run_a_trial(told.start())
    assert told.after(1000) == []
    told.say(Heartbeat(lease=grant("x").lease))
    told.decide(Done())
    told.suspended.add(0)
    assert told.after(10) == []
    assert reasons(told.after(0.5)) == ["worker-0 (pid 10) was suspended for more than 10 s"]


def test_a_worker_that_does_not_end_in_time_is_killed() -> None:
    told = Told(exit=30.0)
    session = told.start()
    told.say(Ask(session=session))
    told.decide(Finished("done"))
    assert told.after(30) == []
    instructions = told.after(0.5)
    assert reasons(instructions) == ["worker-0 (pid 10) had not ended 30 s after its last trial"]
    assert lines(instructions) == [f"{reasons(instructions)[0]}; it is killed"]
    told.end(killed="late")
    assert told.fleet.over
    assert told.fleet.outcome.finished == Finished("done")
    assert told.fleet.outcome.lost == 0


def test_a_worker_that_does_not_ask_is_reported_at_doubling_intervals() -> None:
    told = Told(start=60.0)
    session, began, announced = told.start(), told.now, []
    for _ in range(600):
        told.now += 1.0
        for line in lines(told.fleet.turn(told.now, lambda place: False)):
            announced.append(told.now - began)
            assert all(part in line for part in ("worker-0 (pid 10)", f"{announced[-1]:.0f} s"))
    assert announced == [61, 121, 241, 481]
    # after it has asked, a late answer is not its fault
    told.say(Ask(session=session))
    assert told.after(1000) == []


def test_a_worker_whose_machine_is_about_to_go_hands_back_and_its_place_goes_on_elsewhere() -> None:
    told = Told(2)
    leaving, staying = told.start(0), told.start(1)
    granted, other = told.run_a_trial(leaving, 0), told.run_a_trial(staying, 1, number=4)
    told.fleet.leaving(0)
    beats = [Heartbeat(lease=one.lease, step=1) for one in (granted, other)]
    for place, beat in enumerate(beats):
        told.say(beat, place=place)
    stop = Done(stop=PREEMPTED)
    assert told.decide(Done(), Done())[1] == [Answer(0, (stop,)), Answer(1, (Done(),))]
    # its next ask gets nothing, and does not end the run
    told.say(tell(granted), Ask(session=leaving), place=0)
    commands, instructions = told.decide(Done())
    assert commands == (tell(granted),)
    [answer] = instructions
    assert isinstance(answer.replies[1], Finished)
    assert told.end(End(epitaph="worker-0 ended", kind="well")) == []
    assert told.fleet.outcome == Outcome()
    told.now += 0.01
    assert told.turn() == [Start(0)]


def test_a_worker_that_dies_with_its_machine_as_announced_is_not_lost() -> None:
    told = Told()
    session = told.start()
    told.run_a_trial(session)
    told.fleet.leaving(0)
    told.end()
    commands, _ = told.decide(Done())
    assert commands == (Leave(session=session, lost=False, error=BADLY.epitaph),)
    assert told.fleet.outcome.lost == 0


def test_time_while_this_process_was_suspended_counts_against_no_worker() -> None:
    told = Told(trial=50.0, suspended=10.0)
    told.run_a_trial(told.start())
    told.suspended.add(0)
    told.now += 1000.0
    assert told.turn() == []
    assert reasons(told.after(10.5)) != []


# --- answers ----------------------------------------------------------------------------------------------------


def test_a_waiting_ask_is_repeated_after_a_change_or_after_a_while() -> None:
    told = Told(2, ask_again=0.5)
    first, other = told.start(0), told.start(1)
    granted = told.run_a_trial(first)
    told.say(Ask(session=other), place=1)
    assert told.decide(Wait())[1] == []
    # heartbeats change nothing
    told.say(Heartbeat(lease=granted.lease))
    commands, instructions = told.decide(Done())
    assert [type(command) for command in commands] == [Heartbeat]
    assert instructions == [Answer(0, (Done(),))]
    told.now += 0.5
    assert told.decide(Wait())[0] == (Ask(session=other),)
    told.say(tell(granted), Ask(session=first))
    commands, instructions = told.decide(Done(), grant(first, 4), grant(other, 5))
    assert [type(command) for command in commands] == [Tell, Ask, Ask]
    assert [one.place for one in instructions] == [0, 1]


def test_a_refused_ask_ends_the_run() -> None:
    told = Told()
    told.say(Ask(session=told.start()))
    with pytest.raises(NotFound, match="no such thing"):
        told.decide(Refused(error="NotFound", message="no such thing"))


# --- interrupts -------------------------------------------------------------------------------------------------


def test_draining_finishes_running_trials_and_starts_no_worker() -> None:
    told = Told(3)
    running, loading = told.start(0), told.start(1)
    granted = told.run_a_trial(running)
    assert lines(told.fleet.interrupt("drained", told.now)) == [
        "finishing 1 running trial; press Ctrl-C again to stop now"
    ]
    assert told.fleet.interrupt("drained", told.now) == []
    # a worker that still loads its data has no trial to finish, and place 2 stays empty
    assert [one.place for one in told.turn() if isinstance(one, Kill)] == [1]
    assert Start(2) not in told.turn()
    told.end(killed="loading", place=1)
    told.say(tell(granted), Ask(session=running))
    commands, instructions = told.decide(Done(), Done())
    assert [type(command) for command in commands] == [Tell, Leave]
    assert commands[1] == Leave(session=loading, lost=False, error="loading")
    assert instructions == [Answer(0, (Done(), Finished("the run was interrupted")))]
    assert not told.fleet.over
    told.end(End(epitaph="ended", kind="well"))
    told.decide(Done())
    assert told.fleet.over
    assert told.fleet.outcome.interrupted == "drained"
    assert told.fleet.outcome.finished is None


def test_termination_lets_trials_be_handed_back_within_the_grace() -> None:
    told = Told(hand_back=10.0)
    granted = told.run_a_trial(told.start())
    assert lines(told.fleet.interrupt("terminated", told.now, "SIGTERM")) == [
        "SIGTERM: 1 running trial to hand back within 10 s"
    ]
    told.say(Heartbeat(lease=granted.lease))
    assert told.decide(Done())[1] == [Answer(0, (Done(stop="preempted"),))]
    told.after(9.5)
    assert not told.fleet.over
    told.after(1)
    assert told.fleet.over
    assert told.fleet.leave_all() == (Leave(session=granted.lease.session, lost=False, error="the run was stopped"),)
    assert told.fleet.outcome.interrupted == "terminated"


def test_stopping_ends_the_run_at_once() -> None:
    told = Told(2)
    told.run_a_trial(told.start())
    told.fleet.interrupt("drained", told.now)
    told.fleet.interrupt("stopped", told.now)
    assert told.fleet.over
    assert told.fleet.outcome.interrupted == "stopped"


# --- a trial in flight beside another ---------------------------------------------------------------------------


def two_trials(told: Told, apart: float = 0.0) -> tuple[str, Grant, Grant]:
    """Have a worker train a trial, and then another one while it uploads the first."""
    session = told.start()
    first = told.run_a_trial(session, number=3)
    told.after(apart)
    second = grant(session, 4)
    told.say(Ask(session=session, slots=2))
    told.decide(Granted(grants=(first, second)))
    return session, first, second


def test_the_trial_timeout_counts_from_the_grant_of_each() -> None:
    told = Told(trial=50.0)
    _, first, _ = two_trials(told, apart=30.0)
    assert reasons(told.after(20)) == []
    (reason,) = reasons(told.after(0.5))
    assert reason == "trial 3 took longer than trial_timeout=50 s on worker-0"
    told.say(tell(first))
    told.decide(Done())
    assert reasons(told.after(29)) == []
    (reason,) = reasons(told.after(0.75))
    assert reason == "trial 4 took longer than trial_timeout=50 s on worker-0"


@pytest.mark.parametrize(("ends", "lost"), [(1, True), (2, False)])
def test_a_worker_that_no_longer_trusts_itself_is_lost_with_either_trial(ends: int, lost: bool) -> None:
    told = Told()
    session, first, second = two_trials(told)
    for granted in (second, first)[:ends]:
        told.say(tell(granted))
        told.decide(Done())
    told.end(End(epitaph="gone", kind="distrusted"))
    assert told.decide(Done())[0] == (Leave(session=session, lost=lost, error="gone"),)


def test_a_drained_worker_has_time_to_finish_its_upload() -> None:
    told = Told(exit=30.0)
    session, first, second = two_trials(told)
    assert lines(told.fleet.interrupt("drained", told.now)) == [
        "finishing 2 running trials; press Ctrl-C again to stop now"
    ]
    told.say(tell(first))
    told.decide(Done())
    told.say(Ask(session=session, slots=2))
    assert told.decide()[1] == [Answer(0, (Finished("the run was interrupted"),))]
    assert told.after(1000) == []
    told.say(tell(second))
    told.decide(Done())
    assert told.after(30) == []
    assert reasons(told.after(0.5)) == ["worker-0 (pid 10) had not ended 30 s after its last trial"]


# --- any order --------------------------------------------------------------------------------------------------


@given(data=st.data())
def test_whatever_happens_a_place_has_one_worker_and_every_session_leaves_once(data: st.DataObject) -> None:
    told = Told(3, early_deaths=100)
    living: dict[int, str] = {}
    pending: set[int] = set()
    joined, left = [], []
    for _ in range(data.draw(st.integers(1, 40))):
        told.now += data.draw(st.sampled_from([0.01, 0.3, 6.0]))
        for one in told.turn():
            if isinstance(one, Start):
                assert one.place not in living
                living[one.place] = told.start(one.place)
                joined.append(living[one.place])
        if living:
            place = data.draw(st.sampled_from(sorted(living)))
            what = data.draw(st.sampled_from(["ask", "die", "nothing"]))
            if what == "ask" and place not in pending:
                told.say(Ask(session=living[place]), place=place)
                pending.add(place)
            elif what == "die":
                told.end(place=place)
                del living[place]
                pending.discard(place)
        commands = told.fleet.commands(told.now)
        left += [command.session for command in commands if isinstance(command, Leave)]
        assert {command.session for command in commands if isinstance(command, Ask)} <= set(living.values())
        replies = [
            data.draw(st.sampled_from([Wait(), grant(command.session)])) if isinstance(command, Ask) else Done()
            for command in commands
        ]
        for one in told.fleet.decided(replies, told.now):
            assert isinstance(one, Answer)
            pending.remove(one.place)
        assert sorted(told.fleet.living) == sorted(living)
    left += [command.session for command in told.fleet.leave_all()]
    assert sorted(left) == sorted(joined)
