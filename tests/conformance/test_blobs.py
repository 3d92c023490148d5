"""The blob stores of phyletic pass the suite that ships with the package."""

import pytest

from phyletic.checkpoints import FolderBlobs, MemoryBlobs
from phyletic.testing.blobs import BlobsConformance


class TestFolderBlobs(BlobsConformance):
    def make(self, tmp_path):
        return FolderBlobs(tmp_path / "checkpoints")


class TestVolatileFolderBlobs(BlobsConformance):
    def make(self, tmp_path):
        return FolderBlobs(tmp_path / "checkpoints", durable=False)


class TestMemoryBlobs(BlobsConformance):
    @pytest.fixture(autouse=True)
    def _memory(self):
        self.memory = MemoryBlobs()

    def make(self, tmp_path):
        return self.memory
