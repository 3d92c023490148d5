"""The decisions of PBT for a member, and their recorded explanation."""

from __future__ import annotations

import math
from collections import Counter

import msgspec
import pytest

from phyletic.errors import InvalidArgument, InvalidSpace
from phyletic.evolution import (
    PBT,
    BinaryTournament,
    Gaussian,
    NoiseGate,
    NonFiniteStopping,
    Perturb,
    Reads,
    Truncation,
    TTest,
)
from phyletic.evolution.explore import same
from phyletic.randomness import RandomStream
from phyletic.space import Choice, Float, Int, Space
from phyletic.testing.generations import completed_trial, population_of

SPACE = Space(
    {
        "lr": Float(1e-4, 1e-1, log=True, limits=(1e-8, 1e3)),
        "batch": Int(2, 512, log=True, limits=(1, 100_000)),
        "width": Choice(list(range(16, 80)), fixed=True),
        "epochs": 3,
    }
)
SCORES = [0.1, 0.9, 0.3, 0.8, 0.5, 0.6, 0.7, 0.2, 0.4, 1.0]
"""Bottom fifth: members 0 and 7. Top fifth: 9 and 1."""


def decide(algorithm, population, member, seed=0):
    return algorithm.suggest(population, member, RandomStream(100 + seed, member))


def donors(algorithm, population, member, draws=200):
    return Counter(decide(algorithm, population, member, seed).decision.donor_member for seed in range(draws))


def values(population, member):
    return population.view(member).trial.hyperparameters


# --- truncation, step by step ---


def test_losers_copy_a_winner_and_explore():
    population = population_of(SPACE, SCORES, as_of=17)
    suggestion = decide(PBT(10, 5, exploit=Truncation(0.2), explore=Perturb((0.8, 1.2), 0.0)), population, 7)
    decision = suggestion.decision
    assert decision.kind == "exploit"
    assert decision.donor_member in (9, 1)
    assert suggestion.parent == decision.donor == decision.donor_member
    assert (decision.rank, decision.ranked, decision.as_of) == (8, 10, 17)
    assert decision.donor_rank == {9: 0, 1: 1}[decision.donor_member]
    assert decision.threshold == 0.3  # the score of the worst safe member
    assert decision.inherited == "both"
    assert decision.explored == "Perturb"
    assert (suggestion.steps, suggestion.seconds) == (5, None)
    inherited = values(population, decision.donor)
    assert suggestion.hyperparameters["lr"] / inherited["lr"] in (pytest.approx(0.8), pytest.approx(1.2))
    assert suggestion.hyperparameters["width"] == inherited["width"]


def test_the_other_members_continue_unchanged():
    population = population_of(SPACE, SCORES, as_of=17)
    for member in (1, 2, 3, 4, 5, 6, 8, 9):
        suggestion = decide(PBT(10, 5), population, member)
        assert suggestion.parent == member
        assert suggestion.hyperparameters == values(population, member)
        assert suggestion.decision.kind == "continue"
        assert suggestion.decision.changes == ()
        assert suggestion.decision.explored == suggestion.decision.inherited == ""
        assert suggestion.decision.threshold == 0.3
        assert suggestion.decision.rank == population.ranking.place(population.view(member))


def test_donors_are_drawn_uniformly_from_the_top():
    drawn = donors(PBT(10, 5), population_of(SPACE, SCORES), 0, 1000)
    assert set(drawn) == {9, 1}
    assert abs(drawn[9] - 500) < 80


def test_trials_may_be_bounded_by_seconds():
    population = population_of(SPACE, SCORES)
    algorithm = PBT(10, interval_seconds=2.5)
    for member in (0, 3):
        suggestion = decide(algorithm, population, member)
        assert (suggestion.steps, suggestion.seconds) == (None, 2.5)
    born = algorithm.birth(SPACE, 0, None, None, RandomStream(0))
    assert (born.steps, born.seconds) == (None, 2.5)


