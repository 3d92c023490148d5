"""The tests that every algorithm must pass.

Derive a class from :class:`AlgorithmConformance` in a test module and define ``make``; pytest runs the rest::

    from phyletic.testing.algorithms import AlgorithmConformance

    class TestMine(AlgorithmConformance):
        def make(self, population):
            return Mine(population=population, interval=4)

The algorithm is led through simulated generations on every kind of space, with scores that are drawn at random and
hold ties, NaN and infinities, and with members that fail.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import msgspec

from phyletic.errors import InvalidArgument
from phyletic.evolution import Algorithm, Population
from phyletic.evolution.algorithm import check_algorithm, hopeless_trials
from phyletic.evolution.codec import algorithm_from_json, algorithm_to_json
from phyletic.evolution.early_stop import TrialCurve
from phyletic.randomness import RandomStream
from phyletic.records import Suggestion, TrialState, Value
from phyletic.testing.generations import SPACES, Case, population_of, simulated

__all__ = ["AlgorithmConformance"]


class AlgorithmConformance:
    """The tests; see the module.

    Attributes:
        exploits: Whether the algorithm copies members; False for a baseline that never does.
        explores_alone: Whether members change their hyperparameters without copying another member.
    """

    exploits = True
    explores_alone = False

    def make(self, population: int) -> Algorithm:
        """Return the algorithm under test, for a population of about the given size."""
        raise InvalidArgument("make", population, "overridden: return your algorithm for that population")

    def decided(self, generations: int = 5, make: Callable[[int], Any] | None = None) -> Iterator[Case]:
        """Yield decisions for every space, both modes and several sizes of the population.

        Args:
            generations: How many generations follow the births.
            make: Returns the algorithm for a size of the population; :attr:`make` by default.
        """
        for place, (name, space) in enumerate(SPACES.items()):
            mode: Literal["max", "min"] = "min" if place % 2 else "max"
            size = (5, 2, 8, 3)[place % 4]
            limit = 14 if place % 3 == 0 else None
            where = f"{name}, mode {mode}, population {size}, limit {limit}"
            made = (make or self.make)(size)
            yield from simulated(made, space, mode, seed=place, limit=limit, generations=generations, where=where)

    def test_it_has_the_attributes_of_an_algorithm(self) -> None:
        """The attributes are there, and the methods that they ask for."""
        algorithm = self.make(4)
        assert isinstance(algorithm, Algorithm)
        assert check_algorithm(algorithm) is algorithm
        assert algorithm.reads.scores >= 0
        for space in SPACES.values():
            assert algorithm.population_size(space) >= 1

    def test_newborns_are_in_the_space(self) -> None:
        """A newborn has a valid value for all that exists, with or without initial values and a design."""
        for name, space in SPACES.items():
            algorithm = self.make(3)
            given = space.sample(RandomStream(99))
            row = [0.3] * space.dimensions
            for partial, design in ((None, None), (given, None), (None, row)):
                born = algorithm.birth(space, 0, partial, design, RandomStream(5))
                again = algorithm.birth(space, 0, partial, design, RandomStream(5))
                assert born == again, name
                assert born.parent is None, name
                assert born.decision.kind == "birth", name
                assert _identical(born.hyperparameters, space.validate(born.hyperparameters)), name
                assert (born.steps is None) != (born.seconds is None), name
                assert partial is None or _identical(born.hyperparameters, given), name

    def test_values_stay_in_their_domains(self) -> None:
        """Every value, of every generation, is in its domain and of its domain's type; constants stay."""
        for case in self.decided():
            values = case.suggestion.hyperparameters
            space = case.population.space
            assert _identical(values, space.validate(values)), case.where
            for parameter in space.active(values):
                assert parameter.domain.contains(values[parameter.path]), (case.where, parameter.path)

    def test_parents_can_be_continued(self) -> None:
        """A parent is a completed trial: the member's own head, or a donor."""
        for case in self.decided():
            parent, decision = case.suggestion.parent, case.suggestion.decision
            if parent is None:
                assert decision.kind == "rescue", case.where
                continue
            assert case.trials[parent].state is TrialState.COMPLETED, case.where
            assert case.trials[parent].score is not None, case.where
            own = case.population.view(case.member).trial
            assert parent == decision.donor or (own is not None and parent == own.number), case.where

    def test_donors_are_sound(self) -> None:
        """A donor is another member's head, finite, not failed, with steps left to train."""
        for case in self.decided():
            decision = case.suggestion.decision
            assert (decision.donor is None) == (decision.inherited == "") == (decision.donor_member is None), case.where
            if decision.donor is None or decision.donor_member is None:
                continue
            assert self.exploits, case.where
            assert decision.donor_member != case.member, case.where
            donor = case.population.view(decision.donor_member)
            assert donor.trial is not None, case.where
            assert donor.trial.number == decision.donor, case.where
            assert case.population.may_donate(donor), case.where

    def test_fixed_values_belong_to_the_weights(self) -> None:
        """A trial has its parent's fixed values."""
        for case in self.decided():
            if case.suggestion.parent is None:
                continue
            before, after = case.trials[case.suggestion.parent].hyperparameters, case.suggestion.hyperparameters
            for path, parameter in case.population.space.parameters.items():
                if parameter.fixed:
                    assert (path in before) == (path in after), (case.where, path)
                    assert path not in before or _same(before[path], after[path]), (case.where, path)

    def test_the_same_stream_gives_the_same_decision(self) -> None:
        """Deciding again, on the same view or on an equal one, changes nothing."""
        for case in self.decided(3):
            algorithm = self.make(len(case.population.members))
            equal = msgspec.structs.replace(case.population)
            for population in (case.population, equal):
                again = algorithm.suggest(population, case.member, RandomStream(*case.key))
                assert again == case.suggestion, case.where

    def test_nothing_is_changed(self) -> None:
        """Deciding leaves the algorithm and everything it saw as they were, and shares no values with a trial."""
        for case in self.decided(3, lambda population: _Watched(self.make(population))):
            for trial in case.trials.values():
                assert case.suggestion.hyperparameters is not trial.hyperparameters, case.where

    def test_it_survives_json(self) -> None:
        """The algorithm comes back from its JSON form, and so does each decision."""
        algorithm = self.make(4)
        document = algorithm_to_json(algorithm)
        again = algorithm_from_json(json.loads(json.dumps(document, allow_nan=False)))
        assert again == algorithm
        assert algorithm_to_json(again) == document
        for case in self.decided(2):
            encoded = msgspec.json.encode(case.suggestion)
            assert msgspec.json.decode(encoded, type=Suggestion) == case.suggestion, case.where

    def test_changes_explain_the_difference(self) -> None:
        """Laid over the member's last values, the changes of a decision give its new values, and no change is idle."""
        for case in self.decided():
            decision, new = case.suggestion.decision, case.suggestion.hyperparameters
            own = case.population.view(case.member).trial
            changes = {change.path: change for change in decision.changes}
            assert len(changes) == len(decision.changes), case.where
            for change in decision.changes:
                assert change.how, (case.where, change)
                assert not _same(change.before, change.after), (case.where, change)
                assert _same(change.after, new.get(change.path)), (case.where, change)
            if own is not None:
                for path in {**own.hyperparameters, **new}:
                    kept = path in own.hyperparameters and path in new and _same(own.hyperparameters[path], new[path])
                    assert kept or path in changes, (case.where, path)
            if decision.kind == "continue":
                assert not changes, case.where
                assert not decision.explored, case.where
            elif decision.kind in ("exploit", "explore"):
                assert decision.explored, case.where
            assert self.explores_alone or decision.kind != "explore", case.where

    def test_decisions_say_what_they_saw(self) -> None:
        """A decision holds the sequence number, and ranks that are places among those ranked."""
        for case in self.decided():
            decision = case.suggestion.decision
            assert decision.as_of == case.population.as_of, case.where
            for rank in (decision.rank, decision.donor_rank):
                assert rank is None or 0 <= rank < decision.ranked <= len(case.population.members), case.where
            assert decision.threshold is None or math.isfinite(decision.threshold), case.where
            assert (case.suggestion.steps is None) != (case.suggestion.seconds is None), case.where

    def test_members_in_need_are_rescued(self) -> None:
        """A member that failed or has no finite score gets a donor if there is one, else a fresh start.

        A baseline may let members without a finite score train on, but must start failed ones again.
        """
        for case in self.decided():
            view, decision = case.population.view(case.member), case.suggestion.decision
            if view.sound:
                assert decision.kind != "rescue", case.where
            elif not self.exploits:
                assert decision.kind == "rescue" or not view.failed, case.where
            else:
                assert decision.kind == "rescue", case.where
                exists = any(case.population.may_donate(other) for other in case.population.members)
                assert (decision.donor is not None) == exists, case.where
                assert (case.suggestion.parent is not None) == exists, case.where

    def test_a_member_can_be_alone(self) -> None:
        """A population of one goes on from its own head, or starts afresh."""
        for name, space in SPACES.items():
            algorithm = self.make(1)
            for score, failed in ((0.5, False), (math.nan, False), (0.5, True)):
                alone = population_of(space, [score], failed=[0] if failed else [])
                view = alone.view(0)
                own = alone.members[0].trial
                assert own is not None
                suggestion = algorithm.suggest(alone, 0, RandomStream(2))
                assert suggestion.decision.donor is None, name
                if view.sound:
                    assert suggestion.parent == 0, name
                    unchanged = _identical(suggestion.hyperparameters, own.hyperparameters)
                    assert unchanged or self.explores_alone, name
                elif failed or self.exploits:
                    assert suggestion.parent is None, name

    def test_it_stops_only_what_it_was_shown(self) -> None:
        """The algorithm stops only trials whose curves it was shown."""
        algorithm = self.make(4)
        assert hopeless_trials(algorithm, (), "max") == ()
        curves = tuple(
            TrialCurve(
                trial=number,
                member=number,
                start_step=0,
                running=number % 2 == 0,
                points=((1, value),),
                latest={"score": value},
            )
            for number, value in enumerate((0.5, 1.0, math.nan, 2.0, -math.inf, 0.1))
        )
        for mode in ("max", "min"):
            assert set(hopeless_trials(algorithm, curves, mode)) <= {0, 2, 4}


class _Watched:
    """An algorithm that asserts that deciding changes neither itself nor the population."""

    def __init__(self, algorithm: Algorithm) -> None:
        self._algorithm = algorithm

    def __getattr__(self, name: str) -> Any:
        return getattr(self._algorithm, name)

    def suggest(self, population: Population, member: int, stream: RandomStream) -> Suggestion:
        before = repr((self._algorithm, population))
        suggestion = self._algorithm.suggest(population, member, stream)
        assert repr((self._algorithm, population)) == before
        return suggestion


def _same(first: Value, second: Value) -> bool:
    return type(first) is type(second) and first == second


def _identical(first: Mapping[str, Value], second: Mapping[str, Value]) -> bool:
    """Whether two assignments have the same paths in the same order, with values of the same types."""
    return list(first) == list(second) and all(_same(first[path], second[path]) for path in first)
