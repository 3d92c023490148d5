"""A result has one effect, however often and from however many threads it is told; another result is a conflict."""

import math
import shutil
import threading

import msgspec
import pytest

import phyletic as ph
from phyletic import errors
from phyletic.coordinator.coordinator import Coordinator
from phyletic.coordinator.messages import Ask, Done, Granted, Refused, Tell
from phyletic.records import CheckpointReference, Evaluation, Timings, TrialState
from phyletic.workers.live_trial import attempt_of

SESSION = "1" * 32


def make(storage=None):
    return ph.Study(
        "study",
        space={"lr": ph.Float(0, 1)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(2, 5),
        budget=ph.Budget(steps=50),
        storage=storage,
        seed=0,
    )


@pytest.fixture
def say():
    study = make()
    coordinator = Coordinator(study.database, "study", space=study.space, algorithm=study.algorithm)
    coordinator.begin(0.0)

    def say(command):
        (reply,) = coordinator.execute([command], 0.0).replies
        return reply.first if isinstance(reply, Granted) else reply

    yield say
    study.close()


def result(grant, score=math.nan):
    return Tell(
        lease=grant.lease,
        evaluations=(Evaluation(5, "score", score),),
        steps_done=5,
        checkpoint=CheckpointReference(grant.checkpoint, "sha256:0", 1),
        applied={"lr": 0.5},
    )


def test_a_repeated_result_may_differ_in_its_timings(say):
    told = result(say(Ask(session=SESSION)))
    first = say(told)
    again = say(msgspec.structs.replace(told, timings=Timings(waiting=3.0, saving=1.0)))
    assert isinstance(again, Done)
    assert repr(again) == repr(first)


@pytest.mark.parametrize(
    "other",
    [
        {"evaluations": (Evaluation(5, "score", 0.0),)},
        {"evaluations": (Evaluation(4, "score", math.nan),)},
        {"evaluations": (Evaluation(5, "score", math.nan, "progress"),)},
        {"steps_done": 4},
        {"checkpoint": None},
        {"checkpoint": CheckpointReference("f" * 32, "sha256:1", 1)},
        {"partial": True},
        {"applied": {"lr": 0.25}},
        {"applied": {}},
    ],
)
def test_a_result_that_differs_in_anything_else_is_a_conflict(say, other):
    told = result(say(Ask(session=SESSION)))
    first = say(told)
    refused = say(msgspec.structs.replace(told, **other))
    assert isinstance(refused, Refused)
    assert refused.error == "TellConflict"
    assert repr(say(told)) == repr(first)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("steps_done", {"steps_done": 0}),
        ("steps_done", {"steps_done": -1}),
        ("steps_done", {"steps_done": 2**53}),
        ("checkpoint", {"checkpoint": CheckpointReference("f" * 32, "sha256:0", 1)}),
    ],
)
def test_an_impossible_result_is_refused_and_the_attempt_goes_on(say, name, other):
    """A sender on the wire may not have checked anything."""
    told = result(say(Ask(session=SESSION)), 0.5)
    refused = say(msgspec.structs.replace(told, **other))
    assert isinstance(refused, Refused)
    assert refused.error == "InvalidArgument"
    assert name in refused.message
    done = say(told)
    assert isinstance(done, Done)
    assert (done.trial.steps_done, done.trial.checkpoint) == (5, told.checkpoint)


@pytest.mark.parametrize("score", [0.5, math.nan])
def test_the_same_result_from_five_threads_at_once_has_one_effect(tmp_path, score):
    study = make(tmp_path / "a.db")
    for _ in range(8):
        trial = study.ask()
        together, replies = threading.Barrier(5), []

        def tell(command, together=together, replies=replies):
            together.wait()
            replies.append(study.owner.execute([command])[0])

        checkpoint = study.checkpoints.publish(attempt_of(trial).grant.checkpoint, {"w": [score]})
        command = Tell(
            lease=attempt_of(trial).grant.lease,
            evaluations=(Evaluation(trial.start_step + trial.steps, "score", score),),
            steps_done=trial.steps,
            checkpoint=checkpoint,
        )
        before = study.owner.state.counters
        threads = [threading.Thread(target=tell, args=(command,)) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(replies) == 5
        assert len({repr(reply) for reply in replies}) == 1
        assert isinstance(replies[0], Done)
        after = study.owner.state.counters
        assert after.completed == before.completed + 1
        assert after.member_steps == before.member_steps + trial.steps
        # one transaction wrote; the other four changed nothing
        assert after.sequence == before.sequence + 1
        assert len(study.evaluations(trial)) == 1
        assert study.trial(trial.number).state is TrialState.COMPLETED
    study.close()


def test_a_grant_of_another_copy_of_the_database_writes_nothing(tmp_path):
    """The fence alone does not identify the holder: both copies count on from the same stored fence."""
    make(tmp_path / "a.db").close()
    shutil.copyfile(tmp_path / "a.db", tmp_path / "older.db")
    study, older = (ph.Study("study", storage=tmp_path / name) for name in ("a.db", "older.db"))
    mine, other = study.ask(), older.ask()
    assert mine.number == other.number
    assert attempt_of(mine).grant.lease.fence == attempt_of(other).grant.lease.fence
    for late in (study.heartbeat, lambda trial: study.tell(trial, score=9.0), lambda trial: study.fail(trial, "late")):
        with pytest.raises(errors.LeaseLost):
            late(other)
    told = study.tell(mine, score=1.0)
    # nor is it mistaken for a repetition of the first result
    with pytest.raises(errors.LeaseLost):
        study.tell(other, score=1.0)
    assert study.trial(mine.number) == told
    study.close()
    older.close()
