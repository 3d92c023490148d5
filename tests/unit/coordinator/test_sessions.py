"""An attached session ends with its owner; a detached one keeps its trial until another session gets it."""

import itertools
from dataclasses import replace

import pytest

import phyletic as ph
from phyletic.coordinator.budget import failure_cap, target_reached
from phyletic.coordinator.coordinator import Coordinator
from phyletic.coordinator.messages import (
    Ask,
    Control,
    Done,
    Fail,
    Finished,
    Grant,
    Granted,
    Heartbeat,
    Join,
    Leave,
    Refused,
    Tell,
    Wait,
)
from phyletic.failpoints import armed
from phyletic.records import Evaluation, TrialState
from phyletic.storage import queries

S1, S2 = "1" * 32, "2" * 32


class Desk:
    """A coordinator under a clock that the test moves."""

    def __init__(self, tmp_path, budget=None, population=2, **options):
        self.study = ph.Study(
            "study", space={"lr": ph.Float(0, 1)}, metric="score", seed=0,
            algorithm=ph.PBT(population, 5), budget=budget or ph.Budget(steps=50), storage=tmp_path / "a.db",
            **{"mode": "max", **options},
        )  # fmt: skip
        self.now = 1000.0
        self.study.database.own()
        self.numbers = itertools.count()
        self.open()

    def open(self):
        self.coordinator = Coordinator(
            self.study.database,
            "study",
            space=self.study.space,
            algorithm=self.study.algorithm,
            identity=lambda: f"{next(self.numbers):032x}",
        )
        self.coordinator.begin(self.now)

    def say(self, *commands, after=0.0):
        self.now += after
        replies = self.coordinator.execute(commands, self.now).replies
        given = [reply.first if isinstance(reply, Granted) else reply for reply in replies]
        return given[0] if len(given) == 1 else given


def tell(grant, score=1.0):
    end = grant.trial.start_step + grant.trial.steps
    return Tell(lease=grant.lease, evaluations=(Evaluation(end, "score", score),), steps_done=grant.trial.steps)


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def test_a_silent_session_keeps_its_trial_until_another_gets_it(desk):
    desk.say(Join(session=S1, worker="far", lease_seconds=10.0))
    desk.say(Join(session=S2, worker="near", lease_seconds=10.0))
    first = desk.say(Ask(session=S1))
    other = desk.say(Ask(session=S2))
    assert (first.trial.number, other.trial.number) == (0, 1)
    for _ in range(5):
        desk.say(Heartbeat(lease=other.lease), after=2.4)  # so that the owner stays awake
    # 12 s of silence: past the deadline, but no other session has asked
    told = desk.say(tell(first, 3.0))
    assert told.trial.score == 3.0


def test_a_silent_session_loses_its_trial_to_the_next_session_that_asks(desk):
    desk.say(Join(session=S1, worker="far", lease_seconds=10.0))
    desk.say(Join(session=S2, worker="near", lease_seconds=10.0))
    first = desk.say(Ask(session=S1))
    other = desk.say(Ask(session=S2))
    for _ in range(5):
        desk.say(Heartbeat(lease=other.lease), after=2.4)
    desk.say(tell(other))
    again = desk.say(Ask(session=S2))
    assert again.trial.number == first.trial.number
    assert again.lease.fence == first.lease.fence + 1
    assert again.trial.losses == 1
    for late in (tell(first), Heartbeat(lease=first.lease), Fail(lease=first.lease, error="late")):
        refused = desk.say(late)
        assert isinstance(refused, Refused)
        assert refused.error == "LeaseLost"
    assert desk.say(tell(again, 7.0)).trial.score == 7.0


def test_each_command_of_a_session_renews_its_lease(desk):
    desk.say(Join(session=S1, worker="far", lease_seconds=10.0))
    first = desk.say(Ask(session=S1))
    for _ in range(12):
        assert isinstance(desk.say(Heartbeat(lease=first.lease), after=2.4), Done)
    desk.say(Join(session=S2, worker="near", lease_seconds=10.0))
    assert desk.say(Ask(session=S2)).trial.number == 1


def test_a_suspension_of_the_owner_postpones_deadlines(desk):
    desk.say(Join(session=S1, worker="far", lease_seconds=10.0))
    first = desk.say(Ask(session=S1))
    desk.say(Join(session=S2, worker="near", lease_seconds=10.0), after=3600.0)  # the laptop was closed
    assert desk.say(Ask(session=S2)).trial.number == 1
    assert isinstance(desk.say(Heartbeat(lease=first.lease)), Done)


