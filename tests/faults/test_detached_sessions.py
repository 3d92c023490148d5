"""Detached sessions: the owner cannot observe their processes, so leases have deadlines, and links may fail."""

import threading
import time

import pytest

import phyletic as ph
from phyletic.coordinator.messages import Ask, Fail, Granted, Heartbeat, Join, Leave, Tell, Wait
from phyletic.coordinator.owner_channel import OwnerChannel
from phyletic.errors import InvalidArgument, Unreachable
from phyletic.records import Evaluation
from phyletic.workers.detached import detached_source
from phyletic.workers.live_trial import attempt_of

LEASE = 0.4
NEAR = "2" * 32


class Link:
    """A link to the owner that can be cut: either no command arrives, or no answer comes back."""

    def __init__(self, owner, answers_only=False):
        self.channel = OwnerChannel(owner)
        self.cut = threading.Event()
        self.answers_only = answers_only
        self.said = []

    def exchange(self, commands, timeout=None):
        cut = self.cut.is_set()
        self.said += commands
        if cut and not self.answers_only:
            raise Unreachable("there is no route")
        replies = self.channel.exchange(commands)
        if cut:
            raise Unreachable("the answer was lost")
        return replies

    def wait(self, seconds):
        self.channel.wait(seconds)


def make(tmp_path, population=2, steps=12, **changes):
    return ph.Study(
        "far", space={"lr": ph.Float(1e-3, 1e-1)}, metric="score", mode="max", seed=0,
        algorithm=ph.PBT(population, 3), budget=ph.Budget(steps=steps), storage=tmp_path / "far.db", **changes,
    )  # fmt: skip


def build(trial):
    return {"weights": [0.0]}


def detached(study, link, lease_seconds=LEASE, worker="far"):
    return detached_source(link, store=study.checkpoints, space=study.space, worker=worker, lease_seconds=lease_seconds)


def given(replies):
    """Return the grants among some replies."""
    return [grant for reply in replies if isinstance(reply, Granted) for grant in reply.grants]


def near(study, *commands):
    """Execute commands as another session; return the last answer."""
    return study.owner.execute([Join(session=NEAR, worker="near"), *commands])[-1]


def tell(grant, score=1.0, checkpoint=None):
    end = grant.trial.start_step + grant.trial.steps
    evaluations = (Evaluation(end, "score", score),)
    return Tell(lease=grant.lease, evaluations=evaluations, steps_done=grant.trial.steps, checkpoint=checkpoint)


