"""The quadratic toy: its steps, its gradient, and populations that train on it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import phyletic as ph
from phyletic.problems import quadratic
from phyletic.problems.quadratic import PAPER, RAY, START, STEPS

unit = st.floats(0.0, 1.0)
points = st.tuples(st.floats(-2.0, 2.0), st.floats(-2.0, 2.0))


def after(problem, steps, h):
    """Return θ after steps with one h, in closed form: θ·(1 − 2·learning_rate·curvature·h)^steps."""
    return START * (1 - 2 * problem.learning_rate * np.asarray(problem.curvature) * np.asarray(h)) ** steps


@settings(derandomize=True, max_examples=50)
@given(st.sampled_from([PAPER, RAY]), st.tuples(unit, unit), st.integers(0, 60))
def test_steps_follow_the_closed_form(problem, h, steps):
    theta = np.array(START)
    for _ in range(steps):
        theta = problem.step(theta, h)
    assert np.allclose(theta, after(problem, steps, h))


@settings(derandomize=True, max_examples=50)
@given(st.sampled_from([PAPER, RAY]), points, st.tuples(unit, unit))
def test_a_step_climbs_the_surrogate_along_its_gradient(problem, theta, h):
    assert problem.surrogate(problem.step(theta, h), h) >= problem.surrogate(theta, h)
    nudge = 1e-6
    for axis in range(2):
        forward, backward = np.array(theta, float), np.array(theta, float)
        forward[axis] += nudge
        backward[axis] -= nudge
        slope = (problem.surrogate(forward, h) - problem.surrogate(backward, h)) / (2 * nudge)
        assert slope == pytest.approx(problem.gradient(theta, h)[axis], abs=1e-6)


@pytest.mark.parametrize(("problem", "expected"), [(PAPER, [0.390, 0.390]), (RAY, [0.389, 0.592])])
def test_learning_one_coordinate_alone_stays_far_from_the_optimum(problem, expected):
    alone = problem.objective(after(problem, STEPS, [[1.0, 0.0], [0.0, 1.0]]))
    assert alone == pytest.approx(expected, abs=1e-3)


def test_stepping_many_members_at_once_equals_stepping_each_alone():
    theta, h = np.random.RandomState(0).normal(size=(5, 2)), np.random.RandomState(1).uniform(size=(5, 2))
    stepped = PAPER.step(theta, h)
    for member in range(5):
        assert np.array_equal(stepped[member], PAPER.step(theta[member], h[member]))
    assert PAPER.objective(theta).shape == (5,)


def best(algorithm, seed):
    study = ph.Study(
        "toy",
        space=quadratic.SPACE,
        initial=quadratic.INITIAL,
        metric="objective",
        mode="max",
        algorithm=algorithm,
        budget=ph.Budget(steps=STEPS),
        seed=seed,
    )
    with study:
        quadratic.train(study)
        return study.best.score


def unchanged(hyperparameters, rng):
    return dict(hyperparameters)


def test_copying_weights_alone_learns_both_coordinates():
    copying = ph.PBT(population=2, interval=4, inherit="weights", explore=unchanged, synchronous=True)
    assert best(ph.RandomSearch(population=2, interval=100), 0) == pytest.approx(0.390, abs=1e-3)
    assert best(copying, 0) > 1.1


def test_factors_alone_cannot_leave_zero_and_noise_can():
    factors = ph.PBT(population=2, interval=4, explore=ph.Perturb((0.8, 1.2), 0.0), synchronous=True)
    noise = ph.PBT(population=2, interval=4, explore=ph.Gaussian(0.1), synchronous=True)
    assert best(factors, 0) == pytest.approx(0.390, abs=1e-3)
    assert best(noise, 0) > 1.15