def test_a_detached_session_outlives_its_owner_and_an_attached_one_does_not(desk):
    desk.say(Join(session=S1, worker="far", lease_seconds=10.0))
    far = desk.say(Ask(session=S1))
    near = desk.say(Ask(session=S2))
    desk.open()
    state = desk.coordinator.state
    assert state.open[far.trial.number].trial.state is TrialState.RUNNING
    assert state.open[near.trial.number].trial.state is TrialState.WAITING
    assert desk.say(tell(far, 5.0)).trial.score == 5.0
    refused = desk.say(tell(near))
    assert refused.error == "LeaseLost"
    # a trial that ended with its owner counts neither a failure nor a loss
    again = desk.say(Ask(session=S2))
    assert (again.trial.number, again.trial.failures, again.trial.losses) == (near.trial.number, 0, 0)


def test_sessions_that_ended_with_their_owner_are_listed_only_once(desk):
    desk.say(Join(session=S1, worker="far", lease_seconds=10.0))
    desk.say(Join(session=S2, worker="near", pid=4_000_000, created=1.0))
    looked_for = []

    def open_sessions():
        with desk.study.database.read() as connection:
            return [one.session for one in queries.open_sessions(connection, desk.coordinator.state.id)]

    for _ in range(2):
        looked_for.append(sorted(open_sessions()))
        desk.open()
    assert looked_for == [[S1, S2], [S1]]


def test_the_same_incarnation_gets_its_open_trial_again_and_a_new_one_another(desk):
    first = desk.say(Ask(session=S1))
    assert desk.say(Ask(session=S1)) == first
    other = desk.say(Ask(session=S2))
    assert other.trial.number != first.trial.number
    assert isinstance(desk.say(Ask(session="3" * 32)), Wait)


def test_a_session_that_leaves_loses_its_trials_to_the_next(desk):
    first = desk.say(Ask(session=S1))
    desk.say(Leave(session=S1, lost=True, error="killed by signal 9"))
    again = desk.say(Ask(session=S2))
    assert isinstance(again, Grant)
    assert (again.trial.number, again.trial.losses, again.trial.failures) == (first.trial.number, 1, 0)
    assert again.trial.error == "killed by signal 9"
    desk.say(Leave(session=S2, lost=False))
    released = desk.say(Ask(session=S1)).trial
    # a released trial counts no loss and keeps its earlier error
    assert (released.losses, released.error) == (1, "killed by signal 9")
    assert desk.study.trial(first.trial.number).error == "killed by signal 9"


def test_a_trial_lost_too_often_is_given_up_and_its_member_rescued(tmp_path):
    desk = Desk(tmp_path, population=2)
    healthy = desk.say(Ask(session=S1))
    desk.say(tell(healthy))
    lost = desk.say(Ask(session=S2))
    for _ in range(10):
        assert (lost.trial.member, lost.trial.number) == (1, 1)
        desk.say(Leave(session=S2, lost=True))
        last, lost = lost, desk.say(Ask(session=S2))
    failed = desk.study.trial(last.trial.number)
    assert (failed.state, failed.losses) == (TrialState.FAILED, 10)
    # the other member goes first until it shows that the code can complete a trial
    assert lost.trial.member == 0
    desk.say(tell(lost))
    rescue = desk.say(Ask(session=S2))
    assert (rescue.trial.member, rescue.trial.decision.kind) == (1, "rescue")
    assert rescue.trial.parent == lost.trial.number


def test_an_overdue_trial_does_not_hold_the_last_place_in_the_budget(tmp_path):
    desk = Desk(tmp_path, budget=ph.Budget(trials=1))
    desk.say(Join(session=S1, worker="far", lease_seconds=10.0))
    desk.say(Ask(session=S1))
    for _ in range(5):
        assert isinstance(desk.say(Ask(session=S2), after=2.4), Wait) or desk.now > 1010
    again = desk.say(Ask(session=S2), after=1.0)
    assert again.lease.fence == 2


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_a_bad_lease_length_is_refused(desk, seconds):
    refused = desk.say(Join(session=S1, worker="far", lease_seconds=seconds))
    assert refused.error == "InvalidArgument"
    assert "lease_seconds" in refused.message


