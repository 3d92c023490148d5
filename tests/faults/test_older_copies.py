"""A database restored from an older copy, or sharing a checkpoint folder, loses no checkpoint that it knows."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import phyletic as ph
from phyletic.records import TrialState
from phyletic.testing.example import facts


def build(trial):
    return {"weights": np.zeros(4)}


def train(trials):
    for trial in trials.attach(build):
        for _ in trial.range():
            trial.state.weights = trial.state.weights + trial["lr"] * np.random.standard_normal(4)
        trial.report(score=float(trial.state.weights.sum()))


def save(state, folder):
    np.save(folder / "weights.npy", state.weights)


def load(state, folder):
    state.weights = np.load(folder / "weights.npy")


def train_with_folders(trials):
    for trial in trials.attach(build, save=save, load=load):
        for _ in trial.range():
            trial.state.weights = trial.state.weights + trial["lr"] * np.random.standard_normal(4)
        trial.report(score=float(trial.state.weights.sum()))


TRAIN = {"packed": train, "folders": train_with_folders}


def make(folder, synchronous=True, steps=4, **options):
    settings = {
        "space": {"lr": ph.Float(1e-3, 1.0, log=True)},
        "metric": "score",
        "mode": "max",
        "algorithm": ph.PBT(3, 1, exploit=ph.Truncation(0.34), synchronous=synchronous),
        "budget": ph.Budget(steps=steps),
        "storage": folder / "study.db",
        "seed": 7,
    }
    return ph.Study("study", **{**settings, **options})


@pytest.mark.parametrize("synchronous", [True, False])
@pytest.mark.parametrize("states", TRAIN)
def test_an_older_copy_of_the_database_goes_on_from_the_remaining_checkpoints(tmp_path, synchronous, states):
    study = make(tmp_path, synchronous, steps=3)
    study.run(TRAIN[states], workers=0, verbose=0)
    shutil.copy(tmp_path / "study.db", tmp_path / "older.db")
    known = {trial.number: trial for trial in study.trials()}
    make(tmp_path, synchronous, steps=8).run(TRAIN[states], workers=0, verbose=0)
    shutil.copy(tmp_path / "older.db", tmp_path / "study.db")
    root = Path(study.checkpoints.location)
    newer = {path.name.partition(".")[0] for path in root.iterdir()}
    again = make(tmp_path, synchronous, steps=6)
    again.run(TRAIN[states], workers=0, verbose=0)
    trials = {trial.number: trial for trial in again.trials()}
    # its known trials are unchanged, it found the missing checkpoints, and every member reached the end
    assert {number: trials[number] for number in known} == known
    ended = [trial for trial in trials.values() if trial.state is TrialState.COMPLETED and trial.end_step == 6]
    assert {trial.member for trial in ended} == {0, 1, 2}
    failed = [trial for trial in trials.values() if trial.state is TrialState.FAILED]
    assert all("missing" in trial.error and trial.failures == 0 for trial in failed)
    assert {event.payload["cause"] for event in again.events() if event.kind == "trial given up"} <= {"damaged"}
    # files that this database never condemned stay
    condemned = {trial.checkpoint.id for trial in trials.values() if trial.checkpoint}
    left = {path.name.partition(".")[0] for path in root.iterdir()}
    assert newer - condemned <= left


def test_an_older_copy_loses_no_checkpoint_that_is_still_there(tmp_path):
    study = make(tmp_path, steps=3)
    study.run(train, workers=0, verbose=0)
    for trial in study.trials()[-3:]:
        study.pin(trial)
    study.close()
    shutil.copy(tmp_path / "study.db", tmp_path / "older.db")
    make(tmp_path, steps=8).run(train, workers=0, verbose=0)
    shutil.copy(tmp_path / "older.db", tmp_path / "study.db")
    again = make(tmp_path, steps=8)
    again.run(train, workers=0, verbose=0)
    # both databases pinned the heads, so nothing is damaged, and the study ends like an undisturbed one
    whole = make(tmp_path / "whole", steps=8)
    whole.run(train, workers=0, verbose=0)
    assert facts(again) == facts(whole)


def test_two_databases_with_one_folder_do_not_delete_each_others_checkpoints(tmp_path):
    folder = tmp_path / "checkpoints"
    studies = [make(tmp_path / name, steps=3, checkpoints=folder, seed=seed) for seed, name in enumerate("ab")]
    for study in studies:
        study.run(train, workers=0, verbose=0)
    first = [trial.checkpoint for trial in studies[0].trials()[-3:]]
    staged = studies[0].checkpoints.staging("f" * 32)  # an unfinished checkpoint of a live process
    for study in [make(tmp_path / name, steps=6, checkpoints=folder, seed=seed) for seed, name in [(1, "b"), (1, "b")]]:
        study.run(train, workers=0, verbose=0)
    for reference in first:
        studies[0].checkpoints.verify(reference)
    assert staged.is_dir()
    make(tmp_path / "a", steps=6, checkpoints=folder, seed=0).run(train, workers=0, verbose=0)
    for study in studies:
        trials = study.trials()
        assert {trial.state for trial in trials} == {TrialState.COMPLETED}
        for trial in trials[-3:]:
            study.checkpoints.verify(trial.checkpoint)
