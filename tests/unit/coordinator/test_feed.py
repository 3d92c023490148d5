"""Followers of a study get what is committed, and nothing that they do reaches the code that decides."""

import os
import signal

import pytest

import phyletic as ph
from phyletic.records.event import DECIDED, ENDED_ATTEMPT, GIVEN_UP


def make(storage=None, **options):
    settings = {"algorithm": ph.PBT(2, 1), "budget": ph.Budget(steps=4), "seed": 0, "storage": storage}
    return ph.Study(
        "study",
        space={"lr": ph.Float(0.1, 1.0)},
        metric="score",
        mode="max",
        **{**settings, **options},
    )


def build(trial):
    return {"weights": [0.0]}


def train(trials):
    for trial in trials.attach(build):
        trial.report(score=trial["lr"])


@pytest.mark.parametrize("how", ["by hand", "run"])
def test_a_function_that_raises_harms_neither_the_result_nor_the_loop_and_is_logged(how, caplog):
    study = make()
    seen = []

    def breaking(changes):
        raise RuntimeError("the display is broken")

    study.owner.feed.call(breaking)
    end = study.owner.feed.call(seen.extend)
    if how == "run":
        study.run(train, verbose=0)
    else:
        while isinstance(trial := study.ask(), ph.LiveTrial):
            assert study.tell(trial, score=trial["lr"]).score == trial["lr"]
    end()
    trials = study.trials()
    assert study.finished
    assert [change.trial for change in seen if change.kind == "completed"] == trials
    assert [change.trial.number for change in seen if change.kind == DECIDED] == [trial.number for trial in trials]
    assert "the display is broken" in caplog.text
    assert {record.name for record in caplog.records} == {"phyletic"}


def test_a_function_may_use_the_study_and_is_called_in_the_order_of_commits():
    study = make()
    sequences = []

    def asking(changes):
        sequences.extend(change.sequence for change in changes)
        if len(sequences) == 1:
            study.pause()
            study.resume()

    study.owner.feed.call(asking)
    study.run(train, verbose=0)
    assert sequences == sorted(sequences)
    assert [event.kind for event in study.events()].count("control") == 2


def test_a_trial_given_up_by_its_workers_death_reaches_the_feed_and_the_display(tmp_path, capfd):
    def dying(trials):
        for trial in trials.attach(build):
            if trial.number == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            trial.report(score=trial["lr"])

    study = make(tmp_path / "study.db", max_losses=1)
    seen = []
    study.owner.feed.call(seen.extend)
    study.run(dying, workers=1, verbose=1)
    (given_up,) = [change for change in seen if change.kind == GIVEN_UP]
    assert (given_up.trial.number, given_up.trial.state, given_up.payload["cause"]) == (1, "failed", "lost")
    (ended,) = [change for change in seen if change.kind == ENDED_ATTEMPT]
    assert ended.payload["worker"] == "worker-0"
    said = "".join(capfd.readouterr())
    assert f"member {given_up.trial.member} trial 1 failed after 1 attempts" in said
