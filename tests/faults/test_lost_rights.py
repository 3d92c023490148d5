"""Access to the checkpoint folder is lost and comes back, as after an expired ticket or an admin's mistake."""

from pathlib import Path

import pytest
from click.testing import CliRunner

import phyletic as ph
from phyletic.checkpoints import Checkpoints, FolderBlobs
from phyletic.cli import main
from phyletic.errors import CheckpointError
from phyletic.failpoints import armed
from phyletic.testing.example import facts

pytestmark = pytest.mark.usefixtures("rights_bind")


def build(trial):
    return {"weights": [0.0]}


def packed(trials):
    for trial in trials.attach(build):
        for _ in trial.range():
            trial.state.weights = [trial.state.weights[0] + trial["lr"]]
        trial.report(score=trial.state.weights[0])


def save(state, folder):
    (folder / "weights").write_text(repr(state.weights))


def load(state, folder):
    state.weights = [float((folder / "weights").read_text().strip("[]"))]


def folders(trials):
    for trial in trials.attach(build, save=save, load=load):
        for _ in trial.range():
            trial.state.weights = [trial.state.weights[0] + trial["lr"]]
        trial.report(score=trial.state.weights[0])


def make(folder, steps=4):
    return ph.Study(
        "study", space={"lr": ph.Float(0.1, 1.0)}, metric="score", mode="max", seed=0, storage=folder / "study.db",
        algorithm=ph.PBT(3, 1, synchronous=True), budget=ph.Budget(steps=steps),
    )  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    def run(train):
        study = make(tmp_path_factory.mktemp("undisturbed"))
        study.run(train, verbose=0)
        return facts(study)

    return {train: run(train) for train in (packed, folders)}


def check_refused(use):
    with pytest.raises(CheckpointError, match="Permission denied") as caught:
        use()
    assert type(caught.value) is CheckpointError


@pytest.mark.parametrize(("train", "closing"), [(packed, "all"), (folders, "all"), (folders, "the best")])
def test_an_inaccessible_checkpoint_is_neither_missing_nor_damaged(tmp_path, closed, undisturbed, train, closing):
    study = make(tmp_path, steps=2)
    study.run(train, verbose=0)
    best, root = study.best, Path(study.checkpoints.location)
    study = make(tmp_path)
    study.close()
    closed(root if closing == "all" else root / best.checkpoint.id)
    for use in (
        study.restore,
        study.checkpoint_path,
        lambda: study.checkpoints.exists(best.checkpoint.id),
        lambda: study.checkpoints.open(best.checkpoint),
        lambda: study.checkpoints.verify(best.checkpoint),
        lambda: study.run(train, verbose=0),
    ):
        check_refused(use)
    shown = CliRunner().invoke(main, ["best", "study", "--storage", str(tmp_path / "study.db")])
    assert shown.exit_code == 0
    assert shown.output.splitlines()[-1].startswith("checkpoint: ")
    assert "Permission denied" in shown.output
    closed.open()
    assert all((trial.failures, trial.losses) == (0, 0) for trial in study.trials())
    study.run(train, verbose=0)
    assert facts(study) == undisturbed[train]


@pytest.mark.parametrize("train", [packed, folders])
@pytest.mark.parametrize("commits", [6, 8, 11])
def test_access_lost_while_a_study_runs_counts_against_no_trial(tmp_path, closed, undisturbed, train, commits):
    study = make(tmp_path)
    left = commits

    def close_after_some_commits(name):
        nonlocal left
        left -= name == "storage.commit.after"
        if left == 0:
            left = -1
            closed(Path(study.checkpoints.location))

    with armed(close_after_some_commits):
        check_refused(lambda: study.run(train, verbose=0))
    closed.open()
    assert all((trial.failures, trial.losses) == (0, 0) for trial in study.trials())
    study.run(train, verbose=0)
    assert facts(study) == undisturbed[train]


def test_a_run_ends_well_even_if_the_best_checkpoint_is_inaccessible(tmp_path, closed, capsys):
    study = make(tmp_path)

    def close_at_the_end(name):
        if name == "storage.commit.before" and study.status().trials.get("completed") == 12:
            closed(Path(study.checkpoints.location))

    with armed(close_at_the_end):
        study.run(packed, verbose=1)
    assert study.status().state == "finished"
    assert "checkpoint: " in capsys.readouterr().err


def test_a_denied_deletion_or_copy_is_reported(tmp_path, closed):
    store = Checkpoints(FolderBlobs(tmp_path / "a" / "checkpoints"))
    reference = store.publish("0" * 32, {"x": 1})
    (tmp_path / "mine" / "inside").mkdir(parents=True)
    closed(tmp_path / "mine")
    check_refused(lambda: store.publish_folder("1" * 32, tmp_path / "mine" / "inside"))
    closed(tmp_path / "a")
    check_refused(lambda: store.delete("0" * 32))
    check_refused(lambda: store.publish("2" * 32, {"x": 1}))
    check_refused(store.ids)
    closed.open()
    assert store.ids() == ["0" * 32]
    store.verify(reference)
