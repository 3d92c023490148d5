"""Applying to Keras optimizers: the real Keras if it is installed, else a stand-in with the relevant attributes."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

from phyletic.errors import ApplyFailed
from phyletic.workers.apply import apply, drift

try:
    import keras
except ImportError:
    keras = None


class Variable:
    """A stand-in for a Keras variable, which holds single precision."""

    def __init__(self, value):
        self.assign(value)

    def assign(self, value):
        self.value = np.float32(value)

    def numpy(self):
        return self.value


class Optimizer:
    """A stand-in for SGD in Keras 3: a property over a variable or a schedule, and plain attributes."""

    def __init__(self, learning_rate=0.01, momentum=0.0, weight_decay=None, clipnorm=None, clipvalue=None):
        self._learning_rate = learning_rate if callable(learning_rate) else Variable(learning_rate)
        self.momentum, self.weight_decay = momentum, weight_decay
        self.clipnorm, self.clipvalue, self.use_ema, self.built = clipnorm, clipvalue, False, False

    @property
    def learning_rate(self):
        return self._learning_rate() if callable(self._learning_rate) else self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value):
        self._learning_rate.assign(value)

    def build(self, variables):
        self.built = True


Optimizer.__module__ = "keras.src.optimizers.optimizer"


@pytest.fixture
def backend(monkeypatch):
    """Return a function that names the backend in use."""
    module = keras or types.SimpleNamespace(config=types.SimpleNamespace())
    monkeypatch.setitem(sys.modules, "keras", module)

    def use(name):
        monkeypatch.setattr(module.config, "backend", lambda: name, raising=False)

    use("torch")
    return use


def make(**given):
    optimizer = (keras.optimizers.SGD if keras else Optimizer)(**given)
    optimizer.build([keras.Variable(1.0)] if keras else [])
    return optimizer


def test_the_learning_rate_is_assigned_to_its_variable(backend):
    for name in ("torch", "jax", "tensorflow"):
        backend(name)
        optimizer = make(learning_rate=1.0)
        variable = optimizer._learning_rate
        applied = apply({"optimizer.learning_rate": 0.1}, optimizer)
        assert optimizer._learning_rate is variable
        assert float(variable.numpy()) == pytest.approx(0.1)
        assert applied.values["optimizer.learning_rate"] == pytest.approx(0.1)
        assert drift([applied]) is None
        optimizer.learning_rate = 0.5
        assert "but is 0.5" in str(drift([applied]))


def test_a_schedule_is_refused(backend):
    schedule = (lambda: 0.1) if keras is None else keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    with pytest.raises(ApplyFailed, match="schedule or a function"):
        apply({"learning_rate": 0.1}, make(learning_rate=schedule))


def test_attributes_are_set_if_the_backend_does_not_compile(backend):
    optimizer = make(learning_rate=1.0, momentum=0.9, clipnorm=1.0)
    values = {"momentum": 0.5, "weight_decay": 0.01, "clipnorm": 2.0}
    assert apply(values, optimizer).values == values
    assert (optimizer.momentum, optimizer.weight_decay, optimizer.clipnorm) == (0.5, 0.01, 2.0)


@pytest.mark.parametrize("name", ["jax", "tensorflow"])
def test_attributes_are_refused_if_the_backend_compiles_them(backend, name):
    optimizer = make(learning_rate=1.0, momentum=0.9)
    backend(name)
    with pytest.raises(ApplyFailed, match="constant"):
        apply({"learning_rate": 0.1, "momentum": 0.5}, optimizer)
    assert float(optimizer.learning_rate.numpy()) == 1.0
    assert optimizer.momentum == 0.9


def test_momentum_is_refused_if_the_optimizer_was_built_without_it(backend):
    with pytest.raises(ApplyFailed, match="built with momentum 0"):
        apply({"momentum": 0.5}, make(learning_rate=1.0))


def test_an_unused_way_of_clipping_is_not_a_setting(backend):
    with pytest.raises(ApplyFailed, match="no hyperparameter matches"):
        apply({"clipvalue": 0.5}, make(learning_rate=1.0, clipnorm=1.0))


@pytest.mark.skipif(keras is None, reason="needs keras")
def test_the_applied_values_take_effect_in_a_step(backend):
    moved = []
    for given in ({"learning_rate": 0.1, "momentum": 0.5}, {"learning_rate": 1.0, "momentum": 0.9}):
        variable = keras.Variable(np.ones(2, "float32"))
        optimizer = keras.optimizers.SGD(**given)
        optimizer.build([variable])
        apply({"learning_rate": 0.1, "momentum": 0.5}, optimizer)
        for _ in range(3):
            optimizer.apply([keras.ops.ones(2)], [variable])
        moved.append(keras.ops.convert_to_numpy(variable))
    assert np.allclose(*moved)


@pytest.mark.skipif(keras is None, reason="needs keras")
def test_a_model_is_refused_with_advice(backend):
    with pytest.raises(ApplyFailed, match="apply to its optimizer"):
        apply({"learning_rate": 0.1}, keras.Sequential([keras.layers.Dense(1)]))
