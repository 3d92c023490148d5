"""The checkpoint folder of a study is remembered, can be moved, and a missing folder gives up no trial."""

import gc
import os
import shutil
import subprocess
import sys
import textwrap
from functools import partial

import pytest

import phyletic as ph
from phyletic import errors


def train(trials):
    for trial in trials.attach(lambda trial: {"weights": [0.0]}):
        for _ in trial.range():
            trial.state.weights[0] += trial["lr"]
        trial.report(score=trial.state.weights[0])


def make(folder, steps=4, **options):
    return ph.Study(
        "study", space={"lr": ph.Float(0.1, 1.0)}, metric="score", mode="max", algorithm=ph.PBT(2, 2),
        budget=ph.Budget(steps=steps), storage=folder / "study.db", seed=0, **options,
    )  # fmt: skip


def trained(folder, **options):
    """Train a study, drop it, and return the numbers of its trials."""
    study = make(folder, **options)
    study.run(train, verbose=0)
    numbers = [trial.number for trial in study.trials()]
    del study
    gc.collect()
    return numbers


def names(folder):
    return {path.name for path in folder.iterdir()}


def gone_on(folder, **options):
    """Open the study and train on; check that every new trial continues an earlier one; return the study."""
    study = ph.Study("study", storage=folder / "study.db", budget=ph.Budget(steps=8), **options)
    before = {trial.number for trial in study.trials()}
    study.run(train, verbose=0)
    new = [trial for trial in study.trials() if trial.number not in before]
    assert new
    assert all(trial.parent is not None for trial in new)
    assert [event.kind for event in study.events() if event.kind not in ("control", "owner")] == []
    return study


def test_the_folder_is_remembered(tmp_path):
    trained(tmp_path, checkpoints=tmp_path / "elsewhere")
    study = gone_on(tmp_path)
    assert study.checkpoints.location == str(tmp_path / "elsewhere")
    assert study.checkpoint_path().is_relative_to(tmp_path / "elsewhere")
    assert study.status().checkpoints == str(tmp_path / "elsewhere")
    assert not (tmp_path / "study.checkpoints").exists()


