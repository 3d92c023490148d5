"""Damage to a checkpoint is found before the result of a trial that loaded it counts."""

from pathlib import Path

import numpy as np
import pytest

import phyletic as ph
from phyletic.errors import CheckpointDamaged
from phyletic.records import TrialState


def build(trial):
    return {"weights": [0.0] * 8}


def train(trials):
    for trial in trials.attach(build):
        trial.state.weights[0] += trial["lr"]
        trial.report(score=trial.state.weights[0])


def make(tmp_path, population=3, synchronous=True, **options):
    return ph.Study(
        "study",
        space={"lr": ph.Float(0.1, 1.0)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(population, 1, synchronous=synchronous),
        budget=ph.Budget(steps=4),
        storage=tmp_path / "study.db",
        seed=3,
        **options,
    )


def harm(path, how):
    content = bytearray(path.read_bytes())
    if how == "truncated":
        path.write_bytes(content[:-3])
    elif how == "flipped":
        content[-2] ^= 1
        path.write_bytes(content)
    else:
        path.unlink()


@pytest.mark.parametrize(
    ("how", "workers", "upload"),
    [
        ("truncated", 0, "before_tell"),
        ("flipped", 0, "before_tell"),
        ("missing", 0, "before_tell"),
        ("flipped", 2, "before_tell"),
        ("flipped", 0, "background"),
        ("flipped", 1, "background"),
        ("missing", 0, "background"),
    ],
)
@pytest.mark.parametrize("synchronous", [False, True])
def test_a_damaged_parent_is_replaced_by_the_other_head(tmp_path, capsys, how, workers, upload, synchronous):
    study = make(tmp_path, synchronous=synchronous)
    study.set_budget(ph.Budget(steps=2))
    train(study)
    tips = [max((t for t in study.trials() if t.member == m), key=lambda t: t.number) for m in range(3)]
    worst = min(tips, key=lambda trial: trial.score)
    middle = sorted(tips, key=lambda trial: trial.score)[1]
    harm(study.checkpoint_path(middle), how)
    study.set_budget(ph.Budget(steps=4))
    study.run(train, workers=workers, verbose=1, reload="always", upload=upload)
    trials = study.trials()
    (failed,) = [trial for trial in trials if trial.state is TrialState.FAILED]
    assert failed.parent == middle.number
    assert failed.failures == 0
    replacement = next(trial for trial in trials if trial.member == failed.member and trial.number > failed.number)
    assert replacement.parent != middle.number
    assert replacement.parent is not None
    assert all(t.parent != middle.number or t is failed for t in trials)
    assert {trial.member for trial in trials if trial.end_step == 4 and trial.state is TrialState.COMPLETED} == {
        0,
        1,
        2,
    }
    (event,) = [event for event in study.events() if event.kind == "trial given up"]
    assert event.payload["checkpoint"] == middle.checkpoint.id
    assert event.payload["parent"] == middle.number
    assert worst.number != middle.number
    # a parent is never changed
    assert study.trial(middle.number) == middle
    # the run prints both: the damaged checkpoint and the trial that takes its place
    said = capsys.readouterr().err
    assert str(Path(study.checkpoints.location) / middle.checkpoint.id) in said
    assert f"warning: the checkpoint of trial {middle.number} is damaged, so trial {failed.number} of member" in said
    assert f"trial {replacement.number} takes its place and starts from trial {replacement.parent}" in said


def test_with_no_other_head_and_no_donor_a_member_starts_afresh(tmp_path, capsys):
    study = make(tmp_path, population=1)
    study.set_budget(ph.Budget(steps=1))
    train(study)
    harm(study.checkpoint_path(0), "flipped")
    study.set_budget(ph.Budget(steps=2))
    study.run(train, workers=0, verbose=1, reload="always")
    first, failed, fresh, last = study.trials()
    assert f"trial {fresh.number} takes its place and starts from the beginning" in capsys.readouterr().err
    assert failed.state is TrialState.FAILED
    assert fresh.parent is None
    assert fresh.decision.kind == "rescue"
    assert last.parent == fresh.number
    assert first.checkpoint is not None


def test_a_pinned_checkpoint_is_kept_even_if_it_is_damaged(tmp_path):
    study = make(tmp_path, population=1)
    study.set_budget(ph.Budget(steps=1))
    train(study)
    study.pin(0)
    path = study.checkpoint_path(0)
    harm(path, "flipped")
    study.set_budget(ph.Budget(steps=2))
    study.run(train, workers=0, verbose=0, reload="always")
    assert study.trial(1).state is TrialState.FAILED
    assert path.exists()


@pytest.mark.parametrize("damaged", [1, 2])
@pytest.mark.parametrize("reopened", [False, True])
def test_a_lone_member_continues_from_its_other_head_or_starts_afresh_if_both_are_damaged(tmp_path, damaged, reopened):
    study = make(tmp_path, population=1)
    study.set_budget(ph.Budget(steps=3))
    train(study)
    heads = study.trials()[1:]
    for head in heads[-damaged:]:
        harm(study.checkpoint_path(head), "flipped")
    if reopened:
        study.close()
        study = ph.Study("study", storage=tmp_path / "study.db")
    study.set_budget(ph.Budget(steps=4))
    study.run(train, workers=0, verbose=0, reload="always")
    failed, others = study.trials()[3 : 3 + damaged], study.trials()[3 + damaged :]
    assert [(trial.state, trial.parent) for trial in failed] == [
        (TrialState.FAILED, head.number) for head in reversed(heads[-damaged:])
    ]
    assert others[0].parent == (heads[0].number if damaged == 1 else None)
    assert others[0].start_step == (2 if damaged == 1 else 0)
    assert {trial.state for trial in others} == {TrialState.COMPLETED}
    assert others[-1].end_step == 4
    assert study.trials()[:3] == [study.trial(0), *heads]


def train_arrays(trials):
    for trial in trials.attach(lambda trial: {"weights": np.zeros(4096)}):
        trial.state.weights += trial["lr"]
        trial.report(score=float(trial.state.weights[0]))


def train_files(trials):
    for trial in trials:
        start = 0.0 if trial.newborn else np.load(trial.load_from / "weights.npy")[0]
        np.save(trial.save_to / "weights.npy", np.full(4096, start + trial["lr"]))
        trial.report(score=float(start + trial["lr"]))


def train_functions(trials):
    def save(state, folder):
        np.save(folder / "weights.npy", state.weights)

    def load(state, folder):
        state.weights = np.load(folder / "weights.npy")

    for trial in trials.attach(lambda trial: {"weights": np.zeros(4096)}, save=save, load=load):
        trial.state.weights += trial["lr"]
        trial.report(score=float(trial.state.weights[0]))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("train", [train_arrays, train_files, train_functions])
@pytest.mark.parametrize("how", ["flipped", "truncated"])
def test_damage_that_only_the_digest_shows_is_found_before_the_result_counts(tmp_path, train, workers, how):
    """A flipped bit in a weight loads without an error; a load that fails must not count as a failure of the code."""
    study = make(tmp_path, population=1)
    study.set_budget(ph.Budget(steps=2))
    study.run(train, workers=workers, verbose=0)
    path = study.checkpoint_path(1)
    path = path / "weights.npy" if path.is_dir() else path
    harm(path, how)
    with pytest.raises(CheckpointDamaged):
        study.restore(1)
    study.set_budget(ph.Budget(steps=3))
    study.run(train, workers=workers, verbose=0, reload="always")
    _, _, failed, *others = study.trials()
    assert (failed.state, failed.parent, failed.score, failed.checkpoint) == (TrialState.FAILED, 1, None, None)
    assert (failed.attempts, failed.failures) == (1, 0)
    assert [trial.parent for trial in others] == [0, others[0].number]
    lr = [trial.hyperparameters["lr"] for trial in others]
    assert others[-1].score == pytest.approx(study.trial(0).score + sum(lr))
