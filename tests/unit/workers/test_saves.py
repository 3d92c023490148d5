"""A trial that saves within itself goes on from its latest save when it is tried again."""

import os
import signal

import pytest

import phyletic as ph
from phyletic.errors import InvalidArgument
from phyletic.records import TrialState


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
