"""A failing or full disk at any point of a publication gives a typed error and leaves nothing half-written."""

import errno
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from phyletic.checkpoints import Checkpoints, FolderBlobs
from phyletic.errors import CheckpointError
from phyletic.failpoints import armed

ID, OTHER = "a" * 32, "b" * 32
STATE = {"x": np.arange(400_000), "y": [1, 2]}


@pytest.fixture
def store(tmp_path):
    (tmp_path / "mine" / "inner").mkdir(parents=True)
    (tmp_path / "mine" / "inner" / "weights").write_bytes(bytes(1000))
    return Checkpoints(FolderBlobs(tmp_path / "checkpoints"))


def publish_staged(store):
    staged = store.staging(ID)
    (staged / "weights").write_bytes(bytes(1000))
    return store.publish_folder(ID, staged)


PUBLICATIONS = {
    "state": lambda store: store.publish(ID, STATE),
    "folder": lambda store: store.publish_folder(ID, Path(store.location).parent / "mine"),
    "staged": publish_staged,
}


AGAIN = {"staged": lambda store: store.publish_folder(ID, store.path(ID))}


class FailingDisk:
    """Raises an error at the nth failpoint."""

    def __init__(self, nth, number):
        self.left, self.number, self.name = nth, number, None

    def __call__(self, name):
        self.left -= 1
        if self.left == 0:
            self.name = name
            raise OSError(self.number, os.strerror(self.number))


def outcome(disk, action):
    """Call an action; return (its result, None), or (None, its error)."""
    with armed(disk):
        try:
            return action(), None
        except CheckpointError as error:
            return None, error


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("kind", PUBLICATIONS)
def test_each_failing_step_is_a_typed_error_and_leaves_nothing_half_written(store, kind, number):
    store.publish(OTHER, {"x": 1})  # makes the folders
    names = set()
    for nth in range(1, 1000):
        disk = FailingDisk(nth, number)
        reference, error = outcome(disk, lambda: PUBLICATIONS[kind](store))
        if error is None:
            break
        assert os.strerror(number) in str(error)
        assert ID in str(error)
        names.add(disk.name)
        if kind == "staged" and not store.exists(ID):
            store.delete(ID)  # the store keeps files that a user wrote, for another try
        assert store.ids() in ([OTHER], [ID, OTHER] if store.exists(ID) else None), disk.name
        assert [path for path in Path(store.location).iterdir() if path.suffix == ".part"] == []
        if store.exists(ID):
            # complete, but perhaps not durable; publishing again makes it durable
            assert disk.name.startswith(("disk.fsync_folder", "disk.rename.after"))
            store.verify(AGAIN.get(kind, PUBLICATIONS[kind])(store))
            store.delete(ID)
    store.verify(reference)
    steps = {"create", "write", "fsync", "rename", "fsync_folder"} | ({"mkdir"} if kind != "state" else set())
    assert names >= {f"disk.{step}.{when}" for step in steps for when in ("before", "after")}


def test_an_interrupted_publication_leaves_nothing(store):
    def interrupt(name):
        if name == "disk.write.after":
            raise KeyboardInterrupt

    with armed(interrupt), pytest.raises(KeyboardInterrupt):
        store.publish(ID, {"large": np.zeros(10_000_000, np.uint8)})
    assert not store.exists(ID)
    assert store.ids() == []
    assert list(Path(store.location).iterdir()) == []
    assert [thread.name for thread in threading.enumerate() if "digest" in thread.name] == []


def test_a_root_folder_that_cannot_be_created_is_a_typed_error(tmp_path):
    (tmp_path / "file").touch()
    store = Checkpoints(FolderBlobs(tmp_path / "file" / "checkpoints"))
    for use in (lambda: store.publish(ID, {"x": 1}), lambda: store.staging(ID)):
        with pytest.raises(CheckpointError, match=str(tmp_path)):
            use()


def test_a_failing_deletion_is_a_typed_error_and_can_be_repeated(store):
    store.publish(ID, {"x": 1})
    for nth in range(1, 100):
        _, error = outcome(FailingDisk(nth, errno.EIO), lambda: store.delete(ID))
        if error is None:
            break
        assert os.strerror(errno.EIO) in str(error)
    assert nth > 2
    assert not store.exists(ID)
