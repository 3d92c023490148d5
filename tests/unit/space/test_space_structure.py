"""Nested spaces: paths, conditions, order, and the sentences that name a difference."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from phyletic.errors import NotFound
from phyletic.randomness import RandomStream
from phyletic.space import Choice, Float, Int, Ordinal, Parameter, Space
from phyletic.space.paths import lookup, nest

DEFINITION: dict[str, Any] = {
    "width": Choice([64, 128], fixed=True),
    "optimizer": Choice(
        {
            "sgd": {"momentum": Float(0, 1), "nesterov": True, "warm": Choice({"yes": {"steps": Int(1, 9)}, "no": {}})},
            "adam": {"betas": {"first": Float(0, 1), "second": Float(0, 1, fixed=True)}},
        }
    ),
    "data": {"batch": Int(16, 64, step=16), "name": "digits"},
}


def test_parameters_keep_the_order_of_the_definition() -> None:
    space = Space(DEFINITION)
    sgd, adam = ("optimizer", "sgd"), ("optimizer", "adam")
    assert {path: (p.requires, p.fixed) for path, p in space.parameters.items()} == {
        "width": ((), True),
        "optimizer": ((), True),
        "optimizer.sgd.momentum": ((sgd,), False),
        "optimizer.sgd.warm": ((sgd,), True),
        "optimizer.sgd.warm.yes.steps": ((sgd, ("optimizer.sgd.warm", "yes")), False),
        "optimizer.adam.betas.first": ((adam,), False),
        "optimizer.adam.betas.second": ((adam,), True),
        "data.batch": ((), False),
    }
    assert list(space.parameters)[-1] == "data.batch"
    assert dict(space.constants) == {"optimizer.sgd.nesterov": True, "data.name": "digits"}
    assert space.requires("optimizer.sgd.nesterov") == (sgd,)
    assert space.dimensions == 8
    assert all(isinstance(parameter, Parameter) for parameter in space.parameters.values())


def test_changing_the_definition_later_does_not_change_the_space() -> None:
    definition: dict[str, Any] = {"optimizer": Choice({"sgd": {"group": {"lr": Float(0, 1)}}})}
    space, same = Space(definition), Space(definition)
    definition["optimizer"].spaces["sgd"]["group"]["more"] = Float(0, 1)
    assert space == same
    assert list(space.to_json()) == ["format", "entries"]
    assert "more" not in str(space.to_json())
    with pytest.raises(TypeError):
        space.parameters["x"] = space.parameters["optimizer"]  # type: ignore[index]


def test_a_value_under_an_option_chooses_the_option() -> None:
    space = Space(DEFINITION)
    for seed in range(5):
        values = space.complete({"optimizer.sgd.warm.yes.steps": 3.0}, RandomStream(seed))
        assert (values["optimizer"], values["optimizer.sgd.warm"]) == ("sgd", "yes")
        assert values["optimizer.sgd.nesterov"] is True
        nested = space.complete(
            {"optimizer": {"adam": {"betas": {"first": 0.5}}}, "data.batch": 32}, RandomStream(seed)
        )
        assert nested["optimizer.adam.betas.first"] == 0.5
        assert nested["data.batch"] == 32


def test_repair_follows_a_changed_choice() -> None:
    space = Space(DEFINITION)
    values = space.complete({"optimizer": "sgd", "optimizer.sgd.warm": "no", "width": 64}, RandomStream(0))
    assert space.repair(values, RandomStream(1)) == values
    changed = space.repair({**values, "optimizer": "adam"}, RandomStream(1))
    assert [path for path in changed if path.startswith("optimizer.")] == [
        "optimizer.adam.betas.first",
        "optimizer.adam.betas.second",
    ]
    assert changed["data.batch"] == values["data.batch"]


def test_fixed_values_come_with_the_weights() -> None:
    space = Space(DEFINITION)
    stream = RandomStream(0)
    mine = space.complete({"width": 64, "data.batch": 16, "optimizer.sgd.momentum": 0.1}, stream)
    same = space.complete({"width": 128, "data.batch": 64, "optimizer.sgd.momentum": 0.9}, stream)
    other = space.complete({"width": 128, "data.batch": 64, "optimizer.adam.betas.first": 0.9}, stream)
    mixed = space.with_fixed_of(mine, same)
    assert (mixed["width"], mixed["data.batch"], mixed["optimizer.sgd.momentum"]) == (128, 16, 0.1)
    mixed = space.with_fixed_of(mine, other)
    assert (mixed["optimizer"], mixed["optimizer.adam.betas.first"], mixed["data.batch"]) == ("adam", 0.9, 16)
    assert "optimizer.sgd.momentum" not in mixed
    # a fixed parameter also brings the free choice above it from the source of the weights
    free = Space(
        {"body": Choice({"mlp": {"width": Int(1, 9, fixed=True)}, "linear": {"l2": Float(0, 1)}}, fixed=False)}
    )
    assert free.with_fixed_of({"body": "linear", "body.linear.l2": 0.5}, {"body": "mlp", "body.mlp.width": 3}) == {
        "body": "mlp",
        "body.mlp.width": 3,
    }


def test_grids_enumerate_branches() -> None:
    space = Space(DEFINITION)
    places = space.grid(2)
    sgd = [values for values in places if values["optimizer"] == "sgd"]
    assert (len(places), len(sgd)) == (2 * 2 * (2 * (2 + 1) + 2 * 2), 2 * 2 * 2 * 3)
    points = dict.fromkeys((path for path, p in space.parameters.items() if isinstance(p.domain, Float | Int)), 1)
    assert len(space.grid({**points, "data.batch": 4})) == 2 * 4 * 3
    assert Space({"a": Int(0, 9), "b": Ordinal(["x", "y"])}).grid(2) == [
        {"a": 0, "b": "x"}, {"a": 0, "b": "y"}, {"a": 9, "b": "x"}, {"a": 9, "b": "y"},
    ]  # fmt: skip
    assert Space({}).grid(3) == [{}]


def test_values_can_be_nested_and_looked_up() -> None:
    values = {"width": 64, "optimizer": "sgd", "optimizer.sgd.momentum": 0.9, "data.batch": 32, "data.aug.flip": True}
    assert nest(values) == {
        "width": 64,
        "optimizer": {"sgd": {"momentum": 0.9}},
        "data": {"batch": 32, "aug": {"flip": True}},
    }
    assert lookup(values, "optimizer") == "sgd"
    assert lookup(values, "optimizer.sgd") == {"momentum": 0.9}
    assert lookup(values, "data") == {"batch": 32, "aug": {"flip": True}}
    with pytest.raises(KeyError) as caught:
        lookup(values, "optimizer.adam.momentum")
    assert isinstance(caught.value, NotFound)
    assert "Did you mean 'optimizer.sgd.momentum'" in str(caught.value)
    with pytest.raises(NotFound, match="There are: width"):
        lookup({"width": 64}, "zzzzzz")


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        ({"lr": Float(0, 1)}, {"lr": Float(0, 2)}, "space['lr'].high is 1.0 here, but 2.0 in the other"),
        ({"lr": Float(0, 1)}, {"lr": Int(0, 1)}, "space['lr'] is of type float here, but int in the other"),
        ({"lr": Float(0, 1)}, {}, "space['lr'] is here, but not in the other"),
        ({}, {"lr": Float(0, 1)}, "space['lr'] is in the other, but not here"),
        (
            {"lr": Float(0, 1, step=0.5)},
            {"lr": Float(0, 1)},
            "space['lr'].step is 0.5 here, but not given in the other",
        ),
        (
            {"lr": Float(1, 2)},
            {"lr": Float(1, 2, log=True)},
            "space['lr'].log is not given here, but True in the other",
        ),
        ({"a": {"n": 1}}, {"a": {"n": 1.0}}, "space['a.n'] is 1 here, but 1.0 in the other"),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, "the order is a, b here, but b, a in the other"),
        ({"o": Choice({"x": {}})}, {"o": Choice(["x"], fixed=True)}, "space['o']"),
        ({"o": Choice({"x": {"m": 1}})}, {"o": Choice({"x": {"m": 2}})}, "space['o.x.m'] is 1 here, but 2"),
        ({"o": Choice(["x", "y"])}, {"o": Choice(["y", "x"])}, "space['o'].options is ['x', 'y'] here"),
    ],
)
def test_the_first_difference_is_named(first: dict[str, Any], second: dict[str, Any], sentence: str) -> None:
    one, two = Space(first), Space(second)
    assert one != two
    assert sentence in str(one.difference(two))


def test_importing_a_space_imports_nothing_heavy() -> None:
    script = "import sys, phyletic.space; print({'scipy', 'pandas', 'difflib', 'sqlalchemy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
