"""Domains at values where mistakes are likely."""

from __future__ import annotations

import decimal
import enum
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from phyletic.randomness import RandomStream
from phyletic.space import Choice, Domain, Float, Int, Ordinal, Space

STREAM = RandomStream(0)


def test_an_integer_always_moves() -> None:
    ones = Int(1, 100, limits=(0, 100))
    assert [ones.perturb(value, 1.2, STREAM) for value in (0, 1, 2, 3, 10, 100)] == [1, 2, 3, 4, 12, 100]
    assert [ones.perturb(value, 0.8, STREAM) for value in (0, 1, 2, 3, 10, 100)] == [0, 0, 1, 2, 8, 80]
    signed = Int(-10, 10)
    assert [signed.perturb(value, 1.2, STREAM) for value in (-10, -5, -1, 0)] == [-10, -6, -2, 1]
    assert [signed.perturb(value, 0.8, STREAM) for value in (-10, -1, 0, 1)] == [-8, 0, -1, 0]
    assert [ones.perturb(value, 1.0, STREAM) for value in (0, 1, 7)] == [0, 1, 7]
    assert Int(64, 512, step=64).perturb(64, 1.2, STREAM) == 128
    assert Int(1, 2**53).perturb(2**53 - 1, 1.2, STREAM) == 2**53
    assert Int(1, 2**53).perturb(2**53, 1e308, STREAM) == 2**53
    assert Int(-(2**53), 2**53).perturb(2**53 - 1, 1.0, STREAM) == 2**53 - 1
    assert Int(-(2**53), 2**53).perturb(1 - 2**53, 1.0, STREAM) == 1 - 2**53


def test_the_domain_decides_the_type() -> None:
    found: list[Any] = [
        Float(0, 10).perturb(2, 1.5, STREAM),
        Float(0, 10).shift(2, 0.0, STREAM),
        Float(0, 10, step=1).perturb(np.float64(2), 1.5, STREAM),
        Int(0, 10).perturb(2.0, 1.5, STREAM),  # type: ignore[arg-type]
        Int(0, 10).perturb(np.int64(2), 1.5, STREAM),  # type: ignore[arg-type]
        Int(0, 10).shift(np.int64(2), 0.1, STREAM),  # type: ignore[arg-type]
    ]
    assert found == [3.0, 2.0, 3.0, 3, 3, 3]
    assert [type(value) for value in found] == [float, float, float, int, int, int]


def test_a_continuous_float_stays_at_zero_and_a_stepped_one_leaves_it() -> None:
    assert str(Float(-1, 1).perturb(0.0, 0.8, STREAM)) == "0.0"
    assert str(Float(-1, 1).perturb(-5e-324, 0.1, STREAM)) == "0.0"
    assert Float(-1, 1, step=0.5).perturb(0.0, 1.2, STREAM) == 0.5
    assert Float(-1, 1, step=0.5).perturb(0.0, 0.8, STREAM) == -0.5


def test_exploration_reaches_the_limits_and_birth_does_not() -> None:
    rate = Float(0.1, 1, log=True, limits=(0.01, 4))
    assert rate.perturb(1.0, 100.0, STREAM) == rate.shift(1.0, 1e9, STREAM) == 4.0
    assert rate.perturb(0.1, 1e-300, STREAM) == rate.shift(0.1, -1e9, STREAM) == 0.01
    assert rate.shift(0.1, 0.5, STREAM) == pytest.approx(0.1 * 10**0.5)
    assert max(rate.sample(RandomStream(1, seed)) for seed in range(200)) <= 1.0
    assert Float(-1e308, 7e307).shift(0.0, 2.9, STREAM) == 7e307


def test_rounding_of_logarithms_does_not_leave_a_narrow_range() -> None:
    for low in (0.1, 3.0, 7e-5, 1e10):
        narrow = Float(low, math.nextafter(low, math.inf) * (1 + 2e-16), log=True)
        narrow.validate("x")
        assert all(narrow.low <= narrow.from_unit(part / 50) <= narrow.high for part in range(50))


