"""The toy of figure 2 of the paper (Jaderberg et al. 2017): PBT decides, and this file trains.

Q = 1.2 - theta0^2 - theta1^2, but members climb 1.2 - h0 theta0^2 - h1 theta1^2 from (0.9, 0.9): two members with
h = (1, 0) and (0, 1), learning rate 0.01, 200 steps, a decision every 4.
"""

from __future__ import annotations

import statistics

import pytest

from phyletic.evolution import PBT, Gaussian, MemberView, Perturb, Population, RandomSearch
from phyletic.randomness import RandomStream
from phyletic.space import Float, Space
from phyletic.testing.generations import completed_trial

SPACE = Space({"h0": Float(0.0, 1.0), "h1": Float(0.0, 1.0)})
BIRTHS = ({"h0": 1.0, "h1": 0.0}, {"h0": 0.0, "h1": 1.0})


def final_score(algorithm, seed):
    """Return the better member's last Q."""
    thetas, views = {}, []
    next_trials = [
        (algorithm.birth(SPACE, member, given, None, RandomStream(seed, member)), (0.9, 0.9))
        for member, given in enumerate(BIRTHS)
    ]
    for step in range(4, 204, 4):
        views = []
        for member, (suggestion, (theta0, theta1)) in enumerate(next_trials):
            h = suggestion.hyperparameters
            for _ in range(suggestion.steps):
                theta0 -= 0.01 * 2 * h["h0"] * theta0
                theta1 -= 0.01 * 2 * h["h1"] * theta1
            number = len(thetas)
            thetas[number] = (theta0, theta1)
            trial = completed_trial(number, 1.2 - theta0**2 - theta1**2, h, member=member, end_step=step)
            views.append(MemberView(member=member, trial=trial, scores=(trial.score,)))
        population = Population(space=SPACE, mode="max", members=tuple(views), as_of=step)
        next_trials = []
        for member in range(2):
            suggestion = algorithm.suggest(population, member, RandomStream(1000 + seed, step, member))
            next_trials.append((suggestion, thetas[suggestion.parent]))
    return max(view.trial.score for view in views)


def median(algorithm, seeds=15):
    return statistics.median(final_score(algorithm, seed) for seed in range(seeds))


def test_without_evolution_a_member_never_learns_one_of_the_coordinates():
    assert median(RandomSearch(2, 4), 1) == pytest.approx(0.390, abs=0.001)


def test_factors_alone_cannot_leave_zero():
    assert median(PBT(2, 4, explore=Perturb((0.8, 1.2), 0.0))) == pytest.approx(0.390, abs=0.001)


def test_copying_weights_without_exploring_learns_both_coordinates_in_turn():
    assert median(PBT(2, 4, inherit="weights", explore=Perturb((1.0,), 0.0))) == pytest.approx(1.172, abs=0.005)


@pytest.mark.parametrize("explore", [Gaussian(0.1), Perturb(resample_probability=0.5)])
def test_population_based_training_finds_the_optimum(explore):
    assert median(PBT(2, 4, explore=explore)) > 1.19


def test_copying_only_hyperparameters_is_worse_than_copying_both():
    both = median(PBT(2, 4, explore=Gaussian(0.1)))
    assert median(PBT(2, 4, explore=Gaussian(0.1), inherit="hyperparameters")) < both
