"""The local store passes what every store has to pass."""

from phyletic.checkpoints import LocalCheckpoints
from phyletic.testing.checkpoint_stores import CheckpointStoreConformance


class TestLocalCheckpoints(CheckpointStoreConformance):
    def make(self, tmp_path):
        return LocalCheckpoints(tmp_path / "checkpoints")
