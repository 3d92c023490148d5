"""A trial that saves within itself goes on from its latest save when it is tried again."""

import os
import signal

import pytest

import phyletic as ph
from phyletic.coordinator.messages import Fail
from phyletic.errors import InvalidArgument
from phyletic.records import TrialState
from phyletic.workers.live_trial import attempt_of


def make(folder, save_every=None, steps=1000, population=1, **options):
    return ph.Study(
        "study", space={"lr": ph.Float(0.1, 1.0)}, metric="score", mode="max", seed=0, storage=folder / "study.db",
        algorithm=ph.PBT(population, interval=steps, save_every=save_every), budget=ph.Budget(steps=2 * steps),
        **options,
    )  # fmt: skip


def build(trial):
    return {"count": [0], "rates": [[]]}


def counting(folder, die_at=None, how="kill", save_at=()):
    """Return training code that notes each step, and ends its first attempt in some way at a step."""

    def train(trials):
        for trial in trials.attach(build):
            for step in trial.range():
                with (folder / "steps").open("a") as file:
                    file.write(f"{trial.number} {step}\n")
                trial.state.count[0] += 1
                if step + 1 - trial.start_step in save_at:
                    trial.save()
                if step == die_at and trial.number == 0 and trial.record.attempts == 1:
                    if how == "kill":
                        os.kill(os.getpid(), signal.SIGKILL)
                    raise RuntimeError("once")
            trial.state.rates[0].append(trial["lr"])
            trial.report(score=float(trial.state.count[0]))

    return train


def steps_of(folder, number=0):
    lines = (line.split() for line in (folder / "steps").read_text().splitlines())
    return [int(step) for trial, step in lines if int(trial) == number]


def test_a_worker_killed_at_step_950_trains_at_most_100_steps_again(tmp_path):
    study = make(tmp_path, save_every=100)
    study.run(counting(tmp_path, die_at=950), workers=1, verbose=0)
    assert study.finished
    assert steps_of(tmp_path) == [*range(951), *range(900, 1000)]
    first, second = study.trials()
    assert (first.score, first.attempts, first.losses, first.steps_done) == (1000.0, 2, 1, 1000)
    assert second.score == 2000.0
    assert first.saved is None
    # only the checkpoints of the trials are left
    study.close()
    left = {path.name for path in (tmp_path / "study.checkpoints").iterdir()}
    assert left == {study.checkpoint_path(number).name for number in (0, 1)}


def test_an_exception_goes_on_from_a_save_that_the_body_made(tmp_path):
    study = make(tmp_path, steps=10)
    with pytest.raises(RuntimeError, match="once"):
        study.run(counting(tmp_path, die_at=7, how="raise", save_at=(3, 6)), workers=0, verbose=0)
    waiting = study.trial(0)
    assert (waiting.state, waiting.saved.step, waiting.saved.count) == (TrialState.WAITING, 6, 2)
    study.close()  # the save outlives its owner
    study = make(tmp_path, steps=10)
    study.run(counting(tmp_path), workers=0, verbose=0)
    assert steps_of(tmp_path) == [*range(8), *range(6, 10)]
    assert [trial.score for trial in study.trials()] == [10.0, 20.0]
    assert study.trial(0).hyperparameters == waiting.hyperparameters
    assert [trial.decision.kind for trial in study.trials()] == ["birth", "continue"]


def test_a_damaged_save_begins_the_trial_anew(tmp_path):
    study = make(tmp_path, steps=10)
    with pytest.raises(RuntimeError, match="once"):
        study.run(counting(tmp_path, die_at=7, how="raise", save_at=(6,)), workers=0, verbose=0)
    (saved,) = (tmp_path / "study.checkpoints").iterdir()
    content = bytearray(saved.read_bytes())
    content[-1] ^= 1
    saved.write_bytes(content)
    study.run(counting(tmp_path), workers=0, verbose=0)
    assert steps_of(tmp_path) == [*range(8), *range(10)]
    assert study.best.score == 20.0
    assert study.trial(0).failures == 1


def test_without_a_fault_saving_changes_nothing(tmp_path):
    plain, saving = make(tmp_path / "plain", steps=20, population=3), make(tmp_path / "saving", 5, 20, 3)
    for study, folder in ((plain, tmp_path / "plain"), (saving, tmp_path / "saving")):
        study.run(counting(folder), workers=0, verbose=0)
    assert [(one.score, one.parent, one.hyperparameters) for one in plain.trials()] == [
        (one.score, one.parent, one.hyperparameters) for one in saving.trials()
    ]
    assert len(list((tmp_path / "saving" / "study.checkpoints").iterdir())) == len(
        list((tmp_path / "plain" / "study.checkpoints").iterdir())
    )


def test_a_trial_that_was_given_up_leaves_no_save(tmp_path):
    study = make(tmp_path, steps=10, max_failures=1)
    with pytest.raises(RuntimeError):
        study.run(counting(tmp_path, die_at=7, how="raise", save_at=(6,)), workers=0, verbose=0)
    assert study.trial(0).state is TrialState.FAILED
    assert study.trial(0).saved is None
    assert list((tmp_path / "study.checkpoints").iterdir()) == []


def test_a_save_needs_a_loop_with_build_and_an_open_body(tmp_path):
    study, kept = make(tmp_path, steps=2), []
    with pytest.raises(InvalidArgument, match=r"trial\.save"):
        study.ask().save()
    study.close()

    def keeping(trials):
        for trial in trials.attach(build):
            kept.append(trial)
            trial["lr"]
            trial.report(score=1.0)

    study.run(keeping, workers=0, verbose=0)
    with pytest.raises(InvalidArgument, match=r"trial\.save"):
        kept[0].save()
    for wrong in (0, -1, 1.5, True):
        with pytest.raises(InvalidArgument, match="save_every"):
            ph.PBT(2, 10, save_every=wrong)


