"""Trees of JAX arrays, as optax and flax keep them."""

import numpy as np
import pytest

from phyletic.checkpoints import Checkpoints, FolderBlobs
from phyletic.checkpoints.comparison import difference

jax = pytest.importorskip("jax")

ID, OTHER = "a" * 32, "b" * 32


def parameters(scale):
    return {
        "dense": {"kernel": jax.numpy.full((3, 2), scale), "bias": jax.numpy.zeros(2, "bfloat16")},
        "complex": jax.numpy.full(3, 2j),
        "empty": jax.numpy.zeros((0, 3)),
        "count": jax.numpy.asarray(3),
    }


def weights(scale):
    return parameters(scale)["dense"]


@pytest.fixture
def store(tmp_path):
    return Checkpoints(FolderBlobs(tmp_path))


def test_trees_of_jax_arrays_come_back_bit_for_bit(store):
    saved = {"params": parameters(0.3), "key": jax.random.key(7), "old key": jax.random.PRNGKey(7)}
    reference = store.publish(ID, {"state": saved})
    state = {"state": {"params": parameters(9.0), "key": jax.random.key(1), "old key": None}}
    with store.open(reference) as checkpoint:
        checkpoint.restore(state)
        checkpoint.verify()
    leaves, structure = jax.tree.flatten(saved)
    restored, same = jax.tree.flatten(state["state"])
    assert same == structure
    for a, b in zip(leaves, restored, strict=True):
        assert isinstance(b, jax.Array)
        assert (a.dtype, a.shape, a.sharding) == (b.dtype, b.shape, b.sharding)
    draws = [jax.random.normal(each["key"], (3,)) for each in (saved, state["state"])]
    assert np.array_equal(*draws)
    again = store.publish(OTHER, state)
    assert again.digest == reference.digest
    assert difference(store, reference, again) == []


def test_a_differing_leaf_is_named(store):
    references = [
        store.publish(id, {"p": {**parameters(0.3), "key": jax.random.key(seed)}}) for id, seed in ((ID, 0), (OTHER, 1))
    ]
    assert difference(store, *references) == ["p/key"]


def test_an_optax_state_keeps_its_named_tuples(store):
    optax = pytest.importorskip("optax")
    optimizer = optax.inject_hyperparams(optax.adamw)(learning_rate=0.1)
    saved, live = (optimizer.init(weights(scale)) for scale in (0.1, 0.2))
    gradients = jax.tree.map(jax.numpy.ones_like, weights(0.0))
    _, saved = optimizer.update(gradients, saved, weights(0.1))
    state = {"optimizer": live}
    with store.open(store.publish(ID, {"optimizer": saved})) as checkpoint:
        checkpoint.restore(state)
    assert jax.tree.structure(state["optimizer"]) == jax.tree.structure(saved)
    one, other = (optimizer.update(gradients, each, weights(0.1))[0] for each in (saved, state["optimizer"]))
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


def test_a_snapshot_stays_as_it_was_when_its_buffers_are_donated(store):
    state = {"parameters": parameters(1.0), "key": jax.random.key(3)}
    before = store.publish(ID, state)
    snapshot = store.snapshot(state)
    double = jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf * 2, tree), donate_argnums=0)
    state["parameters"] = double(state["parameters"])
    assert store.publish(OTHER, snapshot).digest == before.digest
