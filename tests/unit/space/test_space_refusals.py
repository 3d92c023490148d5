"""An error in a space names the parameter, the value and the allowed values."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from phyletic.errors import InvalidArgument, InvalidSpace
from phyletic.randomness import RandomStream
from phyletic.space import Choice, Float, Int, Ordinal, Space

NAN, INF = float("nan"), float("inf")

DOMAINS: list[tuple[Any, str, str]] = [
    (Float(0.5, 0.1), ".high is 0.1", "above low (0.5)"),
    (Float(1, 1), ".high is 1.0", "a constant: 1.0"),
    (Float(NAN, 1), ".low is nan", "a finite number"),
    (Float(0, INF), ".high is inf", "a finite number"),
    (Float(10**400, 1), ".low is 1000", "a finite number"),
    (Float(True, 2), ".low is True", "a finite number"),
    (Float("0", 1), ".low is '0'", "a finite number"),  # type: ignore[arg-type]
    (Float(None, 1), ".low is None", "a finite number"),  # type: ignore[arg-type]
    (Float(2**53 + 1, 2**60), ".low is 9007199254740993", "a finite number"),
    (Float(0, 1, log=True), ".low is 0.0", "above 0 with log=True"),
    (Float(-1, 1, log=True), ".low is -1.0", "above 0 with log=True"),
    (Float(0.1, 1, log=True, limits=(0, 1)), ".limits[0] is 0.0", "above 0 with log=True"),
    (Float(0, 1, log=1), ".log is 1", "True or False"),  # type: ignore[arg-type]
    (Float(0, 1, fixed="no"), ".fixed is 'no'", "True or False"),  # type: ignore[arg-type]
    (Float(0, 1, limits=(0.1, 1)), ".limits is (0.1, 1.0)", "at least as wide as low to high (0.0 to 1.0)"),
    (Float(0, 1, limits=(0, 0.9)), ".limits is (0.0, 0.9)", "at least as wide as low to high (0.0 to 1.0)"),
    (Float(0, 1, limits=(0, 1, 2)), ".limits is (0, 1, 2)", "a pair"),  # type: ignore[arg-type]
    (Float(0, 1, limits="01"), ".limits is '01'", "a pair"),  # type: ignore[arg-type]
    (Float(0, 1, limits=(0, NAN)), ".limits[1] is nan", "a finite number"),
    (Float(0, 1, limits=(False, 1)), ".limits[0] is False", "a finite number"),
    (Float(0, 1, limits=(-1e308, 1.7e308)), ".limits is (-1e+308, 1.7e+308)", "overflows"),
    (Float(0, 1, step=0.3), ".step is 0.3", "a divisor of high - low (1.0 - 0.0 = 1.0)"),
    (Float(0, 1, step=0.0999), ".step is 0.0999", "a divisor of high - low"),
    (Float(0, 1, step=3), ".step is 3.0", "a divisor"),
    (Float(0, 1e-9, step=1), ".step is 1.0", "a divisor"),
    (Float(0, 1, step=0), ".step is 0.0", "above 0"),
    (Float(0, 1, step=-0.1), ".step is -0.1", "above 0"),
    (Float(0, 1, step=NAN), ".step is nan", "above 0"),
    (Float(0, 1, step=True), ".step is True", "above 0"),
    (Float(0, 1, step=1e-12), ".step is 1e-12", "a billionth"),
    (Float(0, 1, step=0.1, limits=(-0.05, 1)), ".limits[0] is -0.05", "on the grid"),
    (Float(0, 1, step=0.1, limits=(0, 1.05)), ".limits[1] is 1.05", "on the grid"),
    (Int(8, 1), ".high is 1", "above low (8)"),
    (Int(1, 1), ".high is 1", "a constant: 1"),
    (Int(0.5, 3), ".low is 0.5", "a whole number"),  # type: ignore[arg-type]
    (Int(0, True), ".high is True", "a whole number"),
    (Int(0, NAN), ".high is nan", "a whole number"),  # type: ignore[arg-type]
    (Int(0, 2**53 + 1), ".high is 9007199254740993", "from -2**53 to 2**53"),
    (Int(0, 1, limits=(-(2**60), 1)), ".limits[0] is -1152921504606846976", "from -2**53 to 2**53"),
    (Int(0, 9, log=True), ".low is 0", "above 0 with log=True"),
    (Int(0, 9, step=2), ".step is 2", "a divisor of high - low (9 - 0 = 9)"),
    (Int(0, 9, step=0), ".step is 0", "a whole number above 0"),
    (Int(0, 9, step=1.5), ".step is 1.5", "a whole number above 0"),  # type: ignore[arg-type]
    (Int(0, 8, step=2, limits=(-1, 8)), ".limits[0] is -1", "on the grid"),
    (Ordinal([]), ".values is []", "at least one value"),
    (Ordinal("abc"), ".values is 'abc'", "a list of values"),
    (Ordinal(5), ".values is 5", "a list of values"),  # type: ignore[arg-type]
    (Ordinal({1: "a", 2: "b"}), ".values is {1: 'a', 2: 'b'}", "a list of values"),  # type: ignore[arg-type]
    (Ordinal({1}), ".values is {1}", "a list of values"),  # type: ignore[arg-type]
    (Choice({"a"}), ".options is {'a'}", "a list of values"),  # type: ignore[arg-type]
    (Choice(frozenset("a")), ".options is frozenset({'a'})", "a list of values"),  # type: ignore[arg-type]
    (Ordinal([1, 2, 1]), ".values[2] is 1", "given only once"),
    (Ordinal([1, INF]), ".values[1] is inf", "a finite number"),
    (Ordinal([1, 2], fixed=None), ".fixed is None", "True or False"),  # type: ignore[arg-type]
    (Choice([]), ".options is []", "at least one value"),
    (Choice({}), ".options is []", "at least one value"),
    (Choice(None), ".options is None", "a list of values"),  # type: ignore[arg-type]
    (Choice(["a", "a"]), ".options[1] is 'a'", "given only once"),
    (Choice([1, 1.0]), ".options[1] is 1.0", "different from 1 in JSON"),
    (Choice([0.0, -0.0]), ".options[1] is -0.0", "given only once"),
    (Choice([[1], [2]]), ".options[0] is [1]", "text, a finite number"),  # type: ignore[list-item]
    (Choice([NAN]), ".options[0] is nan", "a finite number"),
    (Choice([2**60]), ".options[0] is 1152921504606846976", "a finite number"),
    (Choice(["\ud800"]), ".options[0] is '\\ud800'", "text"),
    (Choice(["a", "b"], fixed=1), ".fixed is 1", "True or False"),  # type: ignore[arg-type]
    (Choice({"sgd": Float(0, 1)}), ".options['sgd'] is Float(0.0, 1.0)", "a dictionary of parameters"),  # type: ignore[dict-item]
    (Choice({"sgd": None}), ".options['sgd'] is None", "a dictionary of parameters"),  # type: ignore[dict-item]
    (Choice({"s.gd": {}}), ".options is 's.gd'", "without dots"),
    (Choice({"": {}}), ".options is ''", "1 to 200 characters"),
    (Choice({1: {}}), ".options is 1", "text"),  # type: ignore[dict-item]
]


@pytest.mark.parametrize(("domain", "found", "allowed"), DOMAINS, ids=lambda value: str(value)[:40])
def test_a_wrong_domain_is_refused_by_name(domain: Any, found: str, allowed: str) -> None:
    with pytest.raises(InvalidSpace) as alone:
        domain.validate("model.lr")
    with pytest.raises(InvalidSpace) as inside:
        Space({"model": {"lr": domain}})
    for caught in (alone, inside):
        assert f"space['model.lr']{found}" in str(caught.value)
        assert allowed in str(caught.value)
    assert str(pickle.loads(pickle.dumps(alone.value))) == str(alone.value)
    repr(domain)


class Custom:
    pass


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        (5, "space is 5, but must be a dictionary"),
        ([("lr", Float(0, 1))], "but must be a dictionary"),
        ({"": 1}, "a name in space is '', but must be text of 1 to 200 characters"),
        ({"a.b": 1}, "a name in space is 'a.b', but must be text of 1 to 200 characters without dots"),
        ({"a\n": 1}, "a name in space is 'a\\n'"),
        ({"a\x7f": 1}, "a name in space is"),
        ({"x" * 201: 1}, "1 to 200 characters"),
        ({3: 1}, "a name in space is 3"),
        ({"\ud800": 1}, "a name in space is"),
        ({"a": {"b": {"c.d": 1}}}, "a name in space['a.b'] is 'c.d'"),
        ({"a": Choice({"b": {"c.d": 1}})}, "a name in space['a.b'] is 'c.d'"),
        ({"a": {"lr": [0.1, 0.2]}}, "space['a.lr'] is [0.1, 0.2]"),
        ({"a": {"lr": [0.1, 0.2]}}, "write Choice([...])"),
        ({"lr": Float}, "Give the domain its arguments"),
        ({"lr": NAN}, "space['lr'] is nan"),
        ({"lr": Custom()}, "space['lr'] is <"),
        ({"lr": np.array([1.0])}, "space['lr'] is array"),
        ({"lr": 2**53 + 1}, "space['lr'] is 9007199254740993"),
        ({"a": Choice({"b": {"lr": Float(2, 1)}})}, "space['a.b.lr'].high is 1.0, but must be above low (2.0)"),
    ],
)
def test_a_wrong_definition_is_refused_by_name(definition: Any, message: str) -> None:
    with pytest.raises(InvalidSpace) as caught:
        Space(definition)
    assert message in str(caught.value)


def test_a_dictionary_that_contains_itself_is_refused() -> None:
    loop: dict[str, Any] = {"lr": Float(0, 1)}
    loop["again"] = loop
    through: dict[str, Any] = {}
    through["optimizer"] = Choice({"sgd": through, "adam": through})
    for definition in (loop, through):
        with pytest.raises(InvalidSpace, match=r"the depth of space\['.*'\] is 17.*Does a dictionary contain itself"):
            Space(definition)
    repr(through["optimizer"])
    with pytest.raises(InvalidSpace, match="depth of"):
        Space({"a": 1}).validate(loop)


def test_sixteen_levels_are_allowed() -> None:
    definition: dict[str, Any] = {"lr": Float(0, 1)}
    for _ in range(15):
        definition = {"x": Choice({"y": definition})}
    space = Space(definition)
    assert Space.from_json(space.to_json()) == space
    values = space.sample(RandomStream(0))
    assert len(values) == 16
    with pytest.raises(InvalidSpace):
        Space({"x": definition})


SPACE = Space(
    {
        "lr": Float(0.1, 1, limits=(0.01, 2)),
        "wd": Float(0, 1, step=0.1),
        "depth": Int(2, 8, step=2),
        "width": Ordinal([16, 32]),
        "bias": Choice([True, 1]),
        "seed": 7,
        "optimizer": Choice({"sgd": {"momentum": Float(0, 1), "nesterov": False}, "adam": {"beta": Float(0, 1)}}),
    }
)


@pytest.mark.parametrize(
    ("partial", "message"),
    [
        ({"lr": 3}, "lr is 3, but must be from 0.01 to 2.0"),
        ({"lr": True}, "lr is True, but must be a number from 0.01 to 2.0"),
        ({"lr": "0.1"}, "lr is '0.1', but must be a number"),
        ({"lr": NAN}, "lr is nan, but must be a number"),
        ({"lr": None}, "lr is None, but must be a number"),
        ({"lr": 10**400}, "lr is 1000"),
        ({"wd": 0.35}, "wd is 0.35, but must be from 0.0 to 1.0 in steps of 0.1 from 0.0"),
        ({"wd": 0.3001}, "wd is 0.3001, but must be from 0.0 to 1.0 in steps of 0.1"),
        ({"wd": 1.1}, "wd is 1.1, but must be"),
        ({"depth": 2.5}, "depth is 2.5, but must be a whole number from 2 to 8 in steps of 2 from 2"),
        ({"depth": 3}, "depth is 3, but must be a whole number"),
        ({"depth": 10}, "depth is 10, but must be"),
        ({"depth": True}, "depth is True, but must be"),
        ({"depth": INF}, "depth is inf, but must be"),
        ({"width": 17}, "width is 17, but must be one of 16, 32"),
        ({"bias": False}, "bias is False, but must be one of True, 1"),
        ({"bias": [1]}, "bias is [1], but must be one of True, 1"),
        ({"seed": 8}, "seed is 8, but must be 7"),
        ({"seed": True}, "seed is True, but must be 7"),
        ({"optimizer": "sdg"}, "optimizer is 'sdg', but must be one of 'sgd', 'adam'"),
        ({"momentun": 0.5}, "Did you mean 'optimizer.sgd.momentum'?"),
        ({"optimizer.sgd.momentu": 0.5}, "Did you mean 'optimizer.sgd.momentum'?"),
        ({"optimizer": {"sgd": {"lr": 0.5}}}, "parameter is 'optimizer.sgd.lr', but must be one of the space's"),
        ({"optimizer": {"sgd": 5}}, "optimizer is {'sgd': 5}, but must be an option, or {option: {its parameters}}"),
        ({"optimizer": {}}, "optimizer is {}, but must be an option"),
        ({"optimizer": {"sgd": {}, "adam": {}}}, "but must be an option"),
        ({"lr": {"x": 1}}, "parameter is 'lr.x'"),
        ({5: 1}, "a name in the values is 5"),
        ([], "the values is [], but must be a dictionary"),
        ({"optimizer": "adam", "optimizer.sgd.momentum": 0.5}, "must be left out while optimizer is 'adam'"),
        (
            {"optimizer": "adam", "optimizer.sgd.nesterov": False},
            "optimizer.sgd.nesterov is False, but must be left out",
        ),
        ({"optimizer.adam.beta": 0.1, "optimizer.sgd.momentum": 0.5}, "left out if optimizer.adam.beta is given"),
        ({"optimizer": {"sgd": {"momentum": 0.5}}, "optimizer.sgd.momentum": 0.4}, "given only once; it is also 0.5"),
        ({"optimizer": {"sgd": {}}, "optimizer.x": 0.4}, "parameter is 'optimizer.x'"),
    ],
    ids=repr,
)
def test_a_wrong_value_is_refused_by_name(partial: Any, message: str) -> None:
    with pytest.raises(InvalidSpace) as caught:
        SPACE.complete(partial, RandomStream(0))
    assert message in str(caught.value)
    with pytest.raises(InvalidSpace):
        SPACE.validate(partial)


def test_a_missing_value_is_named() -> None:
    values = SPACE.sample(RandomStream(0))
    del values["depth"]
    with pytest.raises(InvalidSpace, match="depth is None, but must be given"):
        SPACE.validate(values)


def test_wrong_moves_units_and_points_are_refused() -> None:
    stream = RandomStream(0)
    for domain in (Float(0, 1), Int(0, 9), Ordinal([1, 2]), Choice([1, 2])):
        for factor in (0.0, -1.0, NAN, INF):
            with pytest.raises(InvalidArgument, match="factor is"):
                domain.perturb(1, factor, stream)  # type: ignore[arg-type]
        for noise in (NAN, INF):
            with pytest.raises(InvalidArgument, match="noise is"):
                domain.shift(1, noise, stream)  # type: ignore[arg-type]
    for points in (0, 1.5, True):
        with pytest.raises(InvalidArgument, match="points is"):
            SPACE.grid(points)  # type: ignore[arg-type]
    assert all("wd" not in row for row in SPACE.grid({"lr": 2}))
    with pytest.raises(InvalidSpace, match="Did you mean 'lr'"):
        SPACE.grid({"lrr": 2})
    with pytest.raises(InvalidArgument, match="points is 2, but must be few enough"):
        Space({f"p{place}": Float(0, 1) for place in range(30)}).grid(2)
    with pytest.raises(InvalidArgument, match=r"units is .* 8 numbers"):
        SPACE.from_units([0.5])
    with pytest.raises(InvalidArgument, match="numbers from 0 to 1"):
        SPACE.from_units([NAN] * 8)
    with pytest.raises(InvalidSpace, match="Did you mean 'lr'"):
        SPACE.requires("lrr")
