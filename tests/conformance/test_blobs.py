"""What ships passes the suites for blobs, and for checkpoints on them."""

import pytest

from phyletic.checkpoints import FolderBlobs, MemoryBlobs
from phyletic.testing.blobs import BlobsConformance, CheckpointsConformance


def folder(self, tmp_path):
    return FolderBlobs(tmp_path / "checkpoints")


def volatile_folder(self, tmp_path):
    return FolderBlobs(tmp_path / "checkpoints", durable=False)


class TestFolderBlobs(BlobsConformance):
    make = folder


class TestVolatileFolderBlobs(BlobsConformance):
    make = volatile_folder


class TestMemoryBlobs(BlobsConformance):
    def make(self, tmp_path):
        return MemoryBlobs()


class TestCheckpointsInAFolder(CheckpointsConformance):
    make = folder


class TestCheckpointsInMemory(CheckpointsConformance):
    @pytest.fixture(autouse=True)
    def shared(self):
        self.blobs_in_memory = MemoryBlobs()

    def make(self, tmp_path):
        return self.blobs_in_memory
