"""A network file system that says ESTALE once: checkpoints are written and read all the same."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest

from phyletic.checkpoints import Checkpoints, FolderBlobs
from phyletic.errors import CheckpointError
from phyletic.failpoints import armed

_ID = "a" * 32


class _Stale:
    """Raises ESTALE at a step, as often as it is told."""

    def __init__(self, at, times=1):
        self.left, self.times = at, times

    def __call__(self, name=""):
        self.left -= 1
        if self.left < 0 and self.times:
            self.times -= 1
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))


class _Blobs(FolderBlobs):
    stale = staticmethod(lambda: None)

    def get(self, key):
        self.stale()
        return super().get(key)

    def exists(self, key):
        self.stale()
        return super().exists(key)


@pytest.mark.parametrize("own", [False, True])
def test_publishing_and_deleting_go_on_after_one_stale_handle(tmp_path, own):
    checkpoints = Checkpoints(FolderBlobs(tmp_path / "checkpoints"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "weights").write_bytes(bytes(100))
    for at in range(1000):
        stale = _Stale(at)
        with armed(stale):
            if own:
                reference = checkpoints.publish_folder(_ID, tmp_path / "mine")
            else:
                reference = checkpoints.publish(_ID, {"x": np.arange(10)})
        checkpoints.verify(reference)
        with armed(_Stale(at)):
            checkpoints.delete(_ID)
        assert checkpoints.ids() == []
        if stale.times:
            break
    assert at > 5


def test_reading_goes_on_after_one_stale_handle_and_not_after_two(tmp_path):
    blobs = _Blobs(tmp_path / "checkpoints")
    checkpoints = Checkpoints(blobs)
    reference = checkpoints.publish(_ID, {"x": 1})
    calls = (
        lambda: checkpoints.open(reference).close(),
        lambda: checkpoints.verify(reference),
        lambda: checkpoints.exists(_ID),
        lambda: checkpoints.path(_ID),
    )
    for call in calls:
        blobs.stale = _Stale(0)
        call()
        blobs.stale = _Stale(0, times=2)
        with pytest.raises(CheckpointError, match="cannot be read"):
            call()