def test_a_retry_keeps_the_latest_reports_from_before_its_save(tmp_path):
    def train(trials):
        for trial in trials.attach(build):
            for step in trial.range():
                if step % 10 == 3:
                    trial.report(score=1.0)
                if step == 7 and trial.number == 0 and trial.record.attempts == 1:
                    raise RuntimeError("once")
            trial["lr"]
            trial.report(other=2.0)

    study = make(tmp_path, save_every=5, steps=10)
    with pytest.raises(RuntimeError, match="once"):
        study.run(train, workers=0, verbose=0)
    study.run(train, workers=0, verbose=0)
    assert study.trial(0).metrics == {"score": 1.0, "other": 2.0}
    assert [(one.step, one.kind) for one in study.reports()[0]] == [(3, "progress"), (10, "final")]


@pytest.mark.parametrize("told", [0, 1])
def test_bytes_of_a_save_that_was_published_and_not_told_are_deleted(tmp_path, told):
    def train(trials):
        for trial in trials.attach(build):
            for step in trial.range():
                if step == 3 and trial.record.attempts == 1 and trial.number == 0:
                    attempt = attempt_of(trial)
                    for _ in range(told):
                        attempt.save()
                    trials._client.exchange = lambda commands: os.kill(os.getpid(), signal.SIGKILL)
                    attempt.save()
            trial["lr"]
            trial.report(score=1.0)

    study = make(tmp_path, steps=10)
    study.run(train, workers=1, verbose=0)
    assert study.trial(0).losses == 1
    study.close()
    left = {path.name for path in (tmp_path / "study.checkpoints").iterdir()}
    assert left == {study.checkpoint_path(number).name for number in (0, 1)}


def test_a_study_is_deleted_with_a_save_that_was_not_told(tmp_path):
    def train(trials):
        for trial in trials.attach(build):
            for _ in trial.range():
                attempt_of(trial).save()
                trials._client.exchange = lambda commands: os._exit(1)
                attempt_of(trial).save()

    process = os.fork()
    if not process:
        make(tmp_path, steps=10).run(train, workers=0, verbose=0)
    os.waitpid(process, 0)
    assert len(list((tmp_path / "study.checkpoints").iterdir())) == 2
    ph.delete_study("study", tmp_path / "study.db")
    assert list((tmp_path / "study.checkpoints").iterdir()) == []


def test_a_damaged_parent_is_not_saved_as_if_it_were_whole(tmp_path):
    study, saved = make(tmp_path, steps=10), []
    study.set_budget(ph.Budget(steps=10))
    study.run(counting(tmp_path), workers=0, verbose=0)
    path = study.checkpoint_path(0)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    study.set_budget(ph.Budget(steps=20))

    def train(trials):
        for trial in trials.attach(build):
            trial["lr"]
            for _ in trial.range():
                before = set(path.parent.iterdir())
                attempt_of(trial).save()
                saved.append((trial.number, set(path.parent.iterdir()) != before))
            trial.report(score=1.0)

    study.run(train, workers=0, verbose=0, reload="always")
    assert study.trial(1).state is TrialState.FAILED
    assert {number for number, new in saved if new} == {2, 3}


def test_a_save_of_a_loop_of_its_own_needs_the_steps_done(tmp_path):
    study = make(tmp_path, steps=10)

    def train(trials, told=False):
        for trial in trials.attach(build):
            trial["lr"]
            if told:
                trial.report(score=0.0, steps_done=4)
            trial.save()
            assert study.trial(0).saved.step == 4
            trial.report(score=1.0, steps_done=10)

    with pytest.raises(InvalidArgument, match=r"steps_done=n"):
        study.run(train, workers=0, verbose=0)
    assert study.trial(0).saved is None
    study.set_budget(ph.Budget(trials=1))
    study.run(lambda trials: train(trials, told=True), workers=0, verbose=0)
    assert study.trial(0).score == 1.0


def test_a_step_that_is_left_by_break_leaves_no_request_to_save(tmp_path):
    study = make(tmp_path, steps=10)

    def train(trials):
        for trial in trials.attach(build):
            trial["lr"]
            for step in trial.range():
                if step - trial.start_step == 4:
                    trial.save()
                    break
            trial.save()  # at once, since no step goes on
            assert study.trial(trial.number).saved is not None
            trial.report(score=1.0)

    study.set_budget(ph.Budget(trials=2))
    study.run(train, workers=0, verbose=0)
    assert [trial.end_step for trial in study.trials()] == [4, 8]


def test_a_save_that_comes_after_the_trial_was_lost_is_deleted(tmp_path):
    study, folder = make(tmp_path, steps=10), tmp_path / "study.checkpoints"

    def train(trials):
        for trial in trials.attach(build):
            trial["lr"]
            for _ in trial.range():
                if trial.number == 0 and trial.record.attempts == 1:
                    lease = attempt_of(trial).grant.lease
                    study.owner.execute([Fail(lease=lease, error="another has it", cause="released")])
                    attempt_of(trial).save()
                    assert trial.should_stop
                    assert list(folder.iterdir()) == []
            trial.report(score=1.0)

    study.run(train, workers=0, verbose=0)
    assert study.finished