def test_grid_points_have_the_shortest_decimal_form() -> None:
    tenths = Float(0, 1, step=0.1)
    assert tenths.grid(11) == (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    assert tenths.coerce(0.1 * 3, "x") == 0.3
    assert tenths.coerce(np.float32(0.3), "x") == 0.3
    assert not tenths.contains(0.1 * 3)
    thirds = Float(0, 1, step=1 / 3)
    assert thirds.grid(4)[3] == 1.0
    with decimal.localcontext(prec=2):
        assert Float(0, 1, step=0.001).perturb(0.123, 1.001, STREAM) == 0.124


def test_log_grids_are_sampled_by_the_logarithm_and_snapped_to_steps() -> None:
    batch = Int(32, 1024, step=32, log=True)
    counts = Counter(batch.sample(RandomStream(2, seed)) <= 181 for seed in range(400))
    assert 150 < counts[True] < 250
    assert batch.grid(6) == (32, 64, 128, 256, 512, 1024)


def test_ordinals_move_by_positions() -> None:
    sizes = Ordinal(["s", "m", "l", "xl", "xxl"])
    assert [sizes.perturb(value, 1.2, STREAM) for value in ("s", "xl", "xxl")] == ["m", "xxl", "xxl"]
    assert [sizes.perturb(value, 0.8, STREAM) for value in ("s", "m")] == ["s", "s"]
    assert [sizes.shift("l", noise, STREAM) for noise in (0.0, 1e-9, -1e-9, 0.5, 1e300)] == [
        "l",
        "xl",
        "m",
        "xxl",
        "xxl",
    ]


def test_choices_are_redrawn_and_booleans_flip() -> None:
    flag = Choice([True, False])
    assert [flag.perturb(True, 1.2, STREAM), flag.shift(False, 0.1, STREAM)] == [False, True]
    three = Choice(["a", "b", "c"])
    drawn = Counter(three.perturb("a", 1.2, RandomStream(3, seed)) for seed in range(300))
    assert all(70 < drawn[option] < 130 for option in "abc")


def test_values_keep_their_types_in_a_choice() -> None:
    mixed = Choice([1, True, 0.5, "1", None])
    assert [type(mixed.coerce(value, "x")) for value in (1, 1.0, True, np.bool_(True), np.int8(1), "1", None)] == [
        int, int, bool, bool, int, str, type(None),
    ]  # fmt: skip
    assert not mixed.contains(False)
    assert not mixed.contains(1.0)
    assert Choice([1, 2]) != Choice([True, 2])
    assert hash(Choice([1, 2])) == hash(Choice((1, 2)))
    assert Space({"x": Choice([1, 2])}) != Space({"x": Choice([True, 2])})


class Size(enum.StrEnum):
    SMALL = "small"


@pytest.mark.parametrize(
    ("domain", "given", "kept"),
    [
        (Float(0, 4), 1, 1.0),
        (Float(0, 4), np.float32(0.5), 0.5),
        (Float(0, 4), np.int64(2), 2.0),
        (Float(0, 4), np.longdouble(2), 2.0),
        (Float(0, 4), -0.0, 0.0),
        (Int(0, 4), 3.0, 3),
        (Int(0, 4), np.uint8(3), 3),
        (Int(0, 4), np.float64(3), 3),
        (Ordinal([1.0, 2.0]), 2, 2.0),
        (Choice(["small", "big"]), Size.SMALL, "small"),
        (Choice(["small", "big"]), np.str_("big"), "big"),
        (Choice([Size.SMALL]), "small", "small"),
    ],
)
def test_user_values_are_converted_exactly(domain: Domain, given: Any, kept: Any) -> None:
    found = domain.coerce(given, "x")
    assert (type(found), str(found)) == (type(kept), str(kept))


def test_user_bounds_are_converted_exactly() -> None:
    assert Float(0, 1) == Float(np.float64(0), np.int64(1)) == Float(low=0.0, high=1.0, limits=[0, 1])  # type: ignore[arg-type]
    assert Int(1e3, 1e6) == Int(1000, 1_000_000)  # type: ignore[arg-type]
    assert Float(0, 1) != Int(0, 1)
    assert type(Int(np.int64(1), np.int64(9)).low) is int


def test_domains_are_frozen_and_shown_as_written() -> None:
    for domain in (Float(0.0, 1.0, step=0.5, limits=(-1.0, 1.0)), Int(1, 9, log=True, fixed=True), Choice(["a"])):
        with pytest.raises(AttributeError):
            domain.fixed = True  # type: ignore[misc]
    assert repr(Float(0, 1, step=0.5, limits=(-1, 1))) == "Float(0.0, 1.0, step=0.5, limits=(-1.0, 1.0))"
    assert repr(Int(1, 9, log=True, fixed=True)) == "Int(1, 9, log=True, fixed=True)"
    assert repr(Choice({"a": {}}, fixed=False)) == "Choice({'a': {}}, fixed=False)"
    options = ["a", "b"]
    chosen = Choice(options)
    options.append("c")
    assert chosen.options == ("a", "b")
