"""The first bug of new training code ends the run at once, and is shown first; later failures are tried again."""

import traceback

import pytest

import phyletic as ph
from phyletic import errors
from phyletic.records import TrialState


def make(folder, **options):
    return ph.Study(
        "study", space={"lr": ph.Float(0.1, 1.0)}, metric="score", mode="max", seed=0,
        algorithm=ph.PBT(4, 1), budget=ph.Budget(steps=2), storage=folder / "study.db", **options,
    )  # fmt: skip


def build(trial):
    return {"weights": [0.0]}


def buggy(trials):
    for _ in trials.attach(build):
        raise ZeroDivisionError("a bug in the body")


def train(trials):
    for trial in trials.attach(build):
        trial.report(score=trial["lr"])


def test_in_this_process_the_users_own_exception_comes_out_after_one_attempt(tmp_path):
    study = make(tmp_path)
    with pytest.raises(ZeroDivisionError, match="a bug in the body") as caught:
        study.run(buggy, workers=0, verbose=0)
    assert [trial.failures for trial in study.trials()].count(1) == 1
    assert sum(trial.attempts for trial in study.trials()) == 1
    assert caught.traceback[-1].name == "buggy"


def test_with_workers_the_place_comes_first_and_then_the_traceback(tmp_path):
    study = make(tmp_path)
    with pytest.raises(errors.StudyFailed) as caught:
        study.run(buggy, workers=2, verbose=0)
    first, *_ = str(caught.value).splitlines()
    assert first.startswith(f"{__file__}:")
    assert first.endswith("ZeroDivisionError: a bug in the body")
    assert "Traceback" in str(caught.value)
    assert sum(trial.attempts for trial in study.trials()) <= 2  # another worker may have begun one
    frames = traceback.extract_tb(caught.tb)
    assert [frame.name for frame in frames if "phyletic/" in frame.filename and "tests" not in frame.filename] == [
        "call", "run",
    ]  # fmt: skip


@pytest.mark.parametrize("workers", [0, 2])
def test_a_study_that_is_run_again_tries_as_any_other(tmp_path, workers):
    study = make(tmp_path, max_failures=2)

    def impossible(trials):
        for trial in trials.attach(build):
            if trial.number == 0:
                raise ValueError("impossible first values")
            trial.report(score=trial["lr"])

    with pytest.raises((ValueError, errors.StudyFailed), match="impossible first values"):
        study.run(impossible, workers=workers, verbose=0)
    assert study.run(impossible, workers=workers, verbose=0) == "finished"
    assert study.trial(0).state is TrialState.FAILED


def test_a_failure_after_the_first_completed_trial_is_tried_again(tmp_path):
    study = make(tmp_path)

    def unlucky(trials):
        for trial in trials.attach(build):
            if trial.number == 1 and trial.record.failures == 0:
                raise ValueError("bad luck")
            trial.report(score=trial["lr"])

    assert study.run(unlucky, workers=0, verbose=0) == "finished"
    assert study.trial(1).failures == 1


def test_equal_tracebacks_are_told_once_with_their_trials(tmp_path, capsys):
    study = make(tmp_path)
    trial = study.ask()
    study.tell(trial, score=trial["lr"], checkpoint=build(trial))
    with pytest.raises(errors.StudyFailed) as caught:
        study.run(buggy, workers=0, verbose=1)
    assert str(caught.value).count("Traceback") == 1
    said = capsys.readouterr()
    assert (said.out + said.err).count("Traceback") == 1
    assert "the same again, 2 times now: ZeroDivisionError: a bug in the body" in said.out + said.err


def test_an_error_about_the_contract_shows_the_users_frames_alone(tmp_path):
    def forgetful(trials):
        for trial in trials.attach(build):
            trial["lr"]

    with pytest.raises(errors.MetricMissing) as caught:
        make(tmp_path).run(forgetful, workers=0, verbose=0)
    frames = traceback.extract_tb(caught.tb)
    own = [frame.name for frame in frames if frame.filename != __file__]
    assert own == ["call", "run"]
    assert frames[-1].name == "forgetful"
