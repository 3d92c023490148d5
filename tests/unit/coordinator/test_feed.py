"""Followers of a study get every committed change, and their errors never reach the coordinator."""

import os
import signal
import threading
import time

import pytest

import phyletic as ph
from phyletic.records.event import DECIDED, ENDED_ATTEMPT, GIVEN_UP


def make(storage=None, population=2, **options):
    return ph.Study(
        "study", space={"lr": ph.Float(0.1, 1.0)}, metric="score", mode="max", seed=0, storage=storage,
        algorithm=ph.PBT(population, 1), budget=ph.Budget(steps=4), **options,
    )  # fmt: skip


def build(trial):
    return {"weights": [0.0]}


def train(trials):
    for trial in trials.attach(build):
        trial.report(score=trial["lr"])


@pytest.mark.parametrize("how", ["by hand", "run"])
def test_the_error_of_a_follower_is_logged_and_harms_neither_the_result_nor_the_loop(how, caplog):
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


def test_a_follower_may_use_the_study_and_is_called_in_commit_order():
    study = make()
    sequences = []

    def asking(changes):
        first = not sequences
        sequences.extend(change.sequence for change in changes)
        if first:
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


def test_a_follower_gets_all_changes_in_order_even_if_many_threads_commit():
    study = make(population=20)
    seen, together, inside = [], [], set()

    def noting(changes):
        inside.add(threading.get_ident())
        time.sleep(0.001)
        together.append(len(inside))
        seen.extend(changes)
        inside.discard(threading.get_ident())

    def work():
        while isinstance(trial := study.ask(), ph.LiveTrial):
            study.tell(trial, score=trial["lr"])

    end = study.owner.feed.call(noting)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    end()
    assert set(together) == {1}
    # a late follower reads the same records from the store, in parts of any size
    stored, known = [], -1
    while part := study.changes(since=known, limit=7):
        stored += part
        known = part[-1].sequence
    assert [facts(change) for change in stored] == [facts(change) for change in seen]
    assert len(seen) > 100


def facts(change):
    number = None if change.trial is None else change.trial.number
    return change.sequence, change.kind, change.at, number, change.payload
