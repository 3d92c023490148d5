"""Applying to optax states: the real optax if it is installed, else named tuples of the same structure."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from phyletic.errors import ApplyFailed
from phyletic.workers.apply import apply, drift

try:
    import jax
    import optax
except ImportError:
    optax = None


class InjectStatefulHyperparamsState(NamedTuple):
    count: Any
    hyperparams: dict[str, Any]
    hyperparams_states: dict[str, Any]
    inner_state: Any


def injected(rate, decay, *, scheduled=False):
    """Return the state of one injected transformation with ``learning_rate`` and ``decay``."""
    if optax is None:
        values = {"learning_rate": np.float32(rate), "decay": np.float32(decay)}
        states = {"learning_rate": ("count",)} if scheduled else {}
        return InjectStatefulHyperparamsState(np.int32(0), values, states, ())
    learning_rate = optax.constant_schedule(rate) if scheduled else rate
    return optax.inject_hyperparams(optax.rmsprop)(learning_rate=learning_rate, decay=decay).init(jax.numpy.zeros(2))


def rates(state):
    return float(state.hyperparams["learning_rate"]), float(state.hyperparams["decay"])


@pytest.mark.parametrize("around", [lambda state: state, lambda state: ((), state), lambda state: {"body": [state]}])
def test_injected_values_are_set_wherever_the_state_lies(around):
    state = injected(1.0, 0.5)
    kept = type(state.hyperparams["learning_rate"]), state.hyperparams["learning_rate"].dtype
    applied = apply({"optimizer.learning_rate": 0.1}, around(state))
    assert rates(state) == pytest.approx((0.1, 0.5))
    found = state.hyperparams["learning_rate"]
    assert found.dtype == kept[1]
    assert found.shape == ()
    assert applied.values["optimizer.learning_rate"] == pytest.approx(0.1)
    assert drift([applied]) is None


def test_a_value_is_set_in_all_states_of_a_chain_or_in_one():
    state = (injected(1.0, 0.5), injected(2.0, 0.5))
    apply({"learning_rate": 0.1}, state)
    assert [rates(each)[0] for each in state] == pytest.approx([0.1, 0.1])
    apply({"head_rate": 0.2}, state, group=1, names={"learning_rate": "head_rate"})
    assert [rates(each)[0] for each in state] == pytest.approx([0.1, 0.2])
    with pytest.raises(ApplyFailed, match="group is 2"):
        apply({"learning_rate": 0.1}, state, group=2)


def test_a_scheduled_value_is_refused():
    state = injected(1.0, 0.5, scheduled=True)
    with pytest.raises(ApplyFailed, match="schedule"):
        apply({"learning_rate": 0.1}, state)
    apply({"decay": 0.3}, state)
    assert rates(state)[1] == pytest.approx(0.3)


def test_a_state_without_injected_values_is_refused():
    with pytest.raises(ApplyFailed, match="inject_hyperparams"):
        apply({"learning_rate": 0.1}, (np.zeros(2), ()))


@pytest.mark.skipif(optax is None, reason="needs optax and jax")
def test_an_update_uses_the_value_without_compiling_again():
    optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=1.0)
    traces = []

    @jax.jit
    def update(gradient, state):
        traces.append(1)
        return optimizer.update(gradient, state)

    state = optimizer.init(jax.numpy.zeros(()))
    _, state = update(jax.numpy.ones(()), state)
    for rate in (0.25, 0.5):
        applied = apply({"learning_rate": rate}, state)
        change, state = update(jax.numpy.ones(()), state)
        assert float(change) == pytest.approx(-rate)
        assert drift([applied]) is None
    assert len(traces) == 1
