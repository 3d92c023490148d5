"""The blob stores of phyletic pass the suite that ships with the package."""

import shutil

import pytest
from checkpoint_server import serving

from phyletic.checkpoints import FolderBlobs, MemoryBlobs
from phyletic.checkpoints.cached_blobs import CachedBlobs
from phyletic.checkpoints.http_blobs import HttpBlobs
from phyletic.testing.blobs import BlobsConformance, CachedBlobsConformance, RemoteBlobsConformance


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


class _WithServer:
    """Serves a folder; deletions and damage happen in the folder itself, as the owner's deletions do."""

    steps = "disk.create"

    @pytest.fixture(autouse=True)
    def _server(self, tmp_path, monkeypatch):
        with serving(tmp_path / "server") as self.server:
            monkeypatch.setenv("PHYLETIC_TOKEN", self.server.token())
            monkeypatch.setenv("PHYLETIC_CACHE", str(tmp_path / "cache"))
            yield

    def remote(self):
        owner = self.server.folder

        class Blobs(HttpBlobs):
            def delete(self, keys):
                for key in keys:
                    owner.delete([key])
                    shutil.rmtree(self.staging(key), ignore_errors=True)

        return self.server.blobs(Blobs, role="admin")  # who alone may list all names

    def damage(self, blobs, key, change):
        super().damage(self.server.folder, key, change)

    def fail(self, fault):
        faults = [fault]
        self.server.fault = lambda method: faults.pop() if faults else None

    def transferred(self):
        return self.server.sent


class TestHttpBlobs(_WithServer, RemoteBlobsConformance):
    def make(self, tmp_path):
        return self.remote()


class TestCachedHttpBlobs(_WithServer, CachedBlobsConformance, RemoteBlobsConformance):
    def make(self, tmp_path, limit=10**9):
        self.folder = tmp_path / "cache"
        return CachedBlobs(self.remote(), self.folder, limit)

    def damage(self, blobs, key, change):
        super().damage(blobs, key, change)
        shutil.rmtree(self.folder)  # the cache would still have the sound bytes

    def spoil(self, key):
        path = self.folder / key
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
