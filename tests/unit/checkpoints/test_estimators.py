"""scikit-learn estimators continue from a checkpoint as if uninterrupted."""

import pickle

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import SGDClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from phyletic.checkpoints import Checkpoints, FolderBlobs
from phyletic.checkpoints.comparison import difference
from phyletic.errors import CheckpointDamaged, CheckpointError, StateUnsupported

ID, OTHER = "a" * 32, "b" * 32
X = np.random.default_rng(0).random((40, 4))
Y = (X[:, 0] > 0.5).astype(int)


class Trap(BaseEstimator):
    """Counts how often it is unpickled."""

    sprung = 0

    def __init__(self, colour="red"):
        self.colour = colour

    def __setstate__(self, state):
        Trap.sprung += 1
        super().__setstate__(state)


@pytest.fixture
def store(tmp_path):
    return Checkpoints(FolderBlobs(tmp_path))


@pytest.mark.parametrize("make", [MLPClassifier, SGDClassifier])
def test_an_estimator_is_restored_in_place_and_continues_training(store, make):
    saved, live = make(random_state=0), make(random_state=1)
    for each in (saved, live):
        each.partial_fit(X, Y, classes=[0, 1])
    reference = store.publish(ID, {"model": saved})
    state = {"model": live}
    with store.open(reference) as checkpoint:
        assert checkpoint.entries == {"model": "estimator"}
        checkpoint.restore(state)
    assert state["model"] is live
    for each in (saved, live):
        each.partial_fit(X, Y)  # the optimizer of an MLP must still hold the same weight arrays
    again = store.publish(OTHER, {"model": live})
    expected = store.publish("c" * 32, {"model": saved})
    assert difference(store, expected, again) == []
    assert difference(store, reference, again) != []
    assert np.array_equal(saved.predict(X), live.predict(X))


def test_differences_are_named_inside_an_estimator(store):
    first, second = MLPClassifier(random_state=0), MLPClassifier(random_state=0)
    for each in (first, second):
        each.partial_fit(X, Y, classes=[0, 1])
    second.coefs_[1] = second.coefs_[1] + 1e-12
    references = [store.publish(id, {"model": each}) for id, each in ((ID, first), (OTHER, second))]
    assert difference(store, *references) == ["model/coefs_/1"]


def test_differences_inside_compiled_parts_are_found(store):
    forests = [RandomForestClassifier(2, random_state=0).fit(X * scale, Y) for scale in (1, 1, 2)]
    references = [store.publish(c * 32, {"f": forest}) for c, forest in zip("abc", forests, strict=True)]
    assert difference(store, references[0], references[1]) == []
    assert "f/estimators_/0/tree_" in difference(store, references[0], references[2])


def test_an_estimator_of_another_class_is_replaced(store):
    saved = make_pipeline(StandardScaler(), SGDClassifier()).fit(X, Y)
    state = {"model": SGDClassifier()}
    with store.open(store.publish(ID, {"model": saved})) as checkpoint:
        checkpoint.restore(state)
        plain = checkpoint.value("model")
    assert np.array_equal(state["model"].predict(X), saved.predict(X))
    assert np.array_equal(plain.predict(X), saved.predict(X))


def test_only_restore_and_value_unpickle(store):
    reference = store.publish(ID, {"trap": Trap(), "x": 1})
    Trap.sprung = 0
    with store.open(reference) as checkpoint:
        assert dict(checkpoint.entries) == {"trap": "estimator", "x": "tree"}
        checkpoint.verify()
        assert checkpoint.value("x") == 1
        store.verify(reference)
        assert Trap.sprung == 0
        checkpoint.value("trap")
        assert Trap.sprung == 1


def test_damaged_bytes_are_never_unpickled(store):
    reference = store.publish(ID, {"trap": Trap()})
    path = store.path(ID)
    content = bytearray(path.read_bytes())
    content[content.rindex(b"red") + 1] ^= 1  # the pickle still loads
    path.write_bytes(content)
    assert pickle.loads(content[content.rindex(b"\x80\x05") :]) is not None
    Trap.sprung = 0
    with store.open(reference) as checkpoint, pytest.raises(CheckpointDamaged):
        checkpoint.restore({"trap": Trap()})
    assert Trap.sprung == 0


def test_an_estimator_that_cannot_be_pickled_is_named(store):
    model = SGDClassifier()
    model.callback = lambda: None
    with pytest.raises(StateUnsupported, match=r"state\['model'\] is a SGDClassifier"):
        store.publish(ID, {"model": model})


def test_an_estimator_that_cannot_be_unpickled_is_an_error(store, monkeypatch):
    reference = store.publish(ID, {"trap": Trap()})
    monkeypatch.delitem(globals(), "Trap")
    with store.open(reference) as checkpoint, pytest.raises(CheckpointError, match=r"'trap'.*unpickled"):
        checkpoint.value("trap")
