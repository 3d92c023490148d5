"""Every operation keeps a value in its domain, on its grid and of its type."""

from __future__ import annotations

import json
import math
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from phyletic.randomness import RandomStream
from phyletic.space import Choice, Domain, Float, Int, Ordinal, Space

QUICK = settings(derandomize=True, max_examples=100, deadline=None, database=None)

SIZES = st.floats(-1e6, 1e6, allow_subnormal=False)
POSITIVE = st.floats(1e-8, 1e6)
UNITS = st.floats(0, 1, exclude_max=True)
FACTORS = st.floats(0.1, 10)
NOISES = st.floats(-3, 3)
DECIMALS = st.sampled_from([0.1, 0.25, 0.05, 1.0, 3.0, 1e-3, 0.7, 1 / 3])


@st.composite
def continuous(draw: st.DrawFn) -> Float:
    log = draw(st.booleans())
    numbers = POSITIVE if log else SIZES
    bounds = sorted(draw(st.lists(numbers, min_size=4, max_size=4, unique=True)))
    limits = (bounds[0], bounds[3]) if draw(st.booleans()) else None
    return Float(bounds[1], bounds[2], log=log, limits=limits)


@st.composite
def stepped(draw: st.DrawFn) -> Float:
    log, step = draw(st.booleans()), draw(DECIMALS)
    start = draw(st.integers(6, 40) if log else st.integers(-40, 40))
    count, below, above = draw(st.integers(1, 60)), draw(st.integers(0, 5)), draw(st.integers(0, 5))
    low = start * step
    return Float(low, low + count * step, log=log, step=step, limits=(low - below * step, low + (count + above) * step))


@st.composite
def whole(draw: st.DrawFn) -> Int:
    log, step = draw(st.booleans()), draw(st.sampled_from([1, 1, 2, 5, 32]))
    low = draw(st.integers(200, 300) if log else st.integers(-(2**20), 2**20))
    count, below, above = draw(st.integers(1, 2**20)), draw(st.integers(0, 5)), draw(st.integers(0, 5))
    high = low + count * step
    return Int(low, high, log=log, step=step, limits=(low - below * step, high + above * step))


PLAIN = st.one_of(st.text(max_size=5), st.integers(-5, 5), st.booleans(), st.none())
LISTS = st.lists(PLAIN, min_size=1, max_size=6, unique_by=lambda value: (type(value), value))
GRIDS = st.one_of(stepped(), whole())
NUMBERS = st.one_of(continuous(), stepped(), whole())
DOMAINS: st.SearchStrategy[Domain] = st.one_of(NUMBERS, LISTS.map(Ordinal), LISTS.map(Choice))


def in_domain(domain: Domain, value: Any) -> bool:
    """Reimplement containment from the promises of a domain."""
    if isinstance(domain, Float):
        near = domain.step is None or abs(math.remainder(value - domain.low, domain.step)) <= 1e-6 * domain.step
        return type(value) is float and domain.limits[0] <= value <= domain.limits[1] and near
    if isinstance(domain, Int):
        on_grid = (value - domain.low) % domain.step == 0
        return type(value) is int and domain.limits[0] <= value <= domain.limits[1] and on_grid
    listed = domain.values if isinstance(domain, Ordinal) else domain.options
    return any(type(option) is type(value) and option == value for option in listed)


def check(domain: Domain, value: Any) -> None:
    assert in_domain(domain, value)
    assert domain.contains(value)
    assert domain.coerce(value, "x") == value
    assert type(domain.coerce(value, "x")) is type(value)


@QUICK
@given(DOMAINS, UNITS, FACTORS, NOISES, st.integers(1, 20), st.integers(0, 2**32))
def test_a_domain_contains_every_value_that_it_returns(
    domain: Domain, unit: float, factor: float, noise: float, points: int, seed: int
) -> None:
    domain.validate("x")
    stream = RandomStream(seed)
    for value in (domain.from_unit(unit), domain.sample(stream), *domain.grid(points)):
        check(domain, value)
        if isinstance(domain, Float | Int):
            assert domain.low <= value <= domain.high
    check(domain, domain.perturb(value, factor, stream))
    check(domain, domain.shift(value, noise, stream))


