"""An incarnation of a worker keeps its trials; the next incarnation under its name gets a new grant."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import phyletic as ph
from phyletic import errors
from phyletic.errors import LeaseLost
from phyletic.records import TrialState
from phyletic.workers.live_trial import attempt_of


def make(storage):
    return ph.Study(
        "study",
        space={"lr": ph.Float(0, 1)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(2, 5),
        budget=ph.Budget(steps=50),
        storage=storage,
        seed=0,
    )


def test_a_new_incarnation_of_a_worker_gets_a_new_grant_and_the_old_one_is_refused(tmp_path):
    study = make(tmp_path / "a.db")
    first = study.ask(worker="w")
    assert attempt_of(study.ask(worker="w")).grant == attempt_of(first).grant
    for incarnation in (2, 3):
        study.close()
        # a worker that left holds no trial
        assert study.status().trials == {"waiting": 1}
        again = study.ask(worker="w")
        assert again.number == first.number
        assert attempt_of(again).grant.lease.fence == incarnation
        assert attempt_of(again).grant.lease.session != attempt_of(first).grant.lease.session
        assert attempt_of(study.ask(worker="w")).grant == attempt_of(again).grant
        for late in (study.heartbeat, lambda trial: study.tell(trial, score=1.0)):
            with pytest.raises(LeaseLost):
                late(first)
    study.tell(again, score=2.0)
    assert study.trial(first.number).score == 2.0
    study.close()


def test_a_repeated_anonymous_ask_gives_the_same_trial_and_the_next_ask_another(tmp_path):
    study = make(tmp_path / "a.db")
    said = []
    execute = study.owner.execute

    def noting(commands):
        said.append(commands)
        return execute(commands)

    study.owner.execute = noting
    first = study.ask()
    (message,) = said
    for _ in range(2):
        (again,) = execute(message)
        assert again.grants == (attempt_of(first).grant,)
    second = study.ask()
    assert second.number != first.number
    assert isinstance(study.ask(), ph.Wait)
    # neither trial was granted twice
    assert {study.tell(trial, score=1.0).attempts for trial in (first, second)} == {1}
    study.close()


def test_two_names_hold_a_trial_each(tmp_path):
    study = make(tmp_path / "a.db")
    one, other = study.ask(worker="one"), study.ask(worker="other")
    assert {one.number, other.number} == {0, 1}
    assert (attempt_of(study.ask(worker="one")).grant, attempt_of(study.ask(worker="other")).grant) == (
        attempt_of(one).grant,
        attempt_of(other).grant,
    )
    study.close()


@pytest.mark.parametrize("count", [2, 3])
def test_an_ask_for_several_trials_holds_none_if_one_cannot_be_decided(tmp_path, count):
    broken = [True]

    def explore(values, rng):
        if broken[0]:
            raise RuntimeError("no such luck")
        return {"lr": 0.5}

    study = ph.Study(
        "study",
        space={"lr": ph.Float(0, 1)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(3, 10, explore=explore),
        budget=ph.Budget(steps=100),
        seed=0,
        storage=tmp_path / "study.db",
    )
    for trial in study.ask(count=3):
        study.tell(trial, score=(0.0 if trial.member == 1 else 1.0), checkpoint={"w": [0]})
    with pytest.raises(errors.TrainingError, match="no such luck"):
        study.ask(count=count)
    assert study.owner.state.running == 0
    left = study.trials()[3:]
    assert [(trial.state, trial.failures, trial.losses) for trial in left] == [(TrialState.WAITING, 0, 0)]
    broken[0] = False
    asked = study.ask(count=3)
    assert sorted(trial.member for trial in asked) == [0, 1, 2]
    assert {trial.number for trial in asked} >= {trial.number for trial in left}
    study.close()


def test_telling_another_checkpoint_is_refused_if_save_to_has_files(tmp_path):
    study = make(tmp_path / "a.db")
    other = tmp_path / "other"
    other.mkdir()
    with_files, without = study.ask(), study.ask()
    (with_files.save_to / "model.txt").write_text("precious")
    for checkpoint in ({"weights": [0.0]}, other, str(other)):
        with pytest.raises(errors.InvalidArgument, match=r"checkpoint is .* trial 0 has files in its save_to"):
            study.tell(with_files, score=1.0, checkpoint=checkpoint)
    study.tell(with_files, score=1.0, checkpoint=with_files.save_to)
    assert (study.checkpoint_path(0) / "model.txt").read_text() == "precious"
    assert list(without.save_to.iterdir()) == []
    study.tell(without, score=0.0, checkpoint={"weights": [0.25]})
    assert study.restore(1) == {"weights": [0.25]}
    study.close()


@pytest.mark.parametrize("kind", ["save_to", "folder", "dictionary"])
def test_a_trial_that_several_threads_tell_has_one_result(tmp_path, kind):
    study = make(tmp_path / "a.db")
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "model.txt").write_text("precious")
    for _ in range(5):
        trial = study.ask()
        if kind == "save_to":
            (trial.save_to / "model.txt").write_text("precious")
        checkpoint = {"save_to": None, "folder": folder, "dictionary": {"weights": np.zeros(50_000)}}[kind]
        together = threading.Barrier(4)

        def tell(_, trial=trial, checkpoint=checkpoint, together=together):
            together.wait()
            return study.tell(trial, score=1.0, checkpoint=checkpoint)

        with ThreadPoolExecutor(4) as threads:
            told = list(threads.map(tell, range(4)))
        assert told == [study.trial(trial.number)] * 4
        if kind != "dictionary":
            assert (study.checkpoint_path(trial.number) / "model.txt").read_text() == "precious"
    assert len(study.trials()) == 5
    study.close()
