"""Ranking: which members count, which is better, and how ties are broken."""

from __future__ import annotations

import math

import msgspec
import pytest

from phyletic.errors import NotFound
from phyletic.evolution import MemberView, Population
from phyletic.evolution.ranking import average, rank_matched
from phyletic.space import Float, Space
from phyletic.testing.generations import population_of

SPACE = Space({"x": Float(0.0, 1.0)})


def order(population: Population) -> list[int]:
    return [view.member for view in population.ranking.members]


@pytest.mark.parametrize(("mode", "expected"), [("max", [2, 0, 1]), ("min", [1, 0, 2])])
def test_the_mode_chooses_the_direction(mode, expected):
    assert order(population_of(SPACE, [0.5, 0.1, 0.9], mode=mode)) == expected


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, None])
def test_non_finite_scores_rank_worst_in_both_modes(mode, bad):
    population = population_of(SPACE, [bad, 0.1, 0.2], mode=mode)
    assert order(population)[-1] == 0
    assert population.ranking.finite == 2


def test_ties_go_to_the_lower_member():
    assert order(population_of(SPACE, [0.5, 0.5, 0.7, 0.5])) == [2, 0, 1, 3]
    assert order(population_of(SPACE, [math.nan, 0.5, math.inf, -math.inf])) == [1, 0, 2, 3]


def test_the_order_of_members_does_not_matter():
    population = population_of(SPACE, [0.5, 0.5, math.nan, 0.9])
    turned = msgspec.structs.replace(population, members=population.members[::-1])
    assert order(turned) == order(population)
    assert turned.view(0) == population.view(0)


def test_members_without_a_completed_trial_are_not_ranked():
    population = population_of(SPACE, [0.5, 0.6, 0.7], unborn=[2])
    assert order(population) == [1, 0]
    assert population.ranking.place(population.view(2)) is None


def test_failed_members_rank_among_the_non_finite():
    population = population_of(SPACE, [0.5, 0.9, 0.7], failed=[1])
    assert order(population) == [2, 0, 1]
    assert population.ranking.finite == 2
    assert population.ranking.threshold(1) == 0.5
    assert population.ranking.threshold(2) is None


def test_the_ranking_is_computed_once():
    population = population_of(SPACE, [0.5, 0.9])
    assert population.ranking is population.ranking


@pytest.mark.parametrize("member", [2, -1, 100])
def test_an_unknown_member_is_named(member):
    with pytest.raises(NotFound, match=str(member)):
        population_of(SPACE, [0.5, 0.9]).view(member)


def test_only_members_with_steps_left_may_donate():
    population = population_of(SPACE, [0.1, 0.2, 0.3], ages={0: 4, 1: 8, 2: 9}, limit=8)
    assert [population.may_donate(view) for view in population.members] == [True, False, False]


def matched(own_age: int, peer: list[tuple[int, float]], own: float = 0.5) -> list[tuple[int, float]]:
    population = population_of(SPACE, [own, peer[-1][1] if peer else 0.0], ages={0: own_age})
    other = msgspec.structs.replace(population.members[1], history=tuple(peer))
    ranking = rank_matched((population.members[0], other), "max", population.members[0])
    return [(view.member, score) for view, score in zip(ranking.members, ranking.scores, strict=True)]


def test_matched_experience_uses_the_latest_score_at_or_before_the_same_age():
    history = [(4, 0.1), (8, 0.6), (12, 0.9)]
    assert matched(4, history) == [(0, 0.5), (1, 0.1)]
    assert matched(8, history) == [(1, 0.6), (0, 0.5)]
    assert matched(11, history) == [(1, 0.6), (0, 0.5)]
    assert matched(40, history) == [(1, 0.9), (0, 0.5)]


def test_matched_experience_leaves_out_peers_without_a_score_at_that_age():
    assert matched(3, [(4, 0.1)]) == [(0, 0.5)]
    assert matched(3, []) == [(0, 0.5)]


def test_a_member_without_a_head_is_compared_by_latest_scores():
    population = population_of(SPACE, [0.5, 0.9, 0.1], unborn=[0])
    ranking = rank_matched(population.members, "max", population.members[0])
    assert [view.member for view in ranking.members] == [1, 2]


def test_a_mean_does_not_overflow():
    assert average([1.7e308, 1.7e308]) == 1.7e308
    assert average([1.0, 2.0, 6.0]) == 3.0


def test_only_a_member_that_can_continue_is_sound():
    good, bad, failed, unborn = population_of(SPACE, [0.5, math.nan, 0.5, 0.5], failed=[2], unborn=[3]).members
    assert (good.sound, bad.sound, failed.sound, unborn.sound) == (True, False, False, False)
    assert not MemberView(member=0).sound
