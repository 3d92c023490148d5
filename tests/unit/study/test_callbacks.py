"""Callbacks are called after each commit, in this process and with workers, and their errors stop nothing."""

import logging

import pytest

import phyletic as ph
from phyletic.errors import InvalidArgument


class Told:
    """Records its calls; each method checks that its change is already committed."""

    def __init__(self):
        self.calls = []

    def on_decision(self, study, change):
        self.calls.append(("decided", change.trial.number))
        assert study.trial(change.trial.number).decision == change.trial.decision

    def on_completed(self, study, change):
        self.calls.append(("completed", change.trial.number))
        assert study.trial(change.trial.number).score == change.trial.score

    def on_failed(self, study, change):
        self.calls.append(("failed", change.trial.number))
        assert change.payload["cause"] == "error"

    def on_control(self, study, change):
        self.calls.append(("control", change.payload))

    def on_finished(self, study):
        self.calls.append(("finished", study.finished))


class Broken:
    def on_completed(self, study, change):
        raise ZeroDivisionError("of the callback")


def build(trial):
    return {"weights": [0.0]}


def train(trials):
    for trial in trials.attach(build):
        if trial.member == 1 and trial.generation == 1:
            raise ValueError("never works")
        trial.report(score=trial["lr"])


def make(**options):
    return ph.Study(
        "study",
        space={"lr": ph.Float(0.1, 1.0)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(3, 2),
        budget=ph.Budget(steps=6),
        seed=0,
        max_failures=1,
        **options,
    )


@pytest.mark.parametrize("workers", [0, 1])
def test_each_method_is_called_for_its_kind_of_change(tmp_path, workers):
    study, told = make(storage=tmp_path / "a.db"), Told()
    study.run(train, workers=workers, callbacks=[told], verbose=0)
    trials = study.trials()
    assert [number for what, number in told.calls if what == "decided"] == [trial.number for trial in trials]
    completed = sorted(trial.number for trial in trials if trial.state == "completed")
    assert sorted(number for what, number in told.calls if what == "completed") == completed
    (failed,) = [trial.number for trial in trials if trial.state == "failed"]
    assert [number for what, number in told.calls if what == "failed"] == [failed]
    assert told.calls[-1] == ("finished", True)
    for number in completed:
        assert told.calls.index(("decided", number)) < told.calls.index(("completed", number))


def test_a_change_of_control_is_reported():
    study, told = make(), Told()

    def changing(trials):
        for trial in trials.attach(build):
            if trial.number == 2:
                study.set_budget(ph.Budget(steps=4))
            trial.report(score=trial["lr"])

    study.run(changing, callbacks=[told], verbose=0)
    assert (
        "control",
        {"budget": {"steps": 4, "trials": None, "seconds": None, "target": None, "patience": None}},
    ) in told.calls


def test_the_error_of_a_callback_is_logged_and_the_next_one_is_called(caplog):
    study, told = make(), Told()
    with caplog.at_level(logging.ERROR, logger="phyletic"):
        study.run(train, callbacks=[Broken(), told], verbose=0)
    assert study.finished
    assert "of the callback" in caplog.text
    assert "completed" in {what for what, _ in told.calls}


@pytest.mark.parametrize("callbacks", [Told(), [object()], [Told], [print]])
def test_an_object_that_is_not_a_callback_is_refused(callbacks):
    with pytest.raises(InvalidArgument, match="callbacks"):
        make().run(train, callbacks=callbacks, verbose=0)