@pytest.mark.parametrize("exploit", [Truncation(), BinaryTournament()])
def test_two_equal_members_do_exploit(exploit):
    algorithm = PBT(2, 5, exploit=exploit)
    population = population_of(SPACE, [0.5, 0.5])
    assert decide(algorithm, population, 1).decision.kind == "exploit"
    assert decide(algorithm, population, 0).decision.kind == "continue"


def test_a_single_ranked_member_does_not_exploit():
    assert decide(PBT(1, 5), population_of(SPACE, [0.5]), 0).decision.kind == "continue"
    only_one_ranked = population_of(SPACE, [0.5, 0.6], unborn=[1])
    decision = decide(PBT(2, 5, exploit=BinaryTournament()), only_one_ranked, 0).decision
    assert decision.kind == "continue"
    assert "no peer" in decision.note


# --- members that cannot donate ---


def test_members_at_the_limit_do_not_donate():
    population = population_of(SPACE, SCORES, ages={9: 100}, limit=100)
    assert set(donors(PBT(10, 5), population, 0)) == {1}


def test_without_a_donor_in_the_top_the_member_continues():
    population = population_of(SPACE, SCORES, ages={9: 100, 1: 100}, limit=100)
    suggestion = decide(PBT(10, 5), population, 0)
    assert suggestion.decision.kind == "continue"
    assert "donor" in suggestion.decision.note


def test_failed_and_non_finite_members_never_donate():
    scores = [*SCORES]
    scores[9], scores[1] = math.inf, math.nan
    population = population_of(SPACE, scores, failed=[3])
    # member 3 failed, and 9 and 1 are not finite, so they rank last; the top fifth is now 6 and 5
    assert set(donors(PBT(10, 5), population, 1)) == {6, 5}


# --- rescue ---


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf, None])
@pytest.mark.parametrize("exploit", [Truncation(), BinaryTournament(), TTest()])
@pytest.mark.parametrize("mode", ["max", "min"])
def test_members_without_a_finite_score_are_rescued_whatever_the_rules(score, exploit, mode):
    population = population_of(SPACE, [score, 0.5, 0.5, 0.5], mode=mode)
    algorithm = PBT(4, 5, exploit=exploit, burn_in=1000, gate=NoiseGate(a=100.0), inherit="hyperparameters")
    suggestion = decide(algorithm, population, 0)
    decision = suggestion.decision
    assert decision.kind == "rescue"
    assert decision.inherited == "both"
    assert decision.donor_member == 1  # the gate of a rescue lets the best member through
    assert suggestion.parent == 1
    assert decision.explored == "Perturb"
    assert "not finite" in decision.note


def test_failed_members_are_rescued_with_and_without_a_head():
    population = population_of(SPACE, SCORES, failed=[9, 4], unborn=[4])
    for member in (9, 4):
        suggestion = decide(PBT(10, 5), population, member)
        assert suggestion.decision.kind == "rescue"
        assert suggestion.decision.donor_member in (1,)  # nine members are ranked, so the top fifth is one member
        assert "given up" in suggestion.decision.note
    assert decide(PBT(10, 5), population, 4).decision.rank is None


