"""Any change to the bytes of a checkpoint is reported as damage, by a typed error."""

import json

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from phyletic.checkpoints import Checkpoints, FolderBlobs
from phyletic.checkpoints.digest import digest_of_file
from phyletic.errors import CheckpointDamaged, CheckpointError
from phyletic.records import CheckpointReference

ID = "a" * 32
STATE = {"x": np.arange(5.0), "rng": np.random.default_rng(0), "tree": {"a": [1, 2.5, (b"ab", "text")], 7: 1 + 2j}}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Checkpoints(FolderBlobs(tmp_path_factory.mktemp("checkpoints")))


@pytest.fixture(scope="module")
def published(store):
    reference = store.publish(ID, STATE)
    return reference, store.path(ID).read_bytes()


def restore_and_verify(store, reference):
    with store.open(reference) as checkpoint:
        checkpoint.restore({})
        checkpoint.verify()


@given(data=st.data())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_changed_bit_is_damage(store, published, data):
    reference, content = published
    place = data.draw(st.integers(0, len(content) * 8 - 1))
    changed = bytearray(content)
    changed[place // 8] ^= 1 << place % 8
    store.path(ID).write_bytes(changed)
    for use in (lambda: restore_and_verify(store, reference), lambda: store.verify(reference)):
        with pytest.raises(CheckpointDamaged, match=ID):
            use()


@given(data=st.data())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_other_length_is_damage(store, published, data):
    reference, content = published
    length = data.draw(st.integers(0, len(content) - 1))
    for changed in (content[:length], content + content[:length] + b" "):
        store.path(ID).write_bytes(changed)
        with pytest.raises(CheckpointDamaged, match=f"expected {len(content)} bytes, found {len(changed)}"):
            restore_and_verify(store, reference)


def header(content):
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def rebuilt(described, data):
    encoded = json.dumps(described).encode()
    return len(encoded).to_bytes(8, "little") + encoded + data


@pytest.mark.parametrize(
    "change",
    [
        lambda described: described.pop("__metadata__"),
        lambda described: described.pop("x"),
        lambda described: described["x"].update(shape=[4]),
        lambda described: described["x"].update(shape=[-5]),
        lambda described: described["x"].update(dtype="F31"),
        lambda described: described["x"].update(data_offsets=[8, 48]),
        lambda described: described["x"].update(data_offsets=[0, 1 << 60], shape=[1 << 57]),
        lambda described: described["x"].update(data_offsets=[40, 0]),
        lambda described: described["x"].pop("shape"),
        lambda described: described["__metadata__"].update(phyletic="{}"),
        lambda described: described["__metadata__"].update(phyletic="[" * 100_000),
        lambda described: described["__metadata__"].pop("phyletic"),
        lambda described: described.update(__metadata__=5),
    ],
)
def test_a_false_header_is_damage_even_if_its_digest_is_right(store, published, change):
    described, data = header(published[1])
    change(described)
    content = rebuilt(described, data)
    store.path(ID).write_bytes(content)
    with pytest.raises(CheckpointDamaged, match=ID):
        restore_and_verify(store, CheckpointReference(ID, digest_of_file(store.path(ID)), len(content)))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('"adapter":"tree"', '"adapter":"flax"', "'flax'"),
        ('"complex":', '"quaternion":', "'quaternion'"),
        ('"version":1}', '"version":2}', "version 2"),
        ('{"array":"x"}', '{"array":"z"}', "'x'.*'z'"),
    ],
)
def test_a_checkpoint_of_a_later_version_is_an_error_that_says_so(store, published, before, after, said):
    described, data = header(published[1])
    text = described["__metadata__"]["phyletic"]
    assert before in text
    described["__metadata__"]["phyletic"] = text.replace(before, after)
    content = rebuilt(described, data)
    store.path(ID).write_bytes(content)
    reference = CheckpointReference(ID, digest_of_file(store.path(ID)), len(content))
    with pytest.raises(CheckpointError, match=said):
        restore_and_verify(store, reference)


def test_a_digest_of_another_kind_is_an_error(store, published):
    with pytest.raises(CheckpointError, match="md5"):
        store.open(CheckpointReference(ID, "md5:0", 1))


def test_a_large_checkpoint_is_hashed_while_it_is_used(tmp_path):
    store = Checkpoints(FolderBlobs(tmp_path))
    reference = store.publish(ID, {"x": np.zeros(1 << 20)})
    path = store.path(ID)
    with path.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\1")
    state = {}
    checkpoint = store.open(reference)
    checkpoint.restore(state)
    assert state["x"][-1] != 0
    for _ in range(2):
        with pytest.raises(CheckpointDamaged, match=r"expected sha256:.*found sha256:"):
            checkpoint.verify()
    checkpoint.close()
    store.open(reference).close()  # closes early, without an error
