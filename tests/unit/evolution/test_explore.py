"""Explore rules move values on the domain's scale and inside its limits; whole numbers always move."""

from __future__ import annotations

import math
import statistics

import pytest

from phyletic.errors import InvalidArgument
from phyletic.evolution import Gaussian, Perturb, Resample
from phyletic.evolution.explore import Chain, rule_name, same
from phyletic.randomness import RandomStream
from phyletic.space import Choice, Float, Int, Ordinal, Space

MIXED = Space(
    {
        "lr": Float(1e-5, 1e-1, log=True),
        "batch": Int(1, 512, log=True),
        "kernel": Ordinal([1, 3, 5, 7]),
        "act": Choice(["relu", "tanh", "gelu"]),
        "width": Choice([64, 128], fixed=True),
        "depth": Int(1, 4, fixed=True),
        "epochs": 3,
    }
)
BRANCHES = Space(
    {"augment": Choice({"none": {}, "crop": {"size": Int(8, 32), "pad": 4}}, fixed=False), "lr": Float(0.1, 1.0)}
)
RULES = [
    Perturb((0.8, 1.2), 0.0),
    Perturb((0.5, 2.0), 0.5),
    Resample(1.0),
    Gaussian(),
    Gaussian(2.0, 0.5),
    Chain((Perturb((0.8, 1.2), 0.0), Resample())),
]


@pytest.mark.parametrize("rule", RULES)
def test_fixed_values_and_constants_stay(rule):
    values = MIXED.sample(RandomStream(0))
    stream = RandomStream(1)
    for _ in range(100):
        new = rule.explore(MIXED, values, stream).values
        assert all(same(new[path], values[path]) for path in ("width", "depth", "epochs"))


@pytest.mark.parametrize("rule", RULES)
def test_the_given_values_are_not_modified(rule):
    values = MIXED.sample(RandomStream(0))
    before = dict(values)
    new = rule.explore(MIXED, values, RandomStream(1)).values
    assert values == before
    assert new is not values


@pytest.mark.parametrize("rule", [Perturb((0.8, 1.2), 0.0), Gaussian(0.01)])
def test_whole_numbers_always_move_unless_at_a_limit(rule):
    space = Space({"n": Int(1, 100)})
    stream = RandomStream(2)
    for value in (2, 3, 50, 99):
        for _ in range(50):
            new = rule.explore(space, {"n": value}, stream).values["n"]
            assert type(new) is int
            assert new != value
    reached = {rule.explore(space, {"n": 1}, stream).values["n"] for _ in range(50)}
    assert min(reached) == 1
    assert max(reached) > 1


def test_factors_multiply_the_value_even_in_a_log_domain():
    space = Space({"lr": Float(1e-5, 1e-1, log=True)})
    stream = RandomStream(0)
    seen = {rule_result(space, Perturb((0.8, 1.2), 0.0), "lr", 1e-3, stream) for _ in range(50)}
    assert seen == {(1e-3 * 0.8, "x0.8"), (1e-3 * 1.2, "x1.2")}


def rule_result(space, rule, path, value, stream):
    explored = rule.explore(space, {path: value}, stream)
    return explored.values[path], explored.how.get(path)


def test_values_are_clipped_into_the_hard_limits():
    space = Space({"lr": Float(1e-3, 1e-2, log=True, limits=(5e-4, 2e-2))})
    stream = RandomStream(0)
    for start, bound, factor in ((1.9e-2, 2e-2, 1.2), (5.5e-4, 5e-4, 0.8)):
        assert rule_result(space, Perturb((factor,), 0.0), "lr", start, stream) == (bound, f"x{factor}")
    # a value that stays at its limit records no change
    assert rule_result(space, Perturb((1.2,), 0.0), "lr", 2e-2, stream) == (2e-2, None)


def test_parameters_are_drawn_independently():
    space = Space({"a": Float(0.0, 100.0), "b": Float(0.0, 100.0)})
    stream = RandomStream(0)
    pairs = {
        tuple(Perturb((0.8, 1.2), 0.0).explore(space, {"a": 1.0, "b": 1.0}, stream).values.values()) for _ in range(100)
    }
    assert pairs == {(0.8, 0.8), (0.8, 1.2), (1.2, 0.8), (1.2, 1.2)}


def test_factors_are_drawn_uniformly():
    space = Space({"a": Float(0.0, 100.0)})
    stream = RandomStream(0)
    ups = sum(Perturb((0.8, 1.2), 0.0).explore(space, {"a": 1.0}, stream).values["a"] > 1 for _ in range(2000))
    assert abs(ups - 1000) < 100


def test_zero_stays_zero_under_factors_but_noise_and_redraws_change_it():
    space = Space({"h": Float(0.0, 1.0)})
    stream = RandomStream(0)
    assert all(Perturb((0.8, 1.2), 0.0).explore(space, {"h": 0.0}, stream).values["h"] == 0.0 for _ in range(20))
    assert any(Gaussian().explore(space, {"h": 0.0}, stream).values["h"] > 0.0 for _ in range(20))
    assert any(Perturb(resample_probability=0.5).explore(space, {"h": 0.0}, stream).values["h"] > 0 for _ in range(20))