def test_a_silent_session_still_expires_after_a_failed_write(desk):
    desk.say(Join(session=S1, worker="far", lease_seconds=10.0))
    desk.say(Join(session=S2, worker="near", pid=1, created=1.0))
    lost = desk.say(Ask(session=S1))

    def fail(name):
        if name == "storage.commit.before":
            raise OSError(28, "No space left on device")

    with armed(fail), pytest.raises(OSError, match="No space"):
        desk.say(Ask(session=S2))
    mine = desk.say(Ask(session=S2))
    assert mine.trial.worker == "near"
    desk.say(tell(mine))
    for beat in range(6):
        answer = desk.say(Ask(session=f"{9 + beat:032x}"), after=2.0)
    assert answer.trial.number == lost.trial.number
    assert desk.say(tell(lost)).error == "LeaseLost"


def test_a_silent_sessions_trial_beyond_a_lowered_budget_is_given_up(desk):
    for session in (S1, S2):
        desk.say(Join(session=session, worker=session[0], lease_seconds=10.0))
        desk.say(tell(desk.say(Ask(session=session))))
    silent, other = desk.say(Ask(session=S1)), desk.say(Ask(session=S2))
    assert (silent.trial.start_step, other.trial.start_step) == (5, 5)
    desk.say(Control(budget=ph.Budget(steps=5)))
    for _ in range(5):
        desk.say(Heartbeat(lease=other.lease), after=2.4)
    desk.say(tell(other))
    assert desk.say(Ask(session=S2)) == Finished("every member has trained 5 steps")
    assert desk.study.trial(silent.trial.number).state is TrialState.FAILED


def test_a_member_that_failed_for_good_gets_no_other_trial_while_others_run(tmp_path):
    desk = Desk(tmp_path, population=2, max_failures=1)
    running, failing = desk.say(Ask(session=S1)), desk.say(Ask(session=S2))
    desk.say(Fail(lease=failing.lease, error="cursed"))
    assert desk.study.trial(failing.trial.number).state is TrialState.FAILED
    assert isinstance(desk.say(Ask(session=S2)), Wait)
    desk.say(tell(running))
    rescue = desk.say(Ask(session=S1))
    assert (rescue.trial.member, rescue.trial.decision.kind) == (1, "rescue")


@pytest.mark.parametrize("completes", [True, False])
def test_failures_end_a_study_only_after_every_running_trial_has_ended(tmp_path, completes):
    desk = Desk(tmp_path, population=6, max_failures=1)
    running = desk.say(Ask(session=S1))
    for _ in range(5):
        desk.say(Fail(lease=desk.say(Ask(session=S2)).lease, error="cursed"))
    waits = desk.say(Ask(session=S2))
    assert isinstance(waits, Wait)
    assert "5 attempts failed" in waits.reason
    desk.say(tell(running) if completes else Fail(lease=running.lease, error="cursed"))
    answer = desk.say(Ask(session=S2))
    if completes:
        assert isinstance(answer, Grant)
    else:
        assert isinstance(answer, Finished)
        assert answer.failed


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf")])
def test_a_score_that_is_not_finite_reaches_no_target(tmp_path, score, mode):
    desk = Desk(tmp_path, budget=ph.Budget(steps=50, target=3.0), mode=mode)
    for reached, value in ((False, score), (True, 3.0)):
        told = desk.say(tell(desk.say(Ask(session=S1)), value))
        # not even if it were taken for the best trial
        assert target_reached(replace(desk.coordinator.state, best=(told.trial,))) is reached
        assert isinstance(desk.say(Ask(session=S1)), Finished) is reached


def test_results_in_a_batch_are_recorded_before_anything_is_decided(tmp_path):
    desk = Desk(tmp_path, population=1)
    first = desk.say(Ask(session=S1))
    granted, told = desk.say(Ask(session=S2), tell(first, 2.0))
    assert told.trial.score == 2.0
    assert granted.trial.parent == first.trial.number
    # the same holds for a failure: a session that asks earlier in the batch gets the failed trial
    again, _ = desk.say(Ask(session=S1), Fail(lease=granted.lease, error="broken"))
    assert (again.trial.number, again.trial.failures) == (granted.trial.number, 1)


def test_a_dead_owner_keeps_the_failure_count_and_a_stop_resets_it(tmp_path):
    """Training code that never works must stop the study, even if its machine is taken away again and again."""
    desk = Desk(tmp_path, max_failures=2)
    attempts = 0
    while isinstance(answer := desk.say(Ask(session=S1)), Grant):
        attempts += 1
        desk.say(Fail(lease=answer.lease, error="the training code raised"))
        # the owner dies after each failure except the last
        if attempts < failure_cap(desk.coordinator.state):
            desk.open()
    assert (type(answer), answer.failed) == (Finished, True)
    assert attempts == failure_cap(desk.coordinator.state)
    desk.open()
    assert isinstance(desk.say(Ask(session=S1)), Grant)