def test_rescues_draw_from_the_top_half_if_the_rule_has_no_top():
    population = population_of(SPACE, [math.nan, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert set(donors(PBT(6, 5, exploit=BinaryTournament()), population, 0)) == {5, 4, 3}


def test_a_gate_chooses_among_the_donors_of_a_rescue():
    population = population_of(SPACE, [math.nan, 0.1, 0.2, 0.3, 0.4, 5.0])
    algorithm = PBT(6, 5, exploit=BinaryTournament(), gate=NoiseGate(k=0.0, a=1.0))
    assert set(donors(algorithm, population, 0)) == {5}


def test_a_rescue_uses_a_donor_below_the_top_if_necessary():
    population = population_of(SPACE, [*SCORES[:9], math.nan], ages={1: 100, 3: 100}, limit=100)
    assert set(donors(PBT(10, 5), population, 9)) == {6}


def test_the_only_survivor_donates():
    population = population_of(SPACE, [0.5, 0.0], failed=[1], unborn=[1])
    assert decide(PBT(2, 5), population, 1).parent == 0


@pytest.mark.parametrize("score", [math.nan, 0.5])
def test_without_any_donor_a_member_starts_afresh(score):
    population = population_of(SPACE, [score, math.nan, 0.5], failed=[0, 2], as_of=9)
    suggestion = decide(PBT(3, 5), population, 0)
    assert suggestion.parent is None
    assert suggestion.hyperparameters == SPACE.validate(suggestion.hyperparameters)
    assert suggestion.hyperparameters != values(population, 0)
    decision = suggestion.decision
    assert (decision.kind, decision.donor, decision.inherited, decision.as_of) == ("rescue", None, "", 9)
    assert {change.how for change in decision.changes} == {"sampled"}
    assert "afresh" in decision.note


def test_members_at_the_limit_do_not_donate_to_a_rescue():
    population = population_of(SPACE, [0.5, math.nan], ages={0: 8}, limit=8)
    assert decide(PBT(2, 5), population, 1).parent is None


# --- burn-in, gate, matched comparison ---


def test_no_member_exploits_before_the_burn_in():
    algorithm = PBT(10, 5, burn_in=50)
    young = population_of(SPACE, SCORES, ages={0: 49})
    assert decide(algorithm, young, 0).decision.kind == "continue"
    assert "burn-in" in decide(algorithm, young, 0).decision.note
    assert decide(algorithm, population_of(SPACE, SCORES, ages={0: 50}), 0).decision.kind == "exploit"


@pytest.mark.parametrize("mode", ["max", "min"])
def test_the_gate_prevents_exploiting_noise(mode):
    sign = 1.0 if mode == "max" else -1.0
    near = population_of(SPACE, [sign * score for score in (0.50, 0.51, 0.52, 0.53)], mode=mode)
    far = population_of(SPACE, [sign * score for score in (0.10, 0.51, 0.52, 0.90)], mode=mode)
    gated = PBT(4, 5, gate=NoiseGate(k=0.1, a=0.025))
    assert decide(PBT(4, 5), near, 0).decision.kind == "exploit"
    refused = decide(gated, near, 0).decision
    assert refused.kind == "continue"
    assert "gate" in refused.note
    assert decide(gated, far, 0).decision.donor_member == 3


def test_the_gate_requires_a_clear_loser_and_a_clear_winner():
    # one collapsed member pulls the mean below all others, so they are clear winners
    population = population_of(SPACE, [-10.0, 0.5, 0.51, 0.52])
    assert decide(PBT(4, 5, gate=NoiseGate()), population, 0).decision.kind == "exploit"
    # seven equal members and one winner: no member is a clear loser
    crowd = population_of(SPACE, [0.5] * 7 + [0.61])
    assert decide(PBT(8, 5), crowd, 6).decision.kind == "exploit"
    assert decide(PBT(8, 5, gate=NoiseGate(k=0.0, a=0.05)), crowd, 6).decision.kind == "continue"
    # without a clear winner a clear loser continues
    flat = population_of(SPACE, [0.0, 1.0, 1.0, 1.0])
    assert decide(PBT(4, 5, gate=NoiseGate(k=0.0, a=0.3)), flat, 0).decision.kind == "continue"
    assert decide(PBT(4, 5, gate=NoiseGate(k=0.0, a=0.2)), flat, 0).decision.kind == "exploit"


def histories(population, entries):
    members = tuple(
        msgspec.structs.replace(view, history=tuple(entries.get(view.member, view.history)))
        for view in population.members
    )
    return msgspec.structs.replace(population, members=members)


def test_matched_comparison_does_not_punish_the_young():
    # member 0 has trained 4 steps; its peer is better only because it has trained 40
    population = population_of(SPACE, [0.5, 0.9], ages={0: 4, 1: 40})
    population = histories(population, {1: [(4, 0.3), (40, 0.9)]})
    assert decide(PBT(2, 5), population, 0).decision.kind == "exploit"
    algorithm = PBT(2, 5, compare="matched")
    assert algorithm.reads.history
    suggestion = decide(algorithm, population, 0)
    assert suggestion.decision.kind == "continue"
    assert suggestion.decision.threshold == 0.5
    better = histories(population, {1: [(4, 0.6), (40, 0.9)]})
    assert decide(algorithm, better, 0).parent == 1  # the peer's current head, not its checkpoint at that age


def test_matched_comparison_still_rescues():
    population = population_of(SPACE, [math.nan, 0.9], ages={0: 4, 1: 40})
    population = histories(population, {0: [], 1: [(40, 0.9)]})
    assert decide(PBT(2, 5, compare="matched"), population, 0).parent == 1


def test_a_peer_that_is_no_longer_finite_does_not_donate():
    population = population_of(SPACE, [0.5, math.nan], ages={0: 4, 1: 8})
    population = histories(population, {1: [(4, 0.9), (8, math.nan)]})
    assert decide(PBT(2, 5, compare="matched"), population, 0).decision.kind == "continue"


# --- inheritance ---


def exploited(**arguments):
    population = population_of(SPACE, SCORES)
    suggestion = decide(PBT(10, 5, explore=Perturb((2.0,), 0.0), **arguments), population, 0)
    donor = suggestion.decision.donor
    assert suggestion.decision.kind == "exploit"
    return suggestion, values(population, 0), values(population, donor), donor


def test_both_are_inherited():
    suggestion, _, theirs, donor = exploited()
    assert suggestion.parent == donor
    assert suggestion.hyperparameters["lr"] == theirs["lr"] * 2
    assert suggestion.hyperparameters["width"] == theirs["width"]


def test_only_weights_are_inherited_and_fixed_values_with_them():
    suggestion, own, theirs, donor = exploited(inherit="weights")
    assert suggestion.parent == donor
    assert suggestion.decision.inherited == "weights"
    assert suggestion.hyperparameters["lr"] == own["lr"] * 2
    assert suggestion.hyperparameters["width"] == theirs["width"] != own["width"]
    changes = {change.path: change for change in suggestion.decision.changes}
    assert changes["width"].how == "inherited"
    assert (changes["width"].before, changes["width"].after) == (own["width"], theirs["width"])


def test_only_hyperparameters_are_inherited_and_fixed_values_stay_with_the_weights():
    suggestion, own, theirs, donor = exploited(inherit="hyperparameters")
    assert suggestion.parent == 0
    assert suggestion.decision.donor == donor != 0
    assert suggestion.hyperparameters["lr"] == theirs["lr"] * 2
    assert suggestion.hyperparameters["width"] == own["width"] != theirs["width"]


def test_fixed_branches_travel_with_the_weights():
    space = Space(
        {
            "optimizer": Choice({"sgd": {"momentum": Float(0.1, 0.2)}, "adam": {"beta": Float(0.8, 0.9)}}),
            "lr": Float(1, 2),
        }
    )
    own = {"optimizer": "sgd", "optimizer.sgd.momentum": 0.15, "lr": 1.5}
    theirs = {"optimizer": "adam", "optimizer.adam.beta": 0.85, "lr": 1.25}
    population = population_of(space, [0.0, 1.0])
    members = tuple(
        msgspec.structs.replace(view, trial=completed_trial(view.member, score, value))
        for view, score, value in zip(population.members, (0.0, 1.0), (own, theirs), strict=True)
    )
    population = msgspec.structs.replace(population, members=members)
    suggestion = decide(PBT(2, 5, inherit="weights", explore=Perturb((1.0,), 0.0)), population, 0)
    assert suggestion.hyperparameters == {"optimizer": "adam", "optimizer.adam.beta": 0.85, "lr": 1.5}
    changes = {change.path: (change.before, change.after, change.how) for change in suggestion.decision.changes}
    assert changes == {
        "optimizer": ("sgd", "adam", "inherited"),
        "optimizer.adam.beta": (None, 0.85, "inherited"),
        "optimizer.sgd.momentum": (0.15, None, "dropped"),
    }
    suggestion = decide(PBT(2, 5, inherit="hyperparameters", explore=Perturb((1.0,), 0.0)), population, 0)
    assert suggestion.hyperparameters == {"optimizer": "sgd", "optimizer.sgd.momentum": 0.15, "lr": 1.25}


def test_changes_distinguish_explored_from_inherited_values():
    suggestion, own, theirs, _ = exploited()
    changes = {change.path: change for change in suggestion.decision.changes}
    assert (changes["lr"].before, changes["lr"].after, changes["lr"].how) == (theirs["lr"], theirs["lr"] * 2, "x2")
    assert not same(own["width"], theirs["width"])
    assert changes["width"].how == "inherited"
    assert "epochs" not in changes


# --- birth ---


def test_newborns_are_drawn_given_or_designed():
    algorithm = PBT(4, 5)
    drawn = algorithm.birth(SPACE, 0, None, None, RandomStream(1))
    assert drawn.hyperparameters == SPACE.sample(RandomStream(1))
    given = algorithm.birth(SPACE, 0, {"lr": 0.01}, None, RandomStream(1))
    assert given.hyperparameters["lr"] == 0.01
    row = [0.5, 0.0, 0.9]
    assert algorithm.birth(SPACE, 0, None, row, RandomStream(1)).hyperparameters == SPACE.from_units(row)
    with pytest.raises(InvalidSpace, match="lr"):
        algorithm.birth(SPACE, 0, {"lr": -1.0}, None, RandomStream(1))


# --- construction ---


@pytest.mark.parametrize(
    ("argument", "bad"),
    [
        *(("population", bad) for bad in (0, -1, 2.5, True, "8", None)),
        *(("interval", bad) for bad in (0, -1, 2.5, True, "8", 2**60)),
        *(("burn_in", bad) for bad in (-1, 1.5, None, True)),
        *(("inherit", bad) for bad in ("all", None, 1)),
        *(("compare", bad) for bad in ("newest", None)),
        *(("exploit", bad) for bad in (None, "truncation", Truncation, 0.2, Perturb())),
        *(("explore", bad) for bad in (None, "perturb", Perturb, 1.2, [], [None], Truncation())),
        *(("synchronous", bad) for bad in (None, 1, "yes")),
        *(("gate", bad) for bad in (0.1, NoiseGate, True)),
    ],
)
def test_bad_arguments_are_refused(argument, bad):
    with pytest.raises(InvalidArgument, match=argument):
        PBT(**{"population": 4, "interval": 5, argument: bad})


@pytest.mark.parametrize("bad", [0, -1.0, math.nan, math.inf, True, "1"])
def test_bad_seconds_are_refused(bad):
    with pytest.raises(InvalidArgument, match="interval_seconds"):
        PBT(4, interval_seconds=bad)


def test_exactly_one_interval_is_given():
    with pytest.raises(InvalidArgument, match="interval"):
        PBT(4)
    with pytest.raises(InvalidArgument, match="interval_seconds"):
        PBT(4, 5, interval_seconds=1.0)


def test_the_algorithm_reads_what_its_rules_need():
    assert PBT(4, 5).reads == Reads()
    assert PBT(4, 5, exploit=TTest(window=7)).reads == Reads(scores=7)
    assert PBT(4, 5, compare="matched", early_stopping=NonFiniteStopping()).reads == Reads(history=True, curves=True)


def test_a_list_of_rules_is_a_chain():
    algorithm = PBT(10, 5, explore=[Perturb(), Gaussian()])
    assert decide(algorithm, population_of(SPACE, SCORES), 0).decision.explored == "Perturb, Gaussian"