def test_gaussian_noise_scales_with_the_width_of_the_range_on_the_domains_scale():
    stream = RandomStream(0)
    linear = Space({"x": Float(0.0, 10.0, limits=(-1000.0, 1000.0))})
    moves = [Gaussian(0.1).explore(linear, {"x": 5.0}, stream).values["x"] - 5.0 for _ in range(3000)]
    assert statistics.stdev(moves) == pytest.approx(1.0, rel=0.06)
    assert statistics.mean(moves) == pytest.approx(0.0, abs=0.08)
    log = Space({"x": Float(1e-4, 1e-1, log=True, limits=(1e-12, 1e6))})
    decades = [math.log10(Gaussian(0.1).explore(log, {"x": 1e-3}, stream).values["x"]) + 3 for _ in range(3000)]
    assert statistics.stdev(decades) == pytest.approx(0.3, rel=0.06)


def test_ordinals_move_one_place_in_the_direction_of_the_factor():
    space = Space({"k": Ordinal([1, 3, 5, 7])})
    assert rule_result(space, Perturb((1.2,), 0.0), "k", 3, RandomStream(0)) == (5, "shifted")
    assert rule_result(space, Perturb((0.8,), 0.0), "k", 3, RandomStream(0)) == (1, "shifted")
    assert rule_result(space, Perturb((1.2,), 0.0), "k", 7, RandomStream(0)) == (7, None)


@pytest.mark.parametrize("rule", [Perturb((0.8, 1.2), 0.0), Gaussian()])
def test_choices_are_redrawn_and_booleans_flip(rule):
    stream = RandomStream(0)
    space = Space({"act": Choice(["relu", "tanh", "gelu"])})
    assert {rule.explore(space, {"act": "relu"}, stream).values["act"] for _ in range(60)} == {"relu", "tanh", "gelu"}
    flag = Space({"nesterov": Choice([False, True])})
    assert rule_result(flag, rule, "nesterov", False, stream) == (True, "redrawn")


def test_resampling_keeps_its_probability_and_draws_from_the_birth_range():
    space = Space({"x": Float(0.0, 1.0, limits=(-10.0, 10.0))})
    stream = RandomStream(0)
    results = [rule_result(space, Resample(0.25), "x", 7.0, stream) for _ in range(2000)]
    redrawn = [value for value, how in results if how == "resampled"]
    assert abs(len(redrawn) - 500) < 80
    assert all(0.0 <= value < 1.0 for value in redrawn)
    assert all(value == 7.0 for value, how in results if how is None)
    assert all(how == "resampled" for _, how in (rule_result(space, Perturb((0.8,), 1.0), "x", 7.0, stream),))


def test_another_branch_is_drawn_and_the_old_one_dropped():
    stream = RandomStream(0)
    crop = {"augment": "crop", "augment.crop.size": 16, "augment.crop.pad": 4, "lr": 0.5}
    left = entered = 0
    for _ in range(60):
        explored = Perturb((0.8,), 0.0).explore(BRANCHES, crop, stream)
        assert explored.values == BRANCHES.validate(explored.values)
        if explored.values["augment"] == "none":
            left += 1
            assert explored.how == {"augment": "redrawn", "lr": "x0.8"}
        explored = Perturb((0.8,), 0.0).explore(BRANCHES, {"augment": "none", "lr": 0.5}, stream)
        if explored.values["augment"] == "crop":
            entered += 1
            assert explored.how["augment.crop.size"] == "sampled"
            assert explored.values["augment.crop.pad"] == 4
    assert left
    assert entered


def test_a_chain_applies_its_rules_in_order():
    space = Space({"x": Float(0.0, 100.0)})
    chain = Chain((Perturb((0.5,), 0.0), Perturb((1.2,), 0.0)))
    assert rule_result(space, chain, "x", 10.0, RandomStream(0)) == (6.0, "x0.5, x1.2")
    assert rule_name(chain) == "Perturb, Perturb"
    # changes in a branch that a later rule leaves are not recorded
    stream = RandomStream(0)
    crop = {"augment": "crop", "augment.crop.size": 16, "augment.crop.pad": 4, "lr": 0.5}
    for _ in range(40):
        explored = chain.explore(BRANCHES, crop, stream)
        assert set(explored.how) <= set(explored.values)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (Perturb, {"factors": ()}),
        (Perturb, {"factors": (0.0,)}),
        (Perturb, {"factors": (1.2, -0.8)}),
        (Perturb, {"factors": (math.inf,)}),
        (Perturb, {"factors": (math.nan,)}),
        (Perturb, {"factors": 1.2}),
        (Perturb, {"factors": "12"}),
        (Perturb, {"factors": ("1.2",)}),
        (Perturb, {"resample_probability": 1.1}),
        (Perturb, {"resample_probability": -0.1}),
        (Perturb, {"resample_probability": True}),
        (Resample, {"probability": 2}),
        (Resample, {"probability": math.nan}),
        (Gaussian, {"scale": 0}),
        (Gaussian, {"scale": math.inf}),
        (Gaussian, {"scale": None}),
        (Gaussian, {"resample_probability": "0.5"}),
    ],
)
def test_bad_arguments_are_refused(kind, arguments):
    with pytest.raises(InvalidArgument, match=next(iter(arguments))):
        kind(**arguments)


def test_factors_may_be_a_list():
    assert Perturb([1, 2]).factors == (1.0, 2.0)
