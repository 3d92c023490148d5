"""Checkpoints of files that a user wrote."""

import json
import os
import shutil
from pathlib import Path

import pytest

from phyletic.checkpoints import Checkpoints, FolderBlobs
from phyletic.checkpoints.comparison import difference
from phyletic.errors import CheckpointDamaged, CheckpointError, InvalidArgument
from phyletic.failpoints import armed

ID, OTHER = "a" * 32, "b" * 32


@pytest.fixture
def store(tmp_path):
    return Checkpoints(FolderBlobs(tmp_path / "checkpoints"))


@pytest.fixture
def mine(tmp_path):
    folder = tmp_path / "mine"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "weights.bin").write_bytes(os.urandom(10_000_000))
    (folder / "é ü.txt").write_text("text")
    return folder


def test_the_manifest_names_every_file_and_comes_last(store, mine):
    written = []
    store.publish(OTHER, {"x": 1})  # makes the store's own folder
    with armed(lambda name: written.append((name, sorted(path.name for path in Path(store.location).rglob("*"))))):
        reference = store.publish_folder(ID, mine)
    manifest = json.loads((store.path(ID).parent / "manifest.json").read_text())
    assert set(manifest["files"]) == {"inner/weights.bin", "é ü.txt"}
    assert manifest["files"]["inner/weights.bin"]["size"] == 10_000_000
    assert manifest["files"]["inner/weights.bin"]["digest"].startswith("sha256:")
    assert reference.size == 10_000_004 + (store.path(ID).parent / "manifest.json").stat().st_size
    before_manifest = [names for _, names in written if "manifest.json" not in names]
    assert {"weights.bin", "é ü.txt"} <= set(before_manifest[-1])
    assert [name for name, _ in written][-6:] == [
        "disk.rename.before",
        "disk.rename.after",
        *(f"disk.fsync_folder.{when}" for _ in range(2) for when in ("before", "after")),
    ]


def test_every_file_and_folder_is_forced_onto_the_disk(store, mine):
    for publish in (lambda: store.publish_folder(ID, mine), lambda: publish_staged(store, OTHER)):
        store.publish("c" * 32, {"x": 1})  # makes the store's own folders
        passed = []
        with armed(passed.append):
            publish()
        files, folders = 2 + 1, 2 + 1 + 1  # the user's and the manifest; the user's, the checkpoint's and the root
        assert passed.count("disk.fsync.after") == files
        assert passed.count("disk.fsync_folder.after") == folders


def publish_staged(store, id):
    staged = store.staging(id)
    (staged / "inner").mkdir()
    (staged / "inner" / "a").write_text("a")
    (staged / "b").write_text("b")
    return store.publish_folder(id, staged)


def test_a_folder_staged_for_another_checkpoint_is_copied(store, mine, tmp_path):
    other_id = store.staging(OTHER)
    other_store = Checkpoints(FolderBlobs(tmp_path / "others")).staging(ID)
    for folder in (other_id, other_store):
        (folder / "a").write_text("a")
        store.verify(store.publish_folder(ID, folder))
        assert store.path(ID) != folder
        assert folder.exists()
        store.delete(ID)


def test_a_part_of_the_staged_folder_is_refused_and_kept(store):
    staged = store.staging(ID)
    (staged / "inner").mkdir()
    for folder in (staged / "inner", staged.parent):
        with pytest.raises(InvalidArgument, match="lies in this one"):
            store.publish_folder(ID, folder)
    assert (staged / "inner").exists()


def test_a_path_that_is_not_a_folder_is_refused_before_anything_is_written(store, mine):
    for folder in (mine / "nowhere", mine / "é ü.txt"):
        with pytest.raises(InvalidArgument, match="a folder that exists"):
            store.publish_folder(ID, folder)
    assert not Path(store.location).exists()


def test_a_folder_that_holds_the_store_is_refused(store, tmp_path):
    with pytest.raises(InvalidArgument, match="neither holds the checkpoints"):
        store.publish_folder(ID, tmp_path)


def test_file_names_that_are_not_utf8_are_refused(store, mine):
    with (mine / os.fsdecode(b"odd\xff")).open("w"):
        pass
    with pytest.raises(InvalidArgument, match="UTF-8"):
        store.publish_folder(ID, mine)


def test_a_link_to_the_folder_itself_is_followed(store, mine, tmp_path):
    (tmp_path / "latest").symlink_to(mine)
    store.publish_folder(ID, tmp_path / "latest")
    assert (store.path(ID) / "é ü.txt").read_text() == "text"


def test_files_are_not_restored_into_a_state(store, mine):
    with store.open(store.publish_folder(ID, mine)) as checkpoint, pytest.raises(CheckpointError, match="load="):
        checkpoint.restore({})


def test_difference_names_files(store, mine):
    first = store.publish_folder(ID, mine)
    (mine / "é ü.txt").write_text("other")
    (mine / "new").touch()
    second = store.publish_folder(OTHER, mine)
    assert difference(store, first, first) == []
    assert difference(store, first, second) == ["new", "é ü.txt"]
    assert difference(store, first, store.publish("c" * 32, {"x": 1})) == ["inner/weights.bin", "x", "é ü.txt"]


def test_another_intact_checkpoint_in_its_place_is_damage(store, mine):
    """Every file matches its manifest; only the reference shows that it is another manifest."""
    reference = store.publish_folder(ID, mine)
    (mine / "é ü.txt").write_text("tale")
    other = store.publish_folder(OTHER, mine)
    assert other.size == reference.size
    shutil.rmtree(store.path(ID).parent)
    shutil.copytree(store.path(OTHER).parent, Path(store.location) / ID)
    for use in (store.verify, store.open):
        with pytest.raises(CheckpointDamaged):
            use(reference)
