"""When the body of a loop ends, its trial gets a result, is handed back or rescued, or an error is raised."""

import math
import time

import pytest

import phyletic as ph
from phyletic import errors
from phyletic.records import TrialState
from phyletic.workers.live_trial import attempt_of


def make(algorithm, **budget):
    return ph.Study(
        "study",
        space={"lr": ph.Float(0.1, 1.0)},
        metric="score",
        mode="max",
        algorithm=algorithm,
        budget=ph.Budget(**budget),
        seed=0,
    )


def counting(trials):
    for trial in trials.attach(lambda trial: {"weights": [0.0]}):
        for _ in trial.range():
            trial.state.weights[0] += trial["lr"]
        trial.report(score=trial.state.weights[0])


def test_a_trial_that_is_asked_to_stop_before_its_first_step_is_handed_back():
    study = make(ph.PBT(2, 5), steps=10, seconds=0.3)

    def train(trials):
        for trial in trials.attach(lambda trial: time.sleep(0.7) or {"weights": [0.0]}):
            for _ in trial.range():
                trial.state.weights[0] += trial["lr"]
            trial.report(score=trial.state.weights[0])

    study.run(train, verbose=0)
    assert [(trial.state, trial.failures) for trial in study.trials()] == [(TrialState.WAITING, 0)]
    study.set_budget(ph.Budget(steps=10))
    study.run(counting, verbose=0)
    assert [trial.end_step for trial in study.trials()] == [5, 5, 10, 10]


def test_a_trial_that_is_hopeless_before_its_first_step_is_rescued():
    study = make(ph.PBT(2, 5, early_stopping=ph.NonFiniteStopping()), steps=10)
    hopeless = []

    def train(trials):
        for trial in trials.attach(lambda trial: {"weights": [0.0]}):
            score = 0.0
            if trial.number == 1:
                hopeless.append(trial.number)
                score = math.nan
                attempt_of(trial).beaten = -1.0  # so that the report is sent at once
            trial.report(score=score, step=trial.start_step)
            for _ in trial.range():
                trial.state.weights[0] += trial["lr"]
            trial.report(score=trial.state.weights[0])

    study.run(train, verbose=0)
    assert len(hopeless) == 3
    assert study.trial(hopeless[0]).state is TrialState.FAILED
    assert [trial.decision.kind for trial in study.trials() if trial.member == 1][1] == "rescue"
    assert study.best.end_step == 10


def test_steps_are_not_guessed_if_the_interval_is_in_seconds():
    study = make(ph.PBT(1, interval_seconds=0.01), steps=1000)

    def train(trials):
        for trial in trials.attach(lambda trial: {"weights": [0.0]}):
            trial.report(score=trial["lr"])

    with pytest.raises(errors.InvalidArgument, match="steps_done"):
        train(study)
    asked = study.ask()
    with pytest.raises(errors.InvalidArgument, match="steps_done"):
        study.tell(asked, score=0.0)
    assert study.tell(asked, score=0.0, steps_done=7).end_step == 7


def test_a_trial_from_ask_that_counted_no_step_has_trained_none():
    study = make(ph.PBT(1, 5), steps=10)
    asked = study.ask()
    for _ in asked.range():
        break
    with pytest.raises(errors.InvalidArgument, match="steps_done is 0"):
        study.tell(asked, score=0.0)


def test_an_error_after_the_last_trial_is_raised():
    study = make(ph.PBT(1, 5), steps=10)

    def train(trials):
        counting(trials)
        raise OSError("the report could not be written")

    with pytest.raises(OSError, match="the report"):
        study.run(train, verbose=0)
    assert study.best.end_step == 10


@pytest.mark.parametrize("own", [{}, {"save": lambda state, folder: None, "load": lambda state, folder: None}])
def test_a_loop_with_attach_refuses_save_to_because_its_files_would_be_lost(own):
    study = make(ph.PBT(1, 5), steps=10)

    def train(trials):
        for trial in trials.attach(lambda trial: {"weights": [0.0]}, **own):
            (trial.save_to / "model.txt").write_text("precious")
            trial.report(score=trial["lr"])

    with pytest.raises(errors.InvalidArgument, match=r"save_to .* without attach\(build\)"):
        study.run(train, verbose=0)
    assert [(trial.state, trial.attempts, trial.failures) for trial in study.trials()] == [(TrialState.WAITING, 1, 0)]


def test_entries_that_build_did_not_return_at_birth_are_named_before_anything_is_trained():
    study = make(ph.PBT(2, 5), steps=10)
    study.run(counting, verbose=0)
    study.set_budget(ph.Budget(steps=20))

    def train(trials):
        for trial in trials.attach(lambda trial: {"weights": [0.0], "average": [0.0], "buffer": []}):
            trial.state.average[0] += trial["lr"]
            trial.report(score=trial.state.average[0])

    with pytest.raises(errors.StateUnsupported, match=r"'average', 'buffer', but .* trial \d has only 'weights'"):
        study.run(train, verbose=0)
    assert [(trial.state, trial.failures) for trial in study.trials()[4:]] == [(TrialState.WAITING, 0)]

    def train_with_a_new_entry(trials):
        for trial in trials.attach(lambda trial: {"weights": [0.0]}):
            if not hasattr(trial.state, "average"):
                trial.state.average = [0.0]
            trial.state.average[0] += trial["lr"]
            trial.report(score=trial.state.average[0])

    study.run(train_with_a_new_entry, verbose=0, reload="always")
    assert study.finished
    last = study.lineage(study.trials()[-1])
    assert last[-1].score == pytest.approx(sum(trial.hyperparameters["lr"] for trial in last[2:]))
