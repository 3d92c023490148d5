"""The potential, the triangle and the noisy quadratic agree with their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phyletic.errors import InvalidArgument
from phyletic.problems import mueller_brown, triangle
from phyletic.problems.deceptive import NoisyQuadratic
from phyletic.problems.mueller_brown import MINIMA, OPTIMUM, potential
from phyletic.problems.quadratic import Quadratic
from phyletic.randomness import RandomStream

# --- Müller-Brown ---


def test_the_minima_have_their_known_depths():
    assert potential(MINIMA) == pytest.approx([OPTIMUM, -108.166724, -80.767818], abs=1e-5)


@pytest.mark.parametrize(("place", "height"), [((-0.822002, 0.624313), -40.664844), ((0.212487, 0.292988), -72.248940)])
def test_the_saddles_have_their_known_heights(place, height):
    assert potential(place) == pytest.approx(height, abs=1e-5)


@pytest.mark.parametrize("minimum", MINIMA)
def test_the_potential_rises_in_every_direction_from_a_minimum(minimum):
    angles = np.linspace(0, 2 * math.pi, 16)
    around = np.asarray(minimum) + 1e-3 * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    assert (potential(around) > potential(minimum)).all()


def test_far_away_the_potential_is_not_finite_and_nothing_warns():
    with np.errstate(over="raise", invalid="raise"):
        assert not np.isfinite(potential((1e3, 1e3)))
        assert not np.isfinite(potential((np.inf, 0.0)))
        assert not np.isfinite(mueller_brown.descend(np.array([1e308, 1e308]), [-50, -50, 0, 0, 0], 1.0)).all()


@settings(max_examples=30)
@given(
    st.lists(st.floats(-5, 5), min_size=5, max_size=5),
    st.tuples(st.floats(-2, 2), st.floats(-2, 2)),
    st.floats(1e-3, 1e-1),
)
def test_a_member_descends_the_slope_of_its_paraboloid(coefficients, place, rate):
    xx, yy, xy, x1, y1 = coefficients

    def surrogate(x, y):
        return xx * x * x + yy * y * y + xy * x * y + x1 * x + y1 * y

    x, y = place
    nudge = 1e-5
    slope = [
        (surrogate(x + nudge, y) - surrogate(x - nudge, y)) / (2 * nudge),
        (surrogate(x, y + nudge) - surrogate(x, y - nudge)) / (2 * nudge),
    ]
    moved = mueller_brown.descend(np.array(place), coefficients, rate) - np.array(place)
    assert moved == pytest.approx([-rate * part for part in slope], abs=1e-6)


def test_a_reach_of_zero_is_refused():
    with pytest.raises(InvalidArgument, match="reach is 0"):
        mueller_brown.space(0)


# --- the triangle ---


def mean_gain(accuracy, rate, count=4000):
    stream = RandomStream(0)
    return sum(triangle.step(accuracy, rate, stream) - accuracy for _ in range(count)) / count


@pytest.mark.parametrize("accuracy", [30.0, 100.0, 170.0])
def test_accuracy_grows_at_the_best_rate_stays_far_below_it_and_falls_far_above_it(accuracy):
    best = triangle.best_learning_rate(accuracy)
    assert mean_gain(accuracy, best) == pytest.approx(0.5, abs=0.1)
    assert mean_gain(accuracy, 2 * best) == pytest.approx(0.25, abs=0.1)
    assert mean_gain(accuracy, best / 4) == pytest.approx(0.0, abs=0.1)
    assert mean_gain(accuracy, 5 * best) == pytest.approx(-1.0, abs=0.1)


@settings(max_examples=50)
@given(st.floats(0, 250), st.floats(1e-4, 0.02), st.integers(0, 1000))
def test_accuracy_is_never_negative_and_the_best_rate_stays_in_its_range(accuracy, rate, seed):
    assert triangle.step(accuracy, rate, RandomStream(seed)) >= 0
    assert 0.001 <= triangle.best_learning_rate(accuracy) <= 0.01


# --- the noisy quadratic ---


def test_the_expected_loss_is_the_mean_of_sampled_training():
    problem, rates = NoisyQuadratic(dimensions=4), [0.5, 0.2, 0.8, 0.1]
    generator = np.random.Generator(np.random.PCG64(0))
    theta = generator.standard_normal((40_000, 4))  # so that E[θ²] = 1
    for rate in rates:
        noise = np.sqrt(problem.noise * problem.curvature) * generator.standard_normal(theta.shape)
        theta = theta - rate * (problem.curvature * theta + noise)
    sampled = float((0.5 * problem.curvature * theta**2).sum(axis=1).mean())
    assert problem.run(rates) == pytest.approx(sampled, rel=0.02)


@settings(max_examples=30)
@given(st.lists(st.floats(0.01, 1.8), max_size=20), st.floats(0.0, 1.99))
def test_no_rate_is_better_for_the_next_step_than_the_greedy_one(before, other):
    problem = NoisyQuadratic(dimensions=10)
    squares = problem.start
    for rate in before:
        squares = problem.step(squares, rate)
    a = problem.curvature
    greedy = float((a**2 @ squares) / (a**3 @ squares + problem.noise * a @ a))
    assert problem.loss(problem.step(squares, greedy)) <= problem.loss(problem.step(squares, other)) + 1e-12


def test_the_greedy_schedule_is_the_greedy_rate_at_every_step():
    problem = NoisyQuadratic(dimensions=10)
    rates = problem.greedy(30)
    squares = problem.start
    for rate in rates:
        for nudged in (0.99 * rate, 1.01 * rate):
            assert problem.loss(problem.step(squares, rate)) < problem.loss(problem.step(squares, nudged))
        squares = problem.step(squares, rate)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: NoisyQuadratic(dimensions=0), "dimensions"),
        (lambda: NoisyQuadratic(power=math.nan), "power"),
        (lambda: NoisyQuadratic(noise=-1.0), "noise"),
        (lambda: Quadratic(learning_rate=math.inf), "learning_rate"),
        (lambda: Quadratic(curvature=(0.0, 1.0)), "curvature"),
    ],
)
def test_arguments_out_of_range_are_named(make, name):
    with pytest.raises(InvalidArgument, match=f"^{name} is"):
        make()
