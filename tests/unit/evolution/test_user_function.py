"""A user's own explore function: its arguments, its result, and how decisions and JSON record it."""

from __future__ import annotations

import functools
import json

import numpy as np
import pytest

from phyletic.errors import InvalidArgument, InvalidSpace
from phyletic.evolution import PBT
from phyletic.evolution.codec import algorithm_from_json, algorithm_to_json
from phyletic.evolution.user_function import UserFunction, as_rule
from phyletic.randomness import RandomStream
from phyletic.space import Choice, Float, Int, Space
from phyletic.testing.generations import population_of

SPACE = Space(
    {
        "lr": Float(0.1, 1.0),
        "n": Int(1, 9),
        "width": Choice([64, 128], fixed=True),
        "augment": Choice({"none": {}, "crop": {"size": Int(8, 32)}}, fixed=False),
        "epochs": 3,
    }
)
VALUES = {"lr": 0.5, "n": 3, "width": 64, "augment": "none", "epochs": 3}


def explore(function, values=VALUES, seed=0):
    return as_rule(function).explore(SPACE, values, RandomStream(seed))


def test_the_function_gets_a_copy_and_a_generator():
    seen = {}

    def halve(hyperparameters, rng):
        seen.update(hyperparameters)
        assert isinstance(rng, np.random.Generator)
        hyperparameters["lr"] = np.float64(hyperparameters["lr"] / 2)
        return hyperparameters

    values = dict(VALUES)
    explored = explore(halve, values)
    assert seen == values == VALUES
    assert explored.values == {**VALUES, "lr": 0.25}
    assert type(explored.values["lr"]) is float
    assert list(explored.how) == ["lr"]
    assert explored.how["lr"].startswith("test_the_function_gets_a_copy_and_a_generator.<locals>.halve@sha256:")


def test_values_that_the_function_leaves_out_stay():
    assert explore(lambda h, rng: {"n": 5}).values == {**VALUES, "n": 5}
    assert explore(lambda h, rng: {}).how == {}


def test_the_generator_follows_the_stream():
    def draw(h, rng):
        return {"lr": rng.uniform(0.1, 1.0)}

    assert explore(draw, seed=1) == explore(draw, seed=1) != explore(draw, seed=2)


def test_a_branch_that_the_function_enters_is_completed():
    explored = explore(lambda h, rng: {"augment": "crop"})
    assert explored.values == SPACE.validate(explored.values)
    assert explored.how["augment.crop.size"] == "sampled"
    sized = explore(lambda h, rng: {"augment": "crop", "augment.crop.size": 9})
    assert sized.values["augment.crop.size"] == 9
    back = explore(lambda h, rng: {"augment": "none"}, sized.values)
    assert back.values == VALUES


@pytest.mark.parametrize(
    ("returned", "named"),
    [
        ({"lr": 5.0}, "lr"),
        ({"lr": float("nan")}, "lr"),
        ({"lr": "0.5"}, "lr"),
        ({"n": 2.5}, "n"),
        ({"width": 128}, "width"),
        ({"width": 100}, "width"),
        ({"epochs": 4}, "epochs"),
        ({"augment": "flip"}, "augment"),
        ({"learning_rate": 0.5}, "learning_rate"),
        ({3: 0.5}, "3"),
        (None, "hyperparameters"),
        ([("lr", 0.5)], "hyperparameters"),
    ],
)
def test_a_result_outside_the_space_is_refused_naming_its_path_and_the_function(returned, named):
    def mine(hyperparameters, rng):
        return returned

    with pytest.raises(InvalidSpace, match=named) as caught:
        explore(mine)
    assert "mine returned it" in str(caught.value)


def test_a_branch_with_fixed_parameters_may_not_be_left():
    space = Space({"head": Choice({"linear": {}, "mlp": {"width": Choice([64, 128], fixed=True)}}, fixed=False)})
    rule = as_rule(lambda h, rng: {"head": "mlp"})
    with pytest.raises(InvalidSpace, match="fixed at birth"):
        rule.explore(space, {"head": "linear"}, RandomStream(0))


def test_returning_a_fixed_value_unchanged_is_allowed():
    assert explore(lambda h, rng: {"width": 64, "epochs": 3}).values == VALUES


def test_the_decision_names_the_function():
    population = population_of(SPACE, [0.1, 0.9])

    def mine(hyperparameters, rng):
        return {"lr": 0.123}

    decision = PBT(2, 5, explore=mine).suggest(population, 0, RandomStream(0)).decision
    assert "mine@sha256:" in decision.explored
    assert [change.how for change in decision.changes if change.path == "lr"] == [decision.explored]


def one(h, rng):
    return {"n": 1}


def two(h, rng):
    return {"n": 2}


class Callable:
    def __call__(self, h, rng):
        return {"n": 7}

    def method(self, h, rng):
        return {"n": 8}


def test_the_hash_distinguishes_functions():
    assert as_rule(one) == as_rule(one) != as_rule(two)
    same_name = UserFunction("one", as_rule(two).hash)
    assert as_rule(one) != same_name
    first, second, again = (lambda h, rng: {"n": 1}), (lambda h, rng: {"n": 2}), (lambda h, rng: {"n": 1})
    assert as_rule(first) == as_rule(again) != as_rule(second)
    assert as_rule(lambda h, rng: rng.random()) != as_rule(lambda h, rng: rng.normal())


def test_functions_without_source_are_hashed_by_their_bytecode():
    scope: dict = {}
    exec("def mine(h, rng):\n    return {'n': 1}\n", scope)
    first = as_rule(scope["mine"])
    exec("def mine(h, rng):\n    return {'n': 2}\n", scope)
    assert as_rule(scope["mine"]).hash != first.hash
    exec("def mine(h, rng):\n    return {'n': 1}\n", scope)
    assert as_rule(scope["mine"]).hash == first.hash


@pytest.mark.parametrize(
    ("function", "name", "expected"),
    [
        (Callable(), "Callable", 7),
        (Callable().method, "Callable.method", 8),
        (functools.partial(one), "one", 1),
        (functools.partial(lambda n, h, rng: {"n": n}, 6), "<lambda>", 6),
    ],
)
def test_any_callable_is_accepted(function, name, expected):
    rule = as_rule(function)
    assert rule.qualified_name.endswith(name)
    assert rule.explore(SPACE, VALUES, RandomStream(0)).values["n"] == expected


def test_partials_differ_by_their_arguments():
    def set_to(n, h, rng):
        return {"n": n}

    assert as_rule(functools.partial(set_to, 1)) != as_rule(functools.partial(set_to, 2))


def test_an_algorithm_read_from_json_says_that_it_needs_the_function():
    algorithm = PBT(2, 5, explore=[one])
    again = algorithm_from_json(json.loads(json.dumps(algorithm_to_json(algorithm))))
    assert again == algorithm
    population = population_of(SPACE, [0.1, 0.9])
    assert again.suggest(population, 1, RandomStream(0)).decision.kind == "continue"
    with pytest.raises(InvalidArgument, match=r"one.*open it from the code"):
        again.suggest(population, 0, RandomStream(0))
