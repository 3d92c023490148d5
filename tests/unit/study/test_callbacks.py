"""Callbacks are told what is committed, in this process and with workers, and harm nobody."""

import logging

import pytest

import phyletic as ph
from phyletic.errors import InvalidArgument


class Told:
    """Notes what it is told; each method is called after the commit that it tells of."""

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
def test_each_method_is_told_what_it_is_for(tmp_path, workers):
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


def test_a_change_of_control_is_told():
    study, told = make(), Told()

    def changing(trials):
        for trial in trials.attach(build):
            if trial.number == 2:
                study.set_budget(ph.Budget(steps=4))
            trial.report(score=trial["lr"])

    study.run(changing, callbacks=[told], verbose=0)
    assert ("control", {"budget": {"steps": 4, "trials": None, "seconds": None, "target": None}}) in told.calls


def test_what_a_callback_raises_is_logged_and_the_next_one_is_called(caplog):
    study, told = make(), Told()
    with caplog.at_level(logging.ERROR, logger="phyletic"):
        study.run(train, callbacks=[Broken(), told], verbose=0)
    assert study.finished
    assert "of the callback" in caplog.text
    assert "completed" in {what for what, _ in told.calls}


@pytest.mark.parametrize("callbacks", [Told(), [object()], [Told], [print]])
def test_what_is_no_callback_is_named(callbacks):
    with pytest.raises(InvalidArgument, match="callbacks"):
        make().run(train, callbacks=callbacks, verbose=0)
