"""Random generators continue from a checkpoint as if uninterrupted."""

import random

import numpy as np
import pytest
import torch

from phyletic.checkpoints import Checkpoints, FolderBlobs
from phyletic.errors import CheckpointError, StateUnsupported

ID = "a" * 32
NAMES = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")


def python_draw(generator):
    return [generator.gauss(0, 1) for _ in range(3)]


def numpy_draw(generator):
    draws = [generator.standard_normal(3).tolist(), generator.integers(0, 100, 3, dtype=np.int32).tolist()]
    return [*draws, [child.random() for child in generator.spawn(2)]]


KINDS = {
    "python": (lambda seed: random.Random(seed), python_draw),
    "legacy": (lambda seed: np.random.RandomState(seed), lambda generator: generator.randn(3).tolist()),
    "bits": (lambda seed: np.random.PCG64(seed), lambda bits: bits.random_raw(3).tolist()),
    "torch": (lambda seed: torch.Generator().manual_seed(seed), lambda each: torch.randn(3, generator=each).tolist()),
    **{
        name: (lambda seed, name=name: np.random.Generator(getattr(np.random, name)(seed)), numpy_draw)
        for name in NAMES
    },
}


@pytest.fixture
def store(tmp_path):
    return Checkpoints(FolderBlobs(tmp_path))


@pytest.mark.parametrize("kind", KINDS)
def test_a_restored_generator_continues_like_the_saved_one(store, kind):
    make, draw = KINDS[kind]
    saved, live = make(0), make(1)
    draw(saved)
    reference = store.publish(ID, {"rng": saved})
    expected = [draw(saved), draw(saved)]
    state, newborn = {"rng": live}, {}
    with store.open(reference) as checkpoint:
        plain = checkpoint.value("rng")
        checkpoint.restore(state)
        checkpoint.restore(newborn)
        checkpoint.verify()
    assert state["rng"] is live
    for restored in (live, plain, newborn["rng"]):
        assert [draw(restored), draw(restored)] == expected


def test_a_generator_of_another_kind_is_replaced(store):
    reference = store.publish(ID, {"rng": np.random.default_rng(0)})
    for live in (np.random.Generator(np.random.SFC64(1)), np.random.PCG64(1), random.Random(1), 5):
        state = {"rng": live}
        with store.open(reference) as checkpoint:
            checkpoint.restore(state)
        assert numpy_draw(state["rng"]) == numpy_draw(np.random.default_rng(0))


def test_the_system_generator_cannot_be_saved(store):
    with pytest.raises(StateUnsupported, match="'rng'"):
        store.publish(ID, {"rng": random.SystemRandom()})


def test_a_bit_generator_that_numpy_lacks_is_an_error(store):
    class Own(np.random.Generator):
        pass

    class Bits(np.random.PCG64):
        @property
        def state(self):
            return {**super().state, "bit_generator": "Own"}

    reference = store.publish(ID, {"rng": Own(Bits(1))})
    with store.open(reference) as checkpoint, pytest.raises(CheckpointError, match="'Own'"):
        checkpoint.value("rng")
