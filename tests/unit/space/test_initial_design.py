"""Initial designs cover the cube more evenly than chance, and repeat with the same seed."""

from __future__ import annotations

import sys
import warnings
from typing import Literal

import pytest

from phyletic.errors import InvalidArgument, MissingDependency
from phyletic.space import Choice, Float, Space
from phyletic.space.design import initial_design

SPACE = Space({"a": Float(0, 1), "b": Float(0, 1), "c": Choice({"x": {"d": Float(0, 1)}, "y": {}})})


@pytest.mark.parametrize("sampling", ["sobol", "latin"])
@pytest.mark.parametrize("count", [1, 3, 8, 20])
def test_rows_are_units_and_repeat_with_the_seed(sampling: Literal["sobol", "latin"], count: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = initial_design(SPACE, count, sampling, 3)
    assert rows is not None
    assert rows == initial_design(SPACE, count, sampling, 3)
    assert rows != initial_design(SPACE, count, sampling, 4)
    assert [len(row) for row in rows] == [4] * count
    assert all(type(unit) is float and 0.0 <= unit < 1.0 for row in rows for unit in row)
    for row in rows:
        SPACE.validate(SPACE.from_units(row))


@pytest.mark.parametrize("sampling", ["sobol", "latin"])
@pytest.mark.parametrize("seed", range(5))
def test_each_part_of_each_range_is_visited_once(sampling: Literal["sobol", "latin"], seed: int) -> None:
    rows = initial_design(SPACE, 16, sampling, seed)
    assert rows is not None
    for column in zip(*rows, strict=True):
        assert sorted(int(unit * 16) for unit in column) == list(range(16))
    if sampling == "sobol":
        assert {(int(a * 4), int(b * 4)) for a, b, *_ in rows} == {(i, j) for i in range(4) for j in range(4)}


def test_columns_are_not_copies_of_each_other() -> None:
    rows = initial_design(SPACE, 8, "latin", 0)
    assert rows is not None
    orders = {tuple(sorted(range(8), key=lambda row: rows[row][column])) for column in range(4)}
    assert len(orders) == 4


def test_random_sampling_has_no_design_and_a_space_without_parameters_no_columns() -> None:
    assert initial_design(SPACE, 4, "random", 0) is None
    assert initial_design(Space({"n": 1}), 3, "sobol", 0) == [[], [], []]
    assert initial_design(SPACE, 0, "latin", 0) == []


def test_wrong_arguments_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidArgument, match="sampling is 'halton'"):
        initial_design(SPACE, 4, "halton", 0)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="count is -1"):
        initial_design(SPACE, -1, "latin", 0)
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(MissingDependency, match=r"pip install 'phyletic\[scipy\]'"):
        initial_design(SPACE, 4, "sobol", 0)
    assert initial_design(SPACE, 4, "latin", 0) is not None
