"""After a member is taken out, the study neither waits for its trials nor continues from its lost checkpoints."""

import pytest

import phyletic as ph
from phyletic.coordinator.coordinator import Coordinator
from phyletic.coordinator.messages import Ask, Control, Fail, Finished, Grant, Granted, Join, Leave, Refused, Tell, Wait
from phyletic.records import CheckpointReference, Evaluation

SESSIONS = [f"{number:032x}" for number in range(4)]


class Desk:
    """A coordinator under a clock that the test moves, on a database in memory."""

    def __init__(self, steps=5):
        space = {"lr": ph.Float(0, 1)}
        self.study = ph.Study(
            "study",
            space=space,
            metric="score",
            mode="max",
            algorithm=ph.PBT(2, 5),
            budget=ph.Budget(steps=steps),
            seed=0,
        )
        self.now = 0.0
        self.open()

    def open(self):
        study = self.study
        self.coordinator = Coordinator(study.database, "study", space=study.space, algorithm=study.algorithm)
        self.coordinator.begin(self.now)

    def say(self, *commands):
        replies = self.coordinator.execute(commands, self.now).replies
        given = [reply.first if isinstance(reply, Granted) else reply for reply in replies]
        return given[0] if len(given) == 1 else given

    def tell(self, grant, score=1.0, steps=5, partial=False, times=1):
        command = Tell(
            lease=grant.lease,
            evaluations=() if partial else (Evaluation(grant.trial.start_step + steps, "score", score),),
            steps_done=steps,
            checkpoint=CheckpointReference(grant.checkpoint, "sha256:0", 1),
            partial=partial,
        )
        return self.say(*[command] * times)


def running_and_taken_out(desk, **joining):
    for session in SESSIONS[:2]:
        desk.say(Join(session=session, worker="w", **joining))
    first, second = desk.say(Ask(session=SESSIONS[0])), desk.say(Ask(session=SESSIONS[1]))
    desk.say(Control(population=1))
    desk.tell(first)
    assert isinstance(desk.say(Ask(session=SESSIONS[0])), Wait)
    return second


@pytest.mark.parametrize("end", ["fail", "leave", "crash", "silence"])
def test_a_study_ends_even_if_a_removed_member_never_completes(end):
    desk = Desk()
    grant = running_and_taken_out(desk, lease_seconds=10.0 if end == "silence" else None)
    if end == "fail":
        desk.say(Fail(lease=grant.lease, error="it broke"))
    elif end == "leave":
        desk.say(Leave(session=grant.lease.session))
    elif end == "crash":
        desk.open()
    else:
        for _ in range(12):
            desk.now += 1.0
            desk.say(Ask(session=SESSIONS[0]))
    assert isinstance(desk.say(Ask(session=SESSIONS[0])), Finished)


def test_a_member_brought_back_while_its_trial_runs_has_no_deleted_head():
    desk = Desk(steps=50)
    desk.tell(desk.say(Ask(session=SESSIONS[0])), 1.0)
    desk.tell(desk.say(Ask(session=SESSIONS[1])), 5.0)
    first, second = desk.say(Ask(session=SESSIONS[0])), desk.say(Ask(session=SESSIONS[1]))
    desk.tell(first, 2.0)
    desk.say(Control(population=1))
    desk.say(Control(population=2, keep_best=1))
    view = desk.coordinator.state.member(second.trial.member).view
    assert view.trial is None
    desk.open()
    assert desk.coordinator.state.member(second.trial.member).view.failed is False


def test_a_result_told_twice_in_one_batch_counts_once():
    desk = Desk()
    first, second = desk.tell(desk.say(Ask(session=SESSIONS[0])), times=2)
    assert first == second
    assert desk.coordinator.state.counters.completed == 1


def test_handing_back_a_complete_trial_is_refused_and_leaves_it_running():
    desk = Desk()
    grant = desk.say(Ask(session=SESSIONS[0]))
    refused = desk.tell(grant, partial=True)
    assert isinstance(refused, Refused)
    assert "partial is True" in refused.message
    assert desk.say(Ask(session=SESSIONS[0])) == grant


def test_a_member_keeps_the_head_that_it_may_donate_after_two_hand_backs():
    desk = Desk(steps=50)
    desk.tell(desk.say(Ask(session=SESSIONS[0])), 1.0)
    head = desk.coordinator.state.member(0).view.trial
    desk.tell(desk.say(Ask(session=SESSIONS[1])), 5.0)
    grants = [desk.say(Ask(session=session)) for session in SESSIONS[:2]]
    mine = next(grant for grant in grants if grant.trial.member == 0)
    desk.tell(mine, steps=1, partial=True)
    rest = desk.say(Ask(session=mine.lease.session))
    assert isinstance(rest, Grant)
    desk.tell(rest, steps=1, partial=True)
    assert desk.coordinator.state.member(0).view.trial == head
    assert head in desk.coordinator.state.member(0).kept


def test_among_equal_scores_the_later_trial_is_best_whatever_the_order():
    desk = Desk(steps=50)
    first, second = desk.say(Ask(session=SESSIONS[0])), desk.say(Ask(session=SESSIONS[1]))
    desk.tell(second, 1.0)
    desk.tell(first, 1.0)
    assert [trial.number for trial in desk.coordinator.state.best] == [1] == [desk.study.best.number]
