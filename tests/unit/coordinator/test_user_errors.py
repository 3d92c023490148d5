"""An error in an algorithm, such as in a user's function, loses no result and no trial."""

import pytest

import phyletic as ph
from phyletic import errors
from phyletic.records import TrialState
from phyletic.workers.live_trial import attempt_of


class Fault:
    """A user's function that raises if ``broken``."""

    def __init__(self, returned):
        self.returned = returned
        self.broken = False

    def __call__(self, *arguments):
        if self.broken:
            raise ZeroDivisionError("of the user's")
        return self.returned


def make(**options):
    return ph.Study(
        "study",
        space={"lr": ph.Float(0.1, 1.0)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(4, 2, **options),
        budget=ph.Budget(steps=8),
        seed=0,
    )


def train(trials):
    for trial in trials.attach(lambda trial: {"weights": [0.0]}):
        for _ in trial.range():
            trial.state.weights[0] += trial["lr"]
            attempt_of(trial).beaten = -1.0  # the next report is sent at once
            trial.report(score=trial.state.weights[0])


@pytest.mark.parametrize("synchronous", [False, True])
@pytest.mark.parametrize("supervised", [False, True])
def test_a_result_stands_even_if_the_next_decision_raises(synchronous, supervised):
    explore = Fault({})
    study = make(explore=explore, synchronous=synchronous)
    explore.broken = True
    with pytest.raises(errors.TrainingError, match=r"(?s)next trial of member.*ZeroDivisionError: of the user's"):
        study.run(train, verbose=0) if supervised else train(study)
    trials = study.trials()
    assert [trial.state for trial in trials] == [TrialState.COMPLETED] * len(trials)
    assert len(trials) >= 4
    explore.broken = False
    train(study)
    assert len([trial for trial in study.trials() if trial.end_step == 8]) == 4


@pytest.mark.parametrize("supervised", [False, True])
def test_an_error_in_early_stopping_ends_the_run(supervised):
    stopping = Fault(False)
    study = make(early_stopping=stopping)
    stopping.broken = True
    with pytest.raises(errors.TrainingError, match=r"(?s)worth finishing.*ZeroDivisionError: of the user's"):
        study.run(train, verbose=0) if supervised else train(study)
    assert [(trial.state, trial.failures) for trial in study.trials()] == [(TrialState.WAITING, 0)]
    stopping.broken = False
    train(study)
    assert study.best.end_step == 8
