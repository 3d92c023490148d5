"""The drifting curve: its optimum, its noise, and a population that follows it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import phyletic as ph
from phyletic.errors import InvalidArgument
from phyletic.randomness import RandomStream
from phyletic.simulate.curve import SPACE, DriftingCurve

rates = st.floats(1e-5, 1.0)
some_curves = st.builds(
    DriftingCurve,
    first=rates,
    last=rates,
    horizon=st.integers(1, 30),
    width=st.floats(0.2, 3.0),
    speed=st.floats(0.01, 0.5),
    start=st.floats(1.0, 3.0),
    floor=st.floats(-1.0, 0.5),
)


@settings(derandomize=True, max_examples=50)
@given(some_curves, st.lists(rates, min_size=1, max_size=30))
def test_no_schedule_beats_the_best_schedule_which_has_no_regret(curve, schedule):
    steps = len(schedule)
    assert curve.regret(curve.run(schedule), steps) >= -1e-12
    best = [curve.best_learning_rate(step) for step in range(steps)]
    assert curve.regret(curve.run(best), steps) == pytest.approx(0.0, abs=1e-12)


@settings(derandomize=True, max_examples=30)
@given(some_curves, rates, st.integers(1, 30))
def test_no_constant_beats_the_best_constant(curve, rate, steps):
    best_rate, loss = curve.best_constant(steps)
    assert loss == curve.run([best_rate] * steps)
    assert curve.run([rate] * steps) >= loss - 1e-9


@settings(derandomize=True, max_examples=30)
@given(some_curves, rates, st.integers(0, 30))
def test_rates_equally_far_above_and_below_the_best_gain_the_same(curve, rate, step):
    best = curve.best_learning_rate(step)
    above, below = curve.step(1.0, best * 3, step), curve.step(1.0, best / 3, step)
    assert above == pytest.approx(below)
    width = curve.step(1.0, best * math.exp(curve.width), step)
    gained = (1.0 - width) / (1.0 - curve.step(1.0, best, step))
    assert gained == pytest.approx(math.exp(-0.5))


def test_noise_has_its_spread_and_a_mean_of_zero():
    curve = DriftingCurve(noise=0.1)
    without = curve.step(1.0, 0.1, 0)
    stream = RandomStream(0)
    added = [curve.step(1.0, 0.1, 0, stream) - without for _ in range(2000)]
    mean = sum(added) / len(added)
    assert abs(mean) < 0.01
    assert math.sqrt(sum(value**2 for value in added) / len(added)) == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"first": 0.0},
        {"last": -1.0},
        {"horizon": 0},
        {"width": math.inf},
        {"speed": 1.0},
        {"floor": 1.0},
        {"noise": -1},
    ],
)
def test_arguments_out_of_range_are_named(wrong):
    with pytest.raises(InvalidArgument, match=f"^{next(iter(wrong))} is"):
        DriftingCurve(**wrong)


def train(curve, seed=0, steps=200):
    study = ph.Study(
        "curve",
        space=SPACE,
        metric="loss",
        mode="min",
        algorithm=ph.PBT(population=12, interval=5, synchronous=True),
        budget=ph.Budget(steps=steps),
        seed=seed,
    )
    with study:
        for trial in study.attach(lambda trial: {"loss": curve.start}):
            stream = RandomStream(trial.seed) if curve.noise else None
            for step in trial.range():
                trial.state.loss = curve.step(trial.state.loss, trial["lr"], step, stream)
            trial.report(loss=trial.state.loss)
        return study.best, study.lineage()


def test_a_found_schedule_has_less_regret_than_the_best_constant_and_follows_the_drift():
    curve = DriftingCurve()
    best, lineage = train(curve)
    assert curve.regret(best.score, 200) < curve.regret(curve.best_constant(200)[1], 200)
    assert lineage[-1].hyperparameters["lr"] < lineage[0].hyperparameters["lr"] / 10


def test_the_same_seed_gives_the_same_noisy_run():
    curve = DriftingCurve(noise=0.01)
    scores = [train(curve, seed, steps=30)[0].score for seed in (0, 0, 1)]
    assert scores[0] == scores[1] != scores[2]
