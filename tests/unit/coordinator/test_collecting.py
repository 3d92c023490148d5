"""A checkpoint is condemned, then deleted, then recorded as collected; each step is durable before the next begins."""

from pathlib import Path

import pytest

import phyletic as ph
from phyletic.coordinator.messages import Control
from phyletic.errors import StorageBusy
from phyletic.failpoints import armed
from phyletic.records import CheckpointState
from phyletic.storage import queries


def make(storage):
    return ph.Study(
        "study",
        space={"lr": ph.Float(0.1, 1.0)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(3, 1),
        budget=ph.Budget(steps=1000),
        storage=storage,
        seed=0,
    )


def tell(study):
    trial = study.ask()
    return study.tell(trial, score=trial["lr"], checkpoint={"w": [trial.number]})


@pytest.mark.parametrize("trials", [12, 60])  # fewer and more than one batch of confirmations
def test_a_checkpoint_is_deleted_only_after_it_is_condemned_and_recorded_only_after_it_is_gone(tmp_path, trials):
    study = make(tmp_path / "a.db")
    published: set[str] = set()
    gone_for_good: set[str] = set()
    collected: set[str] = set()

    def ids(*states):
        with study.database.read() as connection:
            stored = queries.load_study(connection, study.name)
            return {row.id for row in queries.checkpoints(connection, stored.id, states)}

    def there():
        return {path.stem for path in Path(study.checkpoints.location).glob("*.safetensors")}

    def watch(name):
        nonlocal published
        if name == "disk.rename.after":
            published |= there()
        elif name == "disk.unlink.after":
            missing = published - there()
            assert missing <= ids(CheckpointState.CONDEMNED, CheckpointState.COLLECTED)
        elif name == "disk.fsync_folder.after":
            gone_for_good.update(published - there())
        elif name == "storage.commit.after":
            collected.update(ids(CheckpointState.COLLECTED))
            assert collected <= gone_for_good

    with armed(watch):
        for _ in range(trials):
            tell(study)
        study.close()
    assert collected == published - there()
    assert len(collected) > trials // 3
    assert there() == ids(CheckpointState.DURABLE)


def test_a_checkpoint_is_durable_before_its_result_and_a_result_before_its_acknowledgement(tmp_path):
    """The order of the syncs is: the checkpoint's bytes, its name, then the commit that refers to it."""
    study = make(tmp_path / "a.db")
    study.ask()  # the owner begins and creates the folders
    tell(study)
    trial = study.ask()
    passed = []

    def note(name):
        writer = study.database._writer
        synced = "" if writer is None or not name.startswith("storage.commit") else _synchronous(writer)
        passed.append(name + synced)

    with armed(note):
        study.tell(trial, score=1.0, checkpoint={"w": [0.0]})
    order = [
        "disk.write.after",
        "disk.fsync.after",
        "disk.rename.before",
        "disk.fsync_folder.after",
        "coordinator.decided",
        "storage.commit.before, synced",
        "storage.commit.after, synced",
    ]
    assert [name for name in passed if name in order] == order
    study.close()


def _synchronous(writer):
    level = writer.connection.driver_connection.execute("PRAGMA synchronous").fetchone()[0]
    return ", synced" if level >= 2 else ", not synced"


def test_the_parent_of_an_open_trial_is_kept_until_the_trial_has_ended(tmp_path):
    study = ph.Study(
        "study",
        space={"lr": ph.Float(0.1, 1.0)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(2, 1, exploit=ph.Truncation(0.5)),
        budget=ph.Budget(steps=100),
        storage=tmp_path / "a.db",
        seed=0,
    )
    for score in (0.0, 1.0):
        study.tell(study.ask(), score=score, checkpoint={"w": [score]})
    held = study.ask()
    assert (held.member, held.parent, held.record.decision.kind) == (0, 1, "exploit")
    # the donor goes on and improves each time, so only the open trial needs the inherited checkpoint
    for score in (2.0, 3.0, 4.0, 5.0):
        trial = study.ask()
        assert trial.member == 1
        study.tell(trial, score=score, checkpoint={"w": [score]})
    assert not study.checkpoints.exists(study.trial(trial.number - 2).checkpoint.id)
    study.fail(held, "it is to be tried again")
    study.close()
    again = study.ask()
    assert (again.number, again.parent) == (held.number, 1)
    assert study.restore(1) == {"w": [1.0]}
    assert again.load_from.exists()
    study.tell(again, score=0.5, checkpoint={"w": [0.5]})
    assert not study.checkpoints.exists(study.trial(1).checkpoint.id)
    study.close()


def test_a_reopened_study_does_not_rely_on_checkpoints_of_removed_members(tmp_path):
    def tell(study, trial, score):
        study.tell(trial, {"score": score}, checkpoint={"w": [score]})

    options = {"space": {"lr": ph.Float(0, 1)}, "metric": "score", "mode": "max", "seed": 0}
    study = ph.Study("out", algorithm=ph.PBT(3, 1), budget=ph.Budget(trials=20), storage=tmp_path / "a.db", **options)
    for trial, score in zip(study.ask(count=3), (1.0, 2.0, 9.0), strict=True):
        tell(study, trial, score)
    study.resize(2)
    assert study.checkpoints.exists(study.trial(2).checkpoint.id)  # it is the best trial
    study.close()
    with ph.Study("out", storage=tmp_path / "a.db") as again:
        tell(again, again.ask(), 20.0)
        assert not again.checkpoints.exists(again.trial(2).checkpoint.id)
        again.owner.execute([Control(keep_best=3)])
        assert all(again.checkpoints.exists(trial.checkpoint.id) for trial in again.owner.state.best)


def test_an_owner_begins_even_if_it_cannot_look_up_abandoned_checkpoints(tmp_path, monkeypatch):
    study = make(tmp_path / "a.db")

    def fail(connection, study_id, ids):
        raise StorageBusy("the disk is failing")

    monkeypatch.setattr(queries, "given_up", fail)
    tell(study)
    assert study.owner.begun
    study.close()
    assert not study.database.owned
