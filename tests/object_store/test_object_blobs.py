"""Checkpoints in object stores pass the suites that ship with the package."""

from __future__ import annotations

import json
import secrets
import shutil
import threading

import pytest
from object_server import BUCKET

obstore = pytest.importorskip("obstore", reason="obstore is not installed: make test-object-store")

from phyletic.checkpoints.cached_blobs import CachedBlobs  # noqa: E402
from phyletic.checkpoints.digest import digest_of_bytes  # noqa: E402
from phyletic.checkpoints.object_blobs import ObjectBlobs  # noqa: E402
from phyletic.checkpoints.object_store import ObjectStore, digest_of_part  # noqa: E402
from phyletic.testing.blobs import (  # noqa: E402
    BlobsConformance,
    CachedBlobsConformance,
    RemoteBlobsConformance,
)
from phyletic.testing.object_stores import ObjectBlobsConformance  # noqa: E402


class _Objects:
    """Damages the objects themselves, as a store that loses or changes bytes would."""

    one_kind = True

    def damage(self, blobs, key, change):
        raw = self.store()
        id, _, below = key.partition("/")
        id = id.partition(".")[0]
        manifest = json.loads(bytes(raw.get(f"{id}/manifest.json")))
        name = f"/{below}" if below else ".safetensors"
        if change == "add":
            name = name.rpartition("/")[0] + "/new"
            manifest["blobs"][name] = {"offset": 0, "size": 0, "digest": digest_of_bytes(b"")}
        elif change == "remove":
            if below:
                del manifest["blobs"][name]
            else:
                raw.delete([f"{id}/manifest.json"])
                return
        else:
            # as a writer would that had these bytes from the start; a part with a wrong digest is another test
            blob, part = manifest["blobs"][name], bytearray(raw.get(f"{id}/0"))
            end = blob["offset"] + blob["size"]
            part[end - 1] ^= change == "flip"
            blob["size"] -= change == "truncate"
            blob["digest"] = digest_of_bytes(bytes(part[blob["offset"] : blob["offset"] + blob["size"]]))
            manifest["parts"][0]["digest"] = digest_of_part(part)
            raw.put(f"{id}/0", bytes(part))
        raw.put(f"{id}/manifest.json", json.dumps(manifest).encode())


class TestObjectsInMemory(_Objects, BlobsConformance):
    @pytest.fixture(autouse=True)
    def _memory(self):
        self.memory = obstore.store.MemoryStore()

    def store(self):
        return ObjectStore("s3://memory", open_store=lambda address, timeout: self.memory)

    def make(self, tmp_path):
        return _Unaddressed(self.store(), part=100_000)


class TestObjectsInAFolder(_Objects, BlobsConformance):
    def store(self):
        return ObjectStore("s3://folder", open_store=lambda address, timeout: self.local)

    def make(self, tmp_path):
        self.local = obstore.store.LocalStore(tmp_path / "objects", mkdir=True, automatic_cleanup=True)
        return _Unaddressed(self.store(), part=100_000)


class _Unaddressed(ObjectBlobs):
    """Blobs of a store that no address leads to."""

    @property
    def address(self):
        from phyletic.errors import CheckpointError

        raise CheckpointError("no other process can reach it")


class _S3(_Objects):
    @pytest.fixture(autouse=True)
    def _server(self, proxy):
        self.proxy = proxy
        self.address = f"s3://{BUCKET}/{secrets.token_hex(8)}/runs"

    def store(self):
        return ObjectStore(self.address, sleep=lambda seconds: None)

    def fail(self, fault):
        self.proxy.next(fault)

    def fail_at(self, count, fault):
        self.begun, self.count = len(self.proxy.requests), count
        first, lock = self.begun + count, threading.Lock()
        left = [fault]

        def fail(method, path):
            with lock:
                return left.pop() if left and len(self.proxy.requests) > first else None

        self.proxy.fault = fail

    def failed(self):
        return len(self.proxy.requests) > self.begun + self.count

    def fail_always(self, fault):
        self.proxy.fault = lambda method, path: fault or None

    def skew(self, seconds):
        self.proxy.skew = seconds

    def ignore_conditions(self):
        self.proxy.unconditional = True

    def transferred(self):
        return self.proxy.sent


class TestS3(_S3, ObjectBlobsConformance):
    def make(self, tmp_path):
        return ObjectBlobs(self.store(), part=1 << 20)

    def impatient(self, tmp_path):
        return ObjectBlobs(ObjectStore(self.address, 0.2))


class TestCachedS3(_S3, CachedBlobsConformance, RemoteBlobsConformance):
    steps, publish_bytes = "objects.", 40 << 20

    def make(self, tmp_path, limit=10**9):
        self.folder = tmp_path / "cache"
        return CachedBlobs(ObjectBlobs(self.store(), part=1 << 20), self.folder, limit)

    def damage(self, blobs, key, change):
        super().damage(blobs, key, change)
        shutil.rmtree(self.folder)  # the cache would still have the sound bytes

    def spoil(self, key):
        path = self.folder / key
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
