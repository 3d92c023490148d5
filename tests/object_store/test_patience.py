"""How long a request to an object store is tried again: store_timeout, with growing pauses, and the reason is told."""

import random
import secrets

import pytest
from object_server import BUCKET, SECRET

pytest.importorskip("obstore", reason="obstore is not installed: make test-object-store")

from phyletic.checkpoints.object_blobs import ObjectBlobs
from phyletic.checkpoints.object_store import ObjectStore
from phyletic.errors import StoreUnreachable


class Clock:
    def __init__(self):
        self.now, self.pauses = 0.0, []

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(proxy, clock):
    address = f"s3://{BUCKET}/{secrets.token_hex(8)}"
    return ObjectStore(address, clock=lambda: clock.now, sleep=clock.sleep, draw=lambda: 0.0)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("503", "status 503, SlowDown"), ("expired", "ExpiredToken"), ("denied", "status 403"), ("hang up", "HTTP error")],
)
def test_no_try_begins_after_store_timeout(proxy, store, clock, fault, reason):
    proxy.fault = lambda method, path: fault
    with pytest.raises(StoreUnreachable, match=rf"tried for .* \(store_timeout=120\).*{reason}") as caught:
        store.put("key", b"content")
    assert 100 < clock.now <= 120
    assert clock.pauses[:4] == [0.1, 0.2, 0.4, 0.8]
    assert max(clock.pauses) == 15.0
    assert len(proxy.requests) == len(clock.pauses) + 1
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__, "the library's own text is not shown"


def test_a_new_token_is_read_from_the_environment(proxy, store, clock, monkeypatch):
    seen = []
    proxy.fault = lambda method, path: None if len(proxy.requests) > 1 else "expired"
    monkeypatch.setattr(
        store, "_open_store", lambda *given, known=store._open_store: seen.append(given) or known(*given)
    )
    store.put("key", b"content")
    assert len(seen) == 1
    assert store.get("key") == b"content"


def test_a_deletion_does_not_keep_the_owner_waiting(proxy, store, clock):
    blobs = ObjectBlobs(store)
    blobs.put([(f"{'a' * 32}.safetensors", [b"1"])])
    proxy.fault = lambda method, path: "503"
    with pytest.raises(StoreUnreachable):
        blobs.delete(["a" * 32])
    assert clock.now <= 5


def test_a_missing_bucket_is_no_missing_object(proxy, clock):
    store = ObjectStore("s3://no-such-bucket", clock=lambda: clock.now, sleep=clock.sleep)
    with pytest.raises(StoreUnreachable, match="NoSuchBucket"):
        store.get("key")


def test_a_request_leaves_the_random_state_of_training_code_alone(proxy):
    random.seed(0)
    before = random.getstate()
    store = ObjectStore(f"s3://{BUCKET}/{secrets.token_hex(8)}")
    assert store.create("object", b"bytes")
    proxy.next("503")
    assert store.get("object") == b"bytes"
    assert random.getstate() == before