def test_a_relative_folder_is_relative_to_the_current_folder_at_creation(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained(tmp_path, checkpoints="elsewhere")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert gone_on(tmp_path).checkpoints.location == str(tmp_path / "elsewhere")


def test_the_folder_beside_the_storage_moves_with_it(tmp_path):
    (tmp_path / "a").mkdir()
    trained(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    assert gone_on(tmp_path / "b").checkpoints.location == str(tmp_path / "b" / "study.checkpoints")


@pytest.mark.parametrize("options", [{}, {"checkpoints": "first"}])
def test_a_moved_folder_can_be_given_and_is_remembered(tmp_path, options):
    options = {name: tmp_path / value for name, value in options.items()}
    trained(tmp_path, **options)
    options.get("checkpoints", tmp_path / "study.checkpoints").rename(tmp_path / "moved")
    study = gone_on(tmp_path, checkpoints=tmp_path / "moved")
    assert study.control.checkpoints == str(tmp_path / "moved")
    assert next(event for event in study.events() if event.kind == "control").payload["checkpoints"] == str(
        tmp_path / "moved"
    )
    del study
    gc.collect()
    assert make(tmp_path, steps=10).checkpoints.location == str(tmp_path / "moved")


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("options", [{}, {"checkpoints": "first"}])
def test_a_missing_folder_is_an_error_and_no_trial_is_given_up(tmp_path, options, empty):
    options = {name: tmp_path / value for name, value in options.items()}
    numbers = trained(tmp_path, **options)
    root = options.get("checkpoints", tmp_path / "study.checkpoints")
    root.rename(tmp_path / "away")
    held = names(tmp_path / "away")
    if empty:
        root.mkdir()
    study = ph.Study("study", storage=tmp_path / "study.db")
    calls = {
        "open with another budget": lambda: make(tmp_path, steps=8),
        "run": partial(study.run, train, verbose=0),
        "ask": study.ask,
        "loop": partial(train, study),
        "resize": partial(study.resize, 3),
    }
    for call in calls.values():
        with pytest.raises(errors.CheckpointError, match="mounted"):
            call()
    assert study.best
    assert [trial.number for trial in study.trials()] == numbers
    assert not [event for event in study.events() if event.kind == "trial given up"]
    del study, calls, call
    gc.collect()
    # once the folder is back, the study goes on
    shutil.rmtree(root, ignore_errors=True)
    (tmp_path / "away").rename(root)
    assert names(root) == held
    gone_on(tmp_path)


def test_a_folder_without_the_studys_checkpoints_is_refused_and_nothing_is_written(tmp_path):
    trained(tmp_path)
    (tmp_path / "other").mkdir()
    before = names(tmp_path / "study.checkpoints"), names(tmp_path)
    with pytest.raises(errors.InvalidArgument, match=r"checkpoints is .*other.*they were in .*study\.checkpoints"):
        make(tmp_path, steps=8, checkpoints=tmp_path / "other")
    assert (names(tmp_path / "study.checkpoints"), names(tmp_path)) == before
    assert gone_on(tmp_path).control.checkpoints is None


def test_a_folder_that_vanishes_during_a_run_is_an_error_and_no_trial_is_given_up(tmp_path):
    def unmounting(trials):
        for trial in trials.attach(lambda trial: {"weights": [0.0]}):
            for _ in trial.range():
                trial.state.weights[0] += trial["lr"]
            trial.report(score=trial.state.weights[0])
            if trial.number == 3:
                break
        (tmp_path / "study.checkpoints").rename(tmp_path / "away")
        train(trials)

    study = make(tmp_path, steps=20)
    with pytest.raises(errors.CheckpointError, match="is missing"):
        study.run(unmounting, verbose=0)
    shutil.rmtree(tmp_path / "study.checkpoints", ignore_errors=True)
    (tmp_path / "away").rename(tmp_path / "study.checkpoints")
    study.run(train, verbose=0)
    assert study.finished
    assert not [event for event in study.events() if event.kind == "trial given up"]


def test_two_objects_of_one_study_in_a_process_share_the_folder(tmp_path):
    first = make(tmp_path)
    with pytest.raises(errors.InvalidArgument, match="another Study object of this process"):
        make(tmp_path, checkpoints=tmp_path / "other")
    first.run(train, verbose=0)
    assert first.finished


def explore(values, rng):
    return {"lr": min(1.0, values["lr"] * 1.5)}


def test_a_study_opened_first_for_reading_then_runs_with_the_users_function(tmp_path):
    def opened(steps, **options):
        return ph.Study(
            "study", space={"lr": ph.Float(0.1, 1.0)}, metric="score", mode="max", budget=ph.Budget(steps=steps),
            algorithm=ph.PBT(2, 2, explore=explore), storage=tmp_path / "study.db", seed=0, **options,
        )  # fmt: skip

    opened(4).run(train, verbose=0)
    gc.collect()
    looked_at = ph.Study("study", storage=tmp_path / "study.db")
    assert looked_at.best
    study = opened(20)
    study.run(train, verbose=0)
    assert study.finished
    assert looked_at.finished


def test_the_folder_of_a_study_that_another_process_runs_cannot_be_changed(tmp_path):
    trained(tmp_path)
    shutil.copytree(tmp_path / "study.checkpoints", tmp_path / "copy")
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent("""
            import sys, phyletic as ph
            study = ph.Study("study", storage=sys.argv[1], budget=ph.Budget(steps=100))
            study.ask()
            print("owned", flush=True)
            sys.stdin.read()
        """), str(tmp_path / "study.db")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ},
    )  # fmt: skip
    try:
        assert owner.stdout.readline() == "owned\n"
        with pytest.raises(errors.StorageOwned):
            ph.Study("study", storage=tmp_path / "study.db", checkpoints=tmp_path / "copy")
    finally:
        owner.communicate(timeout=20)
    assert ph.Study("study", storage=tmp_path / "study.db").control.checkpoints is None


def test_a_folder_name_that_cannot_be_stored_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(errors.InvalidArgument, match=r"checkpoints is .*Unicode"):
        make(tmp_path, checkpoints=os.fsencode(tmp_path).decode() + "/a\udcff")
    assert list(tmp_path.iterdir()) == []
