"""A study is created once and then opened, even after many changes, and even by several callers at once."""

import threading
import time

import numpy as np
import pytest

import phyletic as ph
from phyletic import errors
from phyletic.failpoints import armed


def make(storage, population=4, **options):
    return ph.Study(
        "study",
        space={"lr": ph.Float(0.1, 1.0)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(population, 2),
        budget=ph.Budget(steps=4),
        storage=storage,
        **options,
    )


def test_initial_values_are_checked_against_the_first_population_not_the_current_one(tmp_path):
    initial = [{"lr": 0.1}, {"lr": 0.2}, {"lr": 0.3}]
    make(tmp_path / "a.db", initial=initial).resize(2)
    assert make(tmp_path / "a.db", initial=initial).control.population == 2
    with pytest.raises(errors.StudyMismatch, match="initial"):
        make(tmp_path / "a.db", initial=initial[:2])
    with pytest.raises(errors.InvalidArgument, match="no longer than the population, 4"):
        make(tmp_path / "a.db", initial=initial + initial)


def test_two_threads_that_create_a_study_at_once_get_the_same_study(tmp_path):
    made = []
    begun = threading.Event()

    def another():
        begun.set()
        made.append(make(tmp_path / "a.db"))

    thread = threading.Thread(target=another)

    def meanwhile(name):
        if name == "storage.commit.before" and not begun.is_set():
            thread.start()
            begun.wait()
            time.sleep(0.3)  # the other thread finds no study yet, and waits to create it

    with armed(meanwhile):
        made.append(make(tmp_path / "a.db"))
    thread.join()
    assert len({study.identity.uuid for study in made}) == 1


def test_a_trial_number_may_be_a_numpy_integer_but_no_other_type(tmp_path):
    study = make(tmp_path / "a.db")
    for trial in study:
        trial.report(score=trial["lr"])
    number = np.int64(study.best.number)
    assert study.trial(number) == study.best
    assert study.lineage(number) == study.lineage(study.best)
    for wrong in ("0", True, -1, 2**63, None, 0.0):
        with pytest.raises(errors.InvalidArgument, match="trial"):
            study.trial(wrong)
        if wrong is not None:
            with pytest.raises(errors.InvalidArgument, match="trial"):
                study.lineage(wrong)
