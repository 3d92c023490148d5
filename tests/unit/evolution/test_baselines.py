"""Random search and grid search: baselines without evolution."""

from __future__ import annotations

import math

import pytest

from phyletic.errors import InvalidArgument
from phyletic.evolution import GridSearch, RandomSearch
from phyletic.randomness import RandomStream
from phyletic.space import Choice, Float, Space
from phyletic.testing.generations import population_of

SPACE = Space({"x": Float(0.0, 1.0), "act": Choice(["a", "b"])})
BASELINES = [RandomSearch(3, 5), GridSearch(5, points=3)]


@pytest.mark.parametrize("algorithm", BASELINES)
@pytest.mark.parametrize("scores", [[0.1, 0.9, 0.5], [math.nan, 0.9, 0.5], [math.nan] * 3])
def test_no_member_copies_another(algorithm, scores):
    population = population_of(SPACE, scores, as_of=7)
    for member in range(3):
        suggestion = algorithm.suggest(population, member, RandomStream(member))
        assert suggestion.parent == member
        assert suggestion.hyperparameters == population.view(member).trial.hyperparameters
        assert suggestion.decision.kind == "continue"
        assert suggestion.decision.rank == population.ranking.place(population.view(member))
        assert suggestion.decision.as_of == 7
        assert suggestion.steps == 5


@pytest.mark.parametrize("unborn", [[], [0]])
def test_random_search_draws_failed_members_again(unborn):
    population = population_of(SPACE, [0.1, 0.9], failed=[0], unborn=unborn)
    suggestion = RandomSearch(2, 5).suggest(population, 0, RandomStream(3))
    assert suggestion.parent is None
    assert suggestion.hyperparameters == SPACE.sample(RandomStream(3))
    assert suggestion.decision.kind == "rescue"


def test_grid_search_starts_failed_members_again_at_their_point():
    algorithm = GridSearch(5, points=3)
    population = population_of(SPACE, [0.1, 0.9, 0.3], failed=[2])
    assert algorithm.suggest(population, 2, RandomStream(0)).hyperparameters == SPACE.grid(3)[2]


def test_random_search_draws_values_at_birth():
    born = RandomSearch(2, 5).birth(SPACE, 0, None, None, RandomStream(3))
    assert born.hyperparameters == SPACE.sample(RandomStream(3))
    assert RandomSearch(2, 5).birth(SPACE, 0, {"act": "b"}, None, RandomStream(3)).hyperparameters["act"] == "b"


def test_each_member_has_a_point_of_the_grid():
    algorithm = GridSearch(5, points=3)
    assert algorithm.population_size(SPACE) == 6
    born = [algorithm.birth(SPACE, member, None, [0.1, 0.2], RandomStream(0)).hyperparameters for member in range(7)]
    assert born[:6] == SPACE.grid(3)
    assert born[6] == born[0]


def test_the_number_of_points_may_be_given_by_path():
    assert GridSearch(5, points={"x": 4}).population_size(SPACE) == 8


def test_a_smaller_population_spreads_over_the_grid():
    algorithm = GridSearch(5, points=3, population=3)
    assert algorithm.population_size(SPACE) == 3
    assert [algorithm.point(SPACE, member) for member in range(3)] == SPACE.grid(3)[::2]


def test_a_larger_population_repeats_the_grid():
    algorithm = GridSearch(5, points=2, population=6)
    assert [algorithm.point(SPACE, member) for member in range(6)] == (SPACE.grid(2) * 2)[:6]


def test_a_user_may_give_a_member_other_values():
    assert GridSearch(5).birth(SPACE, 0, {"x": 0.123}, None, RandomStream(0)).hyperparameters["x"] == 0.123


@pytest.mark.parametrize(
    ("kind", "argument", "bad"),
    [
        *((kind, "interval", bad) for kind in (RandomSearch, GridSearch) for bad in (0, None, 1.5, True)),
        *((kind, "synchronous", 1) for kind in (RandomSearch, GridSearch)),
        *((RandomSearch, "population", bad) for bad in (0, None, 2.5)),
        *((GridSearch, "population", bad) for bad in (0, -3, 2.5)),
        *((GridSearch, "points", bad) for bad in (0, None, 2.5, {"x": 0}, [3])),
    ],
)
def test_bad_arguments_are_refused(kind, argument, bad):
    with pytest.raises(InvalidArgument, match=argument):
        kind(**{"interval": 5, argument: bad})


@pytest.mark.parametrize("kind", [RandomSearch, GridSearch])
def test_exactly_one_interval_is_given(kind):
    with pytest.raises(InvalidArgument, match="interval_seconds"):
        kind(interval=5, interval_seconds=1.0)
    assert kind(interval_seconds=1.0).interval is None
