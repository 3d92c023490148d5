"""A study may begin with the checkpoint of another one: every member loads it at birth."""

import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
import torch

import phyletic as ph
from phyletic import errors

SPACE = {"lr": ph.Float(0.01, 0.1)}


def make(storage, name="study", population=2, **given):
    return ph.Study(
        name, space=SPACE, metric="score", mode="max", seed=0, algorithm=ph.PBT(population, 2),
        budget=ph.Budget(steps=4), storage=storage, **given,
    )  # fmt: skip


def build(trial):
    model = torch.nn.Linear(2, 1)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters()), "table": np.zeros((2, 3))}


def train_with(build, seen):
    def train(trials):
        for trial in trials.attach(build):
            if trial.newborn:
                state = trial.state
                seen.append((trial.member, state.model.weight.detach().clone(), bool(state.optimizer.state)))
            trial.apply(trial.state.optimizer)
            for _ in trial.range():
                trial.state.optimizer.zero_grad()
                trial.state.model(torch.ones(1, 2)).sum().backward()
                trial.state.optimizer.step()
                trial.state.table += 1
            trial.report(score=float(trial.state.table.sum()))

    return train


@pytest.fixture
def trained(tmp_path):
    study = make(tmp_path / "first.db", "first")
    study.run(train_with(build, []), workers=0, verbose=0)
    return study


def test_every_member_is_born_with_the_weights_and_the_copy_outlives_the_original(tmp_path, trained):
    weights = trained.restore(**build(None))["model"].weight
    path, seen = trained.checkpoint_path(), []
    study = make(tmp_path / "second.db", warm_start=path)
    trained.close()
    ph.delete_study("first", tmp_path / "first.db")
    assert not path.exists()
    study.run(train_with(build, seen), workers=0, verbose=0)
    assert study.finished
    assert [member for member, _, _ in seen] == [0, 1]
    assert all(torch.equal(found, weights) and moments for _, found, moments in seen)
    assert all(trial.start_step == 0 for trial in study.trials() if trial.newborn)
    assert [trial.score for trial in study.trials() if trial.end_step == 4] == [6.0 * 8] * 2
    study.close()
    ph.delete_study("study", tmp_path / "second.db")
    assert list((tmp_path / "second.checkpoints").iterdir()) == []


def test_a_study_that_is_not_created_leaves_no_copy(tmp_path, trained, monkeypatch):
    path, copies = trained.checkpoint_path(), tmp_path / "second.checkpoints"

    def fail(*given):
        raise errors.StorageError("no room")

    with monkeypatch.context() as patch:
        patch.setattr("phyletic.study.local_home.create_study", fail)
        with pytest.raises(errors.StorageError):
            make(tmp_path / "second.db", warm_start=path)
    assert list(copies.iterdir()) == []
    with owned(tmp_path / "second.db"), pytest.raises(errors.StorageOwned):
        make(tmp_path / "second.db", warm_start=path)
    assert list(copies.iterdir()) == []


@contextmanager
def owned(path):
    """Have another process own a database."""
    code = (
        "import sys; from phyletic.storage.database import open_database; "
        "database = open_database(sys.argv[1]); database.own(); print('owned', flush=True); sys.stdin.read()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdin=pipe, stdout=pipe, text=True) as owner:
        assert owner.stdout.readline() == "owned\n"
        yield
        owner.stdin.close()


def test_the_digest_is_part_of_the_identity(tmp_path, trained):
    best, other = trained.checkpoint_path(), trained.checkpoint_path(trained.trials()[-2])
    study = make(tmp_path / "second.db", warm_start=best)
    study.close()
    assert make(tmp_path / "second.db", warm_start=best).identity.warm_start == study.identity.warm_start
    assert make(tmp_path / "second.db").identity.warm_start is not None
    if best != other:
        with pytest.raises(errors.StudyMismatch, match="warm_start"):
            make(tmp_path / "second.db", warm_start=other)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (lambda state: {**state, "ema": np.zeros(2)}, "entry 'ema': build returned it, but the checkpoint"),
        (lambda state: {"model": state["model"], "optimizer": state["optimizer"]}, "'table'.*build did not return it"),
        (
            lambda state: {**state, "table": np.zeros((3, 3))},
            r"'table' has the shape \[2, 3\].*build returned one of \[3, 3\]",
        ),
        (lambda state: {**state, "model": torch.nn.Linear(3, 1)}, "'model'"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_an_error_that_names_the_entry(tmp_path, trained, changed, said):
    study = make(tmp_path / "second.db", warm_start=trained.checkpoint_path())
    with pytest.raises((errors.StateUnsupported, errors.CheckpointError), match=said):
        study.run(train_with(lambda trial: changed(build(trial)), []), workers=0, verbose=0)
    assert all(trial.end_step is None for trial in study.trials())


def test_own_files_are_a_warm_start_too(tmp_path):
    def train(trials):
        for trial in trials:
            before = 0.0 if trial.load_from is None else float((trial.load_from / "w").read_text())
            (trial.save_to / "w").write_text(str(before + 1))
            trial.report(score=before + 1 + trial["lr"], steps_done=2)

    first = make(tmp_path / "first.db", "first", population=1)
    first.run(train, workers=0, verbose=0)
    second = make(tmp_path / "second.db", population=1, warm_start=first.checkpoint_path())
    second.run(train, workers=0, verbose=0)
    assert [int(trial.score) for trial in second.trials()] == [3, 4]


def test_a_path_that_is_no_checkpoint_is_refused_and_nothing_is_stored(tmp_path):
    (tmp_path / "text").write_text("no checkpoint")
    for path in (tmp_path / "text", tmp_path / "missing", 7):
        with pytest.raises(errors.InvalidArgument, match=r"warm_start is .*checkpoint_path"):
            make(tmp_path / "second.db", warm_start=path)
    assert not (tmp_path / "second.db").exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_warm_start_ends_the_run(tmp_path, trained, workers):
    study = make(tmp_path / "second.db", warm_start=trained.checkpoint_path())
    (stored,) = (tmp_path / "second.checkpoints").iterdir()
    content = bytearray(stored.read_bytes())
    content[-1] ^= 1
    stored.write_bytes(content)
    with pytest.raises(errors.CheckpointDamaged):
        study.run(train_with(build, []), workers=workers, verbose=0)
    assert all(trial.failures == 0 and trial.end_step is None for trial in study.trials())
