"""Checkpoint stores: folders that are removed, sent to other processes or reached through links."""

import os
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import phyletic as ph
from phyletic.checkpoints import Checkpoints, FolderBlobs, MemoryBlobs, blobs_at
from phyletic.errors import CheckpointError, InvalidArgument, MissingDependency
from phyletic.failpoints import armed

ID = "a" * 32


@pytest.fixture
def store(tmp_path):
    return Checkpoints(FolderBlobs(tmp_path / "checkpoints"))


def test_deleting_from_an_unused_store_creates_no_folder(store):
    store.delete(ID)
    store.sync()
    assert store.ids() == []
    assert not Path(store.location).exists()


def test_a_store_recreates_its_removed_folder(store):
    store.publish(ID, {"x": 1})
    shutil.rmtree(store.location)
    store.verify(store.publish(ID, {"x": 1}))


def test_a_store_can_be_sent_to_another_process(store):
    reference = store.publish(ID, {"x": 1})
    pickle.loads(pickle.dumps(store)).verify(reference)
    Checkpoints(blobs_at(store.address)).verify(reference)


def test_the_store_may_be_reached_through_a_link(store, tmp_path):
    (tmp_path / "real").mkdir()
    Path(store.location).symlink_to(tmp_path / "real")
    for folder in (store.staging(ID), store.staging(ID).resolve()):
        (folder / "file").touch()
        store.verify(store.publish_folder(ID, folder))


def test_files_of_others_in_the_folder_are_left_alone(store):
    store.publish(ID, {"x": 1})
    names = {"note", "note.txt", "a.b.c.d", "staging"}
    for name in names:
        (Path(store.location) / name).touch()
    assert store.ids() == [ID]
    store.delete(ID)
    assert {path.name for path in Path(store.location).iterdir()} == names


def test_a_folder_name_may_be_any_bytes(tmp_path):
    folder = tmp_path / os.fsdecode(b"odd\xff ?#%")
    for durable in (True, False):
        blobs = FolderBlobs(folder, durable)
        assert blobs.location == str(folder)
        assert vars(blobs_at(blobs.address)) == vars(blobs)


@pytest.mark.parametrize("address", ["", "checkpoints", "ftp://bucket", "s3:/bucket", "volatile:checkpoints"])
def test_an_unknown_address_is_refused(address):
    with pytest.raises(InvalidArgument, match="address"):
        blobs_at(address)


def test_an_object_store_without_its_library_names_the_extra_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(MissingDependency, match=r"phyletic\[object-store\]"):
        ph.Study(
            "study", space={"lr": ph.Float(0, 1)}, metric="score", mode="max", algorithm=ph.PBT(2, 2),
            storage=tmp_path / "study.db", checkpoints="s3://bucket/prefix",
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_memory_has_no_address():
    with pytest.raises(CheckpointError, match="use a folder"):
        _ = Checkpoints(MemoryBlobs()).address


def test_only_durable_blobs_wait_for_the_disk(tmp_path):
    (tmp_path / "mine" / "inner").mkdir(parents=True)
    (tmp_path / "mine" / "file").touch()
    for durable in (True, False):
        # as in a worker process
        store = Checkpoints(blobs_at(FolderBlobs(tmp_path / f"{durable}", durable).address))
        passed = []
        with armed(passed.append):
            store.publish(ID, {"x": np.arange(3)})
            store.publish_folder("b" * 32, tmp_path / "mine")
            (store.staging("c" * 32) / "file").touch()
            store.publish_folder("c" * 32, store.path("b" * 32))
            store.delete(ID)
            store.sync()
        assert "disk.rename.after" in passed
        assert any("fsync" in name for name in passed) == durable


PUBLISH = {
    "state": lambda store, mine: store.publish(ID, {"x": 1}),
    "folder": lambda store, mine: store.publish_folder(ID, mine),
    "staged": lambda store, mine: store.publish_folder(ID, store.staging(ID)),
}


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the names of open files")
@pytest.mark.parametrize("kind", PUBLISH)
def test_publishing_syncs_every_new_folder_above_a_checkpoint(tmp_path, monkeypatch, kind):
    forced = set()
    fsync = os.fsync

    def note(descriptor):
        forced.add(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    (tmp_path / "mine").mkdir()
    store = Checkpoints(FolderBlobs(tmp_path / "a" / "b"))
    PUBLISH[kind](store, tmp_path / "mine")
    within = set() if kind == "state" else {Path(store.location, ID), Path(store.location, ID, "files")}
    assert {path for path in forced if path.is_dir()} == {tmp_path, tmp_path / "a", tmp_path / "a" / "b"} | within


def save(state, folder):
    (folder / "weights").write_text(repr(state.weights))


def load(state, folder):
    state.weights = eval((folder / "weights").read_text())


@pytest.mark.parametrize("files", [{}, {"save": save, "load": load}])
def test_workers_of_a_study_in_memory_never_wait_for_the_disk(files):
    def train(trials):
        for trial in trials.attach(lambda trial: {"weights": [0.0]}, **files):
            for _ in trial.range():
                trial.state.weights = [trial.state.weights[0] + trial["lr"]]
            trial.report(score=trial.state.weights[0])

    study = ph.Study(
        "study",
        space={"lr": ph.Float(0.1, 1.0)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(2, 1),
        budget=ph.Budget(steps=3),
        seed=0,
    )
    passed = []
    # a worker that calls fsync on a file or folder is killed, and loses its trial
    for name in ("disk.fsync.before", "disk.fsync_folder.before"):
        study.set_budget(ph.Budget(steps=3 if name == "disk.fsync.before" else 6))
        with armed(passed.append):
            study.run(train, workers=1, environment={"PHYLETIC_FAILPOINT": name}, verbose=0)
    assert [name for name in passed if "fsync" in name] == []
    assert len(study.trials()) >= 6
    assert {(trial.losses, trial.failures) for trial in study.trials()} == {(0, 0)}
