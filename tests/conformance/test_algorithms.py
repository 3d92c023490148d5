"""Every algorithm of phyletic, in each of its variants, passes the suite that ships with the package."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import ClassVar

import msgspec
import pytest

from phyletic.errors import InvalidArgument, InvalidSpace
from phyletic.evolution import (
    PBT,
    Algorithm,
    BinaryTournament,
    ExploreOnly,
    Gaussian,
    GridSearch,
    NoiseGate,
    Perturb,
    RandomSearch,
    Reads,
    Resample,
    Truncation,
    TTest,
)
from phyletic.records import Change
from phyletic.testing.algorithms import AlgorithmConformance


def nudge(hyperparameters, rng):
    """Scale ``x`` down a little unless it is tiny; leave the other hyperparameters as they are."""
    return {
        path: value * rng.uniform(0.999, 1.0) if path == "x" and value > 0.001 else value
        for path, value in hyperparameters.items()
    }


VARIANTS = {
    "defaults": {"interval": 4},
    "synchronous": {"interval": 4, "synchronous": True},
    "halves": {"interval": 4, "exploit": Truncation(0.5), "explore": Perturb((0.5, 2.0), 0.25)},
    "tournament": {"interval": 4, "exploit": BinaryTournament(), "explore": Resample(0.5)},
    "t-test": {"interval": 4, "exploit": TTest(window=4, p=0.5), "explore": Gaussian(0.2, 0.1)},
    "weights": {"interval": 4, "inherit": "weights", "exploit": BinaryTournament()},
    "hyperparameters": {"interval": 4, "inherit": "hyperparameters", "exploit": BinaryTournament()},
    "matched": {"interval": 4, "compare": "matched", "exploit": BinaryTournament(), "gate": NoiseGate()},
    "chain": {"interval_seconds": 1.5, "explore": [Perturb(), Resample(0.1), Gaussian()], "burn_in": 8},
    "function": {"interval": 4, "explore": nudge, "exploit": BinaryTournament()},
}


@pytest.mark.parametrize("variant", VARIANTS)
class TestPBT(AlgorithmConformance):
    @pytest.fixture(autouse=True)
    def _variant(self, variant: str) -> None:
        self.arguments = VARIANTS[variant]

    def make(self, population: int) -> Algorithm:
        return PBT(population, **self.arguments)


class TestRandomSearch(AlgorithmConformance):
    exploits = False

    def make(self, population: int) -> Algorithm:
        return RandomSearch(population, interval=4)


class TestGridSearch(AlgorithmConformance):
    exploits = False

    def make(self, population: int) -> Algorithm:
        return GridSearch(interval=4, points=2)


class TestGridSearchOfAGivenSize(AlgorithmConformance):
    exploits = False

    def make(self, population: int) -> Algorithm:
        return GridSearch(interval_seconds=2.0, points=3, population=population, synchronous=True)


class TestExploreOnly(AlgorithmConformance):
    exploits = False
    explores_alone = True

    def make(self, population: int) -> Algorithm:
        return ExploreOnly(population, interval=4)


class TestExploreOnlyWithItsOwnRule(AlgorithmConformance):
    exploits = False
    explores_alone = True

    def make(self, population: int) -> Algorithm:
        return ExploreOnly(population, interval_seconds=2.0, explore=[Gaussian(0.3), nudge], synchronous=True)


# --- the suite itself: for each mistake, the test written for it fails ---


def _decision(suggestion, **facts):
    return msgspec.structs.replace(suggestion, decision=msgspec.structs.replace(suggestion.decision, **facts))


def _values(suggestion, change):
    new = {path: change(path, value) for path, value in suggestion.hyperparameters.items()}
    return msgspec.structs.replace(suggestion, hyperparameters=new)


def out_of_range(population, member, suggestion):
    return _values(suggestion, lambda path, value: value * 1000 if path == "lr" else value)


def integers_become_floats(population, member, suggestion):
    return _values(suggestion, lambda path, value: float(value) if path == "layers" else value)


def fixed_values_change(population, member, suggestion):
    return _values(suggestion, lambda path, value: 192 - value if path == "width" and value in (64, 128) else value)


def unknown_parents(population, member, suggestion):
    return msgspec.structs.replace(suggestion, parent=population.as_of - 1)


def own_donor(population, member, suggestion):
    head = population.view(member).trial
    if head is None:
        return suggestion
    return _decision(suggestion, kind="exploit", donor=head.number, donor_member=member, inherited="both")


def any_donor(population, member, suggestion):
    other = next((view for view in population.members if view.trial and not view.sound and view.member != member), None)
    if other is None:
        return suggestion
    return _decision(suggestion, donor=other.trial.number, donor_member=other.member, inherited="both")


def no_explanation(population, member, suggestion):
    return _decision(suggestion, changes=())


def idle_changes(population, member, suggestion):
    return _decision(suggestion, changes=(*suggestion.decision.changes, Change("idle", 1, 1, "x1")))


def no_rescue(population, member, suggestion):
    head = population.view(member).trial
    if suggestion.decision.kind != "rescue" or head is None:
        return suggestion
    suggestion = msgspec.structs.replace(suggestion, parent=head.number, hyperparameters=dict(head.hyperparameters))
    return _decision(suggestion, kind="continue", donor=None, donor_member=None, inherited="", changes=(), explored="")


def rescues_without_a_donor(population, member, suggestion):
    if suggestion.decision.kind != "rescue":
        return suggestion
    suggestion = msgspec.structs.replace(suggestion, parent=None)
    return _decision(suggestion, donor=None, donor_member=None, inherited="")


def wrong_sequence(population, member, suggestion):
    return _decision(suggestion, as_of=population.as_of + 1)


def wrong_rank(population, member, suggestion):
    return _decision(suggestion, rank=suggestion.decision.ranked)


def infinite_threshold(population, member, suggestion):
    return _decision(suggestion, threshold=float("inf"))


def endless_trials(population, member, suggestion):
    return msgspec.structs.replace(suggestion, steps=None)


def hidden_chance(population, member, suggestion):
    return _decision(suggestion, note=str(random.random()))


def changes_its_input(population, member, suggestion):
    for view in population.members:
        if view.trial is not None:
            view.trial.hyperparameters["lr"] = 0.01
    return suggestion


def shares_the_hyperparameters(population, member, suggestion):
    head = population.view(member).trial
    return suggestion if head is None else msgspec.structs.replace(suggestion, hyperparameters=head.hyperparameters)


@dataclass(frozen=True)
class Broken(PBT):
    """PBT with a mistake: a function corrupts each suggestion."""

    mistake: ClassVar = staticmethod(lambda population, member, suggestion: suggestion)

    def suggest(self, population, member, stream):
        return self.mistake(population, member, super().suggest(population, member, stream))


@dataclass(frozen=True)
class Deaf(PBT):
    """PBT that ignores given configurations and the initial design."""

    def birth(self, space, member, given, design_row, stream):
        return super().birth(space, member, None, None, stream)


@dataclass(frozen=True)
class Mute(PBT):
    """PBT that reads curves but has no early-stopping rule."""

    reads = Reads(curves=True)
    early_stop = None


@dataclass(frozen=True)
class Forgetful(PBT):
    """PBT with a field that its JSON form loses."""

    memory: str = field(default="", compare=False)

    def __eq__(self, other):
        return super().__eq__(other) and self.memory == other.memory


class Eager(PBT):
    """PBT that stops trials it was not shown."""

    reads = Reads(curves=True)

    def early_stop(self, curves, mode):
        return (10**6,)


MISTAKES = {
    out_of_range: "test_values_stay_in_their_domains",
    integers_become_floats: "test_values_stay_in_their_domains",
    fixed_values_change: "test_fixed_values_belong_to_the_weights",
    unknown_parents: "test_parents_can_be_continued",
    own_donor: "test_donors_are_sound",
    any_donor: "test_donors_are_sound",
    no_explanation: "test_changes_explain_the_difference",
    idle_changes: "test_changes_explain_the_difference",
    no_rescue: "test_members_in_need_are_rescued",
    rescues_without_a_donor: "test_members_in_need_are_rescued",
    wrong_sequence: "test_decisions_say_what_they_saw",
    wrong_rank: "test_decisions_say_what_they_saw",
    infinite_threshold: "test_decisions_say_what_they_saw",
    endless_trials: "test_decisions_say_what_they_saw",
    hidden_chance: "test_the_same_stream_gives_the_same_decision",
    changes_its_input: "test_nothing_is_changed",
    shares_the_hyperparameters: "test_nothing_is_changed",
}


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_the_suite_notices_a_mistake(mistake, monkeypatch):
    monkeypatch.setattr(Broken, "mistake", staticmethod(mistake))
    suite = AlgorithmConformance()
    suite.make = lambda population: Broken(population, 4, exploit=BinaryTournament())
    with pytest.raises((AssertionError, InvalidSpace)):
        getattr(suite, MISTAKES[mistake])()


@pytest.mark.parametrize(
    ("make", "test"),
    [
        (lambda population: Deaf(population, 4), "test_newborns_are_in_the_space"),
        (lambda population: Forgetful(population, 4, memory="x"), "test_it_survives_json"),
        (lambda population: Eager(population, 4), "test_it_stops_only_what_it_was_shown"),
        (lambda population: Mute(population, 4), "test_it_has_the_attributes_of_an_algorithm"),
        (lambda population: object(), "test_it_has_the_attributes_of_an_algorithm"),
        (lambda population: RandomSearch(population, 4), "test_members_in_need_are_rescued"),
    ],
)
def test_the_suite_notices_a_broken_class(make, test):
    suite = AlgorithmConformance()
    suite.make = make
    with pytest.raises((AssertionError, InvalidArgument)):
        getattr(suite, test)()


def test_the_suite_says_which_method_to_override():
    with pytest.raises(InvalidArgument, match="overridden"):
        AlgorithmConformance().test_a_member_can_be_alone()


def test_simulations_show_every_kind_of_decision():
    suite = TestRandomSearch()
    suite.make = lambda population: PBT(population, 4, exploit=BinaryTournament())
    kinds = Counter((case.suggestion.decision.kind, case.suggestion.parent is None) for case in suite.decided())
    assert set(kinds) == {("continue", False), ("exploit", False), ("rescue", False), ("rescue", True)}
    assert min(kinds.values()) >= 4, kinds
