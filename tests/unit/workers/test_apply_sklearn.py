"""Training proves each claim about an estimator: the weights differ, or they do not."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
from sklearn.base import is_classifier
from sklearn.linear_model import (
    LogisticRegression,
    PassiveAggressiveClassifier,
    PassiveAggressiveRegressor,
    Perceptron,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline

from phyletic.errors import ApplyFailed
from phyletic.workers.apply import apply, drift

pytestmark = pytest.mark.filterwarnings("ignore")

inputs = np.random.RandomState(0).normal(size=(60, 4))
labels = (inputs[:, 0] + 0.5 * np.sin(3 * inputs[:, 1]) > 0).astype(int)
targets = inputs[:, 0] ** 2 + inputs[:, 1]


def make(kind, **given):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kind(random_state=0, **given)


def train(estimator, times=3):
    for _ in range(times):
        if is_classifier(estimator):
            estimator.partial_fit(inputs, labels, classes=[0, 1])
        else:
            estimator.partial_fit(inputs, targets)
    return estimator


def weights(estimator):
    parts = [*estimator.coefs_, *estimator.intercepts_] if hasattr(estimator, "coefs_") else [estimator.coef_]
    return np.concatenate([np.ravel(part) for part in parts])


def mlp(kind=MLPClassifier, **given):
    return make(kind, **{"hidden_layer_sizes": (5,), "batch_size": 20, **given})


IN_EFFECT = [
    (mlp(solver="sgd"), {"learning_rate_init": 0.05}),
    (mlp(solver="sgd"), {"learning_rate_init": 0.05, "momentum": 0.2}),
    (mlp(solver="sgd"), {"momentum": 0.2}),
    (mlp(solver="sgd"), {"nesterovs_momentum": False}),
    (mlp(solver="sgd"), {"alpha": 0.5}),
    (mlp(solver="sgd"), {"batch_size": 7}),
    (mlp(solver="sgd", learning_rate="adaptive"), {"learning_rate_init": 0.05}),
    (mlp(solver="sgd", learning_rate="invscaling"), {"learning_rate_init": 0.05}),
    (mlp(solver="sgd", learning_rate="invscaling"), {"power_t": 0.1}),
    (mlp(solver="adam"), {"learning_rate_init": 0.05}),
    (mlp(solver="adam"), {"beta_1": 0.5}),
    (mlp(solver="adam"), {"beta_2": 0.5}),
    (mlp(solver="adam"), {"epsilon": 0.1}),
    (mlp(solver="adam"), {"alpha": 0.5}),
    (mlp(MLPRegressor, solver="sgd"), {"learning_rate_init": 0.01}),
    (mlp(MLPRegressor, solver="adam"), {"learning_rate_init": 0.01}),
    (make(SGDClassifier), {"alpha": 0.5}),
    (make(SGDClassifier, penalty=None), {"alpha": 0.5}),
    (make(SGDClassifier, penalty="elasticnet"), {"l1_ratio": 0.9}),
    (make(SGDClassifier, learning_rate="constant"), {"eta0": 0.5}),
    (make(SGDClassifier, learning_rate="adaptive"), {"eta0": 0.5}),
    (make(SGDClassifier, learning_rate="invscaling"), {"power_t": 0.1}),
    (make(SGDClassifier, loss="epsilon_insensitive"), {"epsilon": 0.9}),
    (make(SGDRegressor), {"eta0": 0.5}),
    (make(SGDRegressor), {"alpha": 0.5}),
    (make(SGDRegressor), {"power_t": 0.6}),
    (make(SGDRegressor, loss="huber"), {"epsilon": 0.9}),
    (make(Perceptron), {"eta0": 0.1}),
    (make(Perceptron, penalty="l2"), {"alpha": 0.1}),
    (make(Perceptron, penalty="elasticnet", alpha=0.1), {"l1_ratio": 0.9}),
    (make(PassiveAggressiveClassifier), {"C": 0.01}),
    (make(PassiveAggressiveClassifier, loss="squared_hinge"), {"C": 0.01}),
    (make(PassiveAggressiveRegressor), {"C": 0.01}),
    (make(PassiveAggressiveRegressor), {"epsilon": 0.9}),
]

WITHOUT_EFFECT = [
    (mlp(solver="sgd"), {"beta_1": 0.5, "beta_2": 0.5, "epsilon": 0.1, "power_t": 0.1}),
    (mlp(solver="adam"), {"momentum": 0.2, "nesterovs_momentum": False, "power_t": 0.1}),
    (make(SGDClassifier), {"eta0": 0.5, "l1_ratio": 0.9, "power_t": 0.1, "epsilon": 0.9}),
    (make(SGDClassifier, penalty=None, learning_rate="constant"), {"alpha": 0.5, "l1_ratio": 0.9}),
    (make(Perceptron), {"alpha": 0.5, "l1_ratio": 0.9}),
]


def ids(case):
    return f"{type(case).__name__}" if hasattr(case, "get_params") else ",".join(case)


@pytest.mark.parametrize(("estimator", "values"), IN_EFFECT, ids=ids)
def test_an_applied_value_changes_training(estimator, values):
    applied_to = train(copy.deepcopy(estimator))
    left_alone = copy.deepcopy(applied_to)
    applied = apply(values, applied_to)
    assert applied.values == values
    train(applied_to)
    train(left_alone)
    assert not np.allclose(weights(applied_to), weights(left_alone), rtol=1e-6)
    assert drift([applied]) is None


@pytest.mark.parametrize(("estimator", "values"), IN_EFFECT, ids=ids)
def test_applying_at_birth_equals_constructing_the_estimator_with_the_value(estimator, values):
    applied_to = copy.deepcopy(estimator)
    apply(values, applied_to)
    made_with = type(estimator)(**{**estimator.get_params(), **values})
    assert np.array_equal(weights(train(applied_to)), weights(train(made_with)))


@pytest.mark.parametrize(("estimator", "values"), WITHOUT_EFFECT, ids=ids)
def test_a_refused_value_would_have_changed_nothing(estimator, values):
    trained = train(copy.deepcopy(estimator))
    for name, value in values.items():
        with pytest.raises(ApplyFailed, match=f"{name!r} cannot be applied"):
            apply({name: value}, trained)
    left_alone = copy.deepcopy(trained)
    trained.set_params(**values)
    assert np.array_equal(weights(train(trained)), weights(train(left_alone)))


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_the_first_step_after_apply_is_the_new_rate_times_the_same_direction(solver):
    small = train(mlp(solver=solver, momentum=0.0, nesterovs_momentum=False, learning_rate_init=0.01), times=2)
    small.batch_size = len(inputs)
    large = copy.deepcopy(small)
    apply({"learning_rate_init": 0.04}, large)
    before = weights(small).copy()
    moved_small, moved_large = weights(train(small, 1)) - before, weights(train(large, 1)) - before
    assert np.allclose(moved_large, 4 * moved_small)


def test_the_adaptive_solver_keeps_its_reductions_which_are_not_drift():
    estimator = train(mlp(solver="sgd", learning_rate="adaptive", tol=10.0, n_iter_no_change=1))
    applied = apply({"learning_rate_init": 0.5}, estimator)
    train(estimator, 8)
    assert estimator._optimizer.learning_rate < 0.5
    assert drift([applied]) is None
    reduced_by = estimator._optimizer.learning_rate / 0.5
    apply({"learning_rate_init": 0.1}, estimator)
    assert estimator._optimizer.learning_rate == pytest.approx(0.1 * reduced_by)


def test_a_solver_that_holds_another_value_is_drift():
    estimator = train(mlp(solver="sgd"))
    applied = apply({"learning_rate_init": 0.5}, estimator)
    estimator._optimizer.learning_rate = 0.1
    assert "but is '0.5 and 0.1'" in str(drift([applied]))


def test_a_hyperparameter_that_does_not_match_is_ignored():
    estimator = train(mlp(solver="sgd"))
    assert apply({"learning_rate_init": 0.5, "hidden_layer_sizes": "(5,)"}, estimator).values == {
        "learning_rate_init": 0.5
    }


def test_unsupported_estimators_are_refused_with_advice():
    with pytest.raises(ApplyFailed, match=r"set_params on a fitted estimator may change nothing.*register"):
        apply({"C": 0.1}, LogisticRegression())
    with pytest.raises(ApplyFailed, match="named_steps"):
        apply({"C": 0.1}, make_pipeline(LogisticRegression()))


@pytest.mark.parametrize("value", [0.0, -0.1, "fast", True])
def test_an_impossible_learning_rate_is_refused_and_nothing_is_set(value):
    estimator = train(mlp(solver="sgd"))
    with pytest.raises(ApplyFailed, match="learning_rate_init is"):
        apply({"learning_rate_init": value}, estimator)
    assert estimator.learning_rate_init == 0.001


def test_lbfgs_accepts_only_the_penalty():
    estimator = mlp(solver="lbfgs")
    assert apply({"alpha": 0.5}, estimator).values == {"alpha": 0.5}
    with pytest.raises(ApplyFailed, match="does not use it"):
        apply({"learning_rate_init": 0.5}, estimator)