@settings(QUICK, max_examples=30)
@given(DOMAINS, st.lists(st.one_of(FACTORS, st.sampled_from([0.8, 1.2])), min_size=1, max_size=8), st.integers(0, 99))
def test_hundreds_of_moves_never_leave_the_domain(domain: Domain, factors: list[float], seed: int) -> None:
    stream = RandomStream(seed)
    value = domain.sample(stream)
    for turn in range(300):
        if turn % 3:
            value = domain.perturb(value, factors[turn % len(factors)], stream)
        else:
            value = domain.shift(value, 0.3 * stream.normal(), stream)
        assert in_domain(domain, value)
        assert domain.contains(value)


@QUICK
@given(GRIDS, UNITS, FACTORS)
def test_a_factor_always_moves_along_a_grid(domain: Any, unit: float, factor: float) -> None:
    assume(factor != 1.0)
    value = domain.from_unit(unit)
    moved = domain.perturb(value, factor, RandomStream(0))
    up = (factor > 1) == (value >= 0)
    if value == domain.limits[up]:
        assert moved == value
    else:
        assert moved > value if up else moved < value
        assert abs(moved - value) >= domain.step * (1 - 1e-6)


@QUICK
@given(GRIDS, UNITS, NOISES)
def test_noise_always_moves_along_a_grid(domain: Any, unit: float, noise: float) -> None:
    assume(noise != 0.0)
    value = domain.from_unit(unit)
    moved = domain.shift(value, noise, RandomStream(0))
    if value == domain.limits[noise > 0]:
        assert moved == value
    else:
        assert moved > value if noise > 0 else moved < value


@QUICK
@given(GRIDS, UNITS, st.integers(1, 20), FACTORS)
def test_a_grid_point_is_always_the_same_number(domain: Any, unit: float, points: int, factor: float) -> None:
    found: dict[int, float] = {}
    stream = RandomStream(0)
    value = domain.from_unit(unit)
    walk = [value := domain.perturb(value, factor, stream) for _ in range(10)]
    for point in (*domain.limits, domain.low, domain.high, *walk, *domain.grid(points), *domain.grid(200)):
        index = round((point - domain.low) / domain.step)
        assert found.setdefault(index, point) == point


@QUICK
@given(continuous(), UNITS, FACTORS, NOISES)
def test_a_continuous_range_moves_as_its_scale_says(domain: Float, unit: float, factor: float, noise: float) -> None:
    value, (lowest, highest) = domain.from_unit(unit), domain.limits
    assert domain.perturb(value, factor, RandomStream(0)) == min(max(value * factor, lowest), highest)
    shifted = domain.shift(value, noise, RandomStream(0))
    if lowest < shifted < highest:
        if domain.log:
            moved, width = math.log(shifted / value), math.log(domain.high / domain.low)
        else:
            moved, width = shifted - value, domain.high - domain.low
        scale = 1.0 if domain.log else max(abs(value), abs(shifted))
        assert math.isclose(moved, noise * width, rel_tol=1e-9, abs_tol=1e-9 * scale)


@QUICK
@given(DOMAINS, UNITS, UNITS)
def test_values_increase_with_their_units(domain: Domain, first: float, second: float) -> None:
    low, high = sorted((first, second))
    if isinstance(domain, Float | Int):
        assert domain.from_unit(low) <= domain.from_unit(high)
        assert domain.from_unit(0.0) == domain.low
        assert domain.from_unit(1.0) == domain.high
    else:
        listed = domain.values if isinstance(domain, Ordinal) else domain.options
        assert domain.from_unit(low) == listed[int(low * len(listed))]


@QUICK
@given(DOMAINS)
def test_a_domain_survives_json(domain: Domain) -> None:
    space = Space({"x": domain})
    again = Space.from_json(json.loads(json.dumps(space.to_json())))
    assert again == space
    assert again.parameters["x"].domain == domain
    assert space.difference(again) is None
    assert eval(repr(domain), {"Float": Float, "Int": Int, "Ordinal": Ordinal, "Choice": Choice}) == domain


@QUICK
@given(DOMAINS, st.integers(1, 30))
def test_grids_have_both_ends_and_no_value_twice(domain: Domain, points: int) -> None:
    values = domain.grid(points)
    keys = [(type(value), value) for value in values]
    assert len(set(keys)) == len(keys)
    if isinstance(domain, Float | Int):
        assert len(values) <= points
        assert list(values) == sorted(values)
        if points > 1:
            assert (values[0], values[-1]) == (domain.low, domain.high)