def until(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_worker_that_trains_for_longer_than_its_lease_keeps_its_trial(tmp_path):
    study = make(tmp_path)
    with study, detached(study, Link(study.owner)) as trials:
        for trial in trials.attach(build):
            trial["lr"]
            if trial.number == 0:
                # one long step without a sign of life from the training code, while other sessions keep asking
                other = near(study, Ask(session=NEAR)).first
                assert other.trial.number == 1
                for _ in range(30):
                    time.sleep(LEASE / 10)
                    assert isinstance(near(study, Ask(session="3" * 32)), Wait)
                near(study, Leave(session=NEAR, lost=False))
            trial.report(score=1.0)
    assert study.finished
    assert all(trial.losses == 0 and trial.attempts <= 2 for trial in study.trials())


@pytest.mark.parametrize("answers_only", [False, True])
def test_a_worker_that_cannot_renew_keeps_training_and_its_result_counts(tmp_path, answers_only):
    """No other session wanted the trial meanwhile: a passed deadline alone does not revoke a lease."""
    study = make(tmp_path)
    link = Link(study.owner, answers_only)
    with study, detached(study, link) as trials:
        for trial in trials.attach(build):
            trial.apply({"lr": 0.0})
            if trial.number == 1:
                link.cut.set()
                for _ in trial.range():
                    time.sleep(LEASE / 2)
                # the connection comes back only after the worker first sent the result
                threading.Timer(LEASE, link.cut.clear).start()
                trial.state.weights[0] = 7.0
            trial.report(score=float(trial.number))
    assert study.finished
    assert all((trial.attempts, trial.losses) == (1, 0) for trial in study.trials())
    tells = [command for command in link.said if isinstance(command, Tell) and command.lease.trial == 1]
    assert len(tells) > 1
    assert study.trial(1).score == 1.0


def test_a_silent_worker_loses_its_trial_but_not_its_process(tmp_path):
    """Another session got its trial: the owner refuses its messages, it drops the trial, and its loop goes on."""
    study = make(tmp_path)
    link = Link(study.owner)
    seen = {}
    with study, detached(study, link) as trials:
        for trial in trials.attach(build):
            trial["lr"]
            if not seen:
                link.cut.set()
                taken, end = [], time.monotonic() + 30
                while not any(grant.trial.number == trial.number for grant in taken):
                    assert time.monotonic() < end
                    # other workers keep asking, so that the owner is never idle
                    for place in range(3):
                        session = f"{place:032x}"
                        taken += given(
                            study.owner.execute([Join(session=session, worker="near"), Ask(session=session)])
                        )
                    time.sleep(LEASE / 10)
                again = next(g for g in taken if g.trial.number == trial.number)
                assert again.lease.fence == attempt_of(trial).grant.lease.fence + 1
                assert again.trial.losses == 1
                assert not trial.should_stop
                link.cut.clear()
                until(lambda trial=trial: trial.should_stop)
                # the owner refuses every message of a stale worker with the same error
                stale = attempt_of(trial).grant.lease
                told = tell(attempt_of(trial).grant, 99.0)
                for late in (Heartbeat(lease=stale), Fail(lease=stale, error="late"), told):
                    assert study.owner.execute([late])[0].error == "LeaseLost"
                seen = {"number": trial.number, "fence": again.lease.fence}
                trial.report(score=99.0)
                other = next(g for g in taken if g.trial.number != trial.number)
                for grant, score in ((again, 3.0), (other, 2.0)):
                    published = study.checkpoints.publish(grant.checkpoint, {"weights": [0.0]})
                    study.owner.execute([tell(grant, score, published)])
                for place in range(3):
                    study.owner.execute([Leave(session=f"{place:032x}", lost=False)])
            else:
                trial.report(score=1.0)
    assert study.finished
    first = study.trial(seen["number"])
    assert (first.score, first.attempts) == (3.0, seen["fence"])
    assert max(trial.score for trial in study.trials()) == 3.0


def test_a_stale_worker_that_is_saving_loses_its_trial_but_not_its_process(tmp_path):
    """Its checkpoint is deleted while it saves; the worker must not report a disk failure."""
    study = make(tmp_path, population=1, steps=3)
    link = Link(study.owner)

    def save(state, folder):
        (folder / "weights").write_text("0")
        link.cut.set()
        end = time.monotonic() + 30
        while not isinstance(answer := near(study, Ask(session=NEAR)), Granted):
            assert time.monotonic() < end
            time.sleep(LEASE / 10)
        near(study, tell(answer.first, 1.0))
        link.cut.clear()

    ended = False
    with study, detached(study, link) as trials:
        for trial in trials.attach(build, save=save, load=lambda state, folder: None):
            trial["lr"]
            trial.report(score=99.0)
        ended = True
    assert ended
    assert (study.trial(0).score, study.trial(0).attempts) == (1.0, 2)
    assert study.checkpoints.ids() == []


def test_a_checkpoint_published_after_its_lease_was_lost_is_deleted(tmp_path):
    study = make(tmp_path)
    with study:
        study.owner.execute([Join(session="1" * 32, worker="far", lease_seconds=LEASE)])
        first, second = study.owner.execute([Ask(session="1" * 32, slots=2)])[0].grants
        near(study, Leave(session="1" * 32))
        # neither worker knows yet
        told_late = study.checkpoints.publish(first.checkpoint, {"weights": [1.0]})
        reply = study.owner.execute([Tell(lease=first.lease, evaluations=(), steps_done=3, checkpoint=told_late)])[0]
        assert reply.error == "LeaseLost"
        assert study.checkpoints.ids() == []
    # a checkpoint that does not belong to this study stays
    for late in (second.checkpoint, "f" * 32):
        study.checkpoints.publish(late, {"weights": [1.0]})
    with make(tmp_path) as again:
        again.source()
        again.owner.begin()
        assert again.checkpoints.ids() == ["f" * 32]


def test_a_forgotten_session_may_come_back(tmp_path):
    study = make(tmp_path)
    with study:
        study.owner.execute([Join(session="1" * 32, worker="far", lease_seconds=0.05)])
        deadline = time.monotonic() + 10
        while "1" * 32 in study.owner.state.lease_seconds:
            assert time.monotonic() < deadline
            near(study, Ask(session=NEAR))
            time.sleep(0.005)
        for _ in range(2):
            join = Join(session="1" * 32, worker="far", lease_seconds=5.0)
            far = study.owner.execute([join, Ask(session="1" * 32)])[1]
            assert far.first.trial.number == 1
        assert study.owner.state.lease_seconds == {"1" * 32: 5.0}
        assert study.owner.state.workers["1" * 32] == "far"


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), float("inf"), "5", None, True])
def test_a_bad_lease_length_is_named(tmp_path, seconds):
    study = make(tmp_path)
    with pytest.raises(InvalidArgument, match="lease_seconds is"):  # noqa: SIM117
        with detached(study, Link(study.owner), lease_seconds=seconds):
            pass
