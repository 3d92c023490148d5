"""Populations for tests of algorithms: spaces of every kind, views made by hand, and simulated generations."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from phyletic.evolution import Algorithm, MemberView, Population
from phyletic.randomness import RandomStream
from phyletic.records import Decision, Suggestion, Trial, TrialState, Value
from phyletic.space import Choice, Float, Int, Ordinal, Space

__all__ = ["SPACES", "Decided", "Simulation", "completed_trial", "population_of"]

_DEFINITIONS: dict[str, dict[str, object]] = {
    "float": {"x": Float(0.0, 1.0)},
    "negative float": {"x": Float(-2.0, -1.0)},
    "log float": {"lr": Float(1e-5, 1e-1, log=True)},
    "float on a grid": {"dropout": Float(0.0, 0.5, step=0.1)},
    "float with limits": {"lr": Float(1e-3, 1e-2, log=True, limits=(1e-4, 1e-1))},
    "int": {"layers": Int(1, 8)},
    "log int": {"batch": Int(1, 512, log=True)},
    "int on a grid": {"width": Int(32, 256, step=32)},
    "ordinal": {"kernel": Ordinal([1, 3, 5, 7])},
    "choice": {"activation": Choice(["relu", "tanh", "gelu"])},
    "truth value": {"nesterov": Choice([False, True])},
    "mixed types": {"clip": Choice([None, 1, 0.5, "auto"])},
    "fixed": {
        "lr": Float(1e-4, 1e-1, log=True),
        "width": Choice([64, 128], fixed=True),
        "depth": Int(1, 4, fixed=True),
    },
    "constants": {"epochs": 3, "name": "net", "lr": Float(1e-4, 1e-1, log=True)},
    "only constants": {"lr": 0.1},
    "groups": {"optimizer": {"lr": Float(1e-4, 1e-1, log=True), "momentum": Float(0.0, 0.99)}, "seed": 7},
    "fixed branches": {
        "optimizer": Choice({"sgd": {"momentum": Float(0.0, 0.99)}, "adam": {"beta": Float(0.8, 0.999)}}),
        "lr": Float(1e-4, 1e-1, log=True),
    },
    "free branches": {
        "augment": Choice({"none": {}, "crop": {"size": Int(8, 32), "pad": 4}}, fixed=False),
        "lr": Float(1e-4, 1e-1, log=True),
    },
    "fixed below a free branch": {
        "head": Choice(
            {"linear": {}, "mlp": {"width": Choice([64, 128], fixed=True), "drop": Float(0.0, 0.5)}}, fixed=False
        ),
    },
}

SPACES: Mapping[str, Space] = {name: Space(definition) for name, definition in _DEFINITIONS.items()}
"""Spaces with every kind of domain, by name."""


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """One decision of a simulation, with all that it was made from.

    Attributes:
        where: Which simulation, for the message of a failed assertion.
        population: What the algorithm saw.
        member: Whose trial it decided.
        key: What its random stream was made from.
        suggestion: What it decided.
        trials: All trials decided before, by number.
    """

    where: str
    population: Population
    member: int
    key: tuple[int, ...]
    suggestion: Suggestion
    trials: dict[int, Trial]


def completed_trial(
    number: int, score: float | None, values: Mapping[str, Value], *, member: int | None = None, end_step: int = 4
) -> Trial:
    """Return a newborn that has completed; of the member with its own number unless said otherwise."""
    return Trial(
        number=number,
        member=number if member is None else member,
        generation=0,
        parent=None,
        hyperparameters=dict(values),
        start_step=0,
        steps=end_step,
        seed=0,
        state=TrialState.COMPLETED,
        decision=Decision(kind="birth"),
        end_step=end_step,
        score=score,
    )


def population_of(
    space: Space,
    scores: Sequence[float | None],
    *,
    mode: Literal["max", "min"] = "max",
    failed: Collection[int] = (),
    unborn: Collection[int] = (),
    ages: Mapping[int, int] | None = None,
    limit: int | None = None,
    as_of: int = 1,
) -> Population:
    """Return a population in which member m has completed trial m, with drawn values.

    Args:
        space: What varies.
        scores: A score for each member.
        mode: Which way is better.
        failed: Members whose latest trial was given up.
        unborn: Members that have not completed a trial.
        ages: Steps that a member has trained, where they are not 4.
        limit: Age at which training ends.
        as_of: Sequence number.
    """
    views = []
    for member, score in enumerate(scores):
        age = (ages or {}).get(member, 4)
        trial = completed_trial(member, score, space.sample(RandomStream(member)), end_step=age)
        views.append(
            MemberView(
                member=member,
                trial=None if member in unborn else trial,
                scores=() if score is None else (score,),
                history=() if score is None else ((age, score),),
                failed=member in failed,
            )
        )
    return Population(space=space, mode=mode, members=tuple(views), as_of=as_of, limit=limit)


@dataclass
class Simulation:
    """A study in which nothing is trained: trials complete with drawn scores, or fail.

    Attributes:
        algorithm: Who decides.
        space: What varies.
        mode: Which way is better.
        seed: From which scores and decisions are drawn.
        limit: Age in steps at which a member ends.
        where: Named in messages.
    """

    algorithm: Algorithm
    space: Space
    mode: Literal["max", "min"] = "max"
    seed: int = 0
    limit: int | None = None
    where: str = ""
    trials: dict[int, Trial] = field(default_factory=dict)
    _views: list[MemberView] = field(default_factory=list)
    _scores: dict[int, tuple[float, ...]] = field(default_factory=dict)
    _histories: dict[int, tuple[tuple[int, float], ...]] = field(default_factory=dict)

    def run(self, generations: int) -> Iterator[Decided]:
        """Yield each decision after the births, for a number of generations."""
        size = self.algorithm.population_size(self.space)
        chance = RandomStream(self.seed, 1)
        for member in range(size):
            self._views.append(MemberView(member=member))
            born = self.algorithm.birth(self.space, member, None, None, RandomStream(self.seed, 0, member))
            self._finish(member, born, chance)
        for _ in range(generations):
            shared = self._population()
            for member in chance.permutation(size):
                population = shared if self.algorithm.synchronous else self._population()
                head = self._views[member].trial
                if not self._views[member].failed and head is not None and self._ended(head):
                    continue
                key = (self.seed, 2, len(self.trials))
                suggestion = self.algorithm.suggest(population, member, RandomStream(*key))
                yield Decided(
                    where=self.where,
                    population=population,
                    member=member,
                    key=key,
                    suggestion=suggestion,
                    trials=dict(self.trials),
                )
                self._finish(member, suggestion, chance)

    def _ended(self, trial: Trial) -> bool:
        return self.limit is not None and trial.end_step is not None and trial.end_step >= self.limit

    def _population(self) -> Population:
        return Population(
            space=self.space,
            mode=self.mode,
            members=tuple(self._views),
            as_of=len(self.trials),
            limit=self.limit,
        )

    def _finish(self, member: int, suggestion: Suggestion, chance: RandomStream) -> None:
        """Turn a suggestion into a trial that completes, or fails one time in ten."""
        number = len(self.trials)
        parent = self.trials[suggestion.parent] if suggestion.parent is not None else None
        start = (parent.end_step or 0) if parent is not None else 0
        end = start + (suggestion.steps or 5)
        if self.limit is not None:
            end = min(end, max(self.limit, start))
        failed = chance.random() < 0.1
        score = _draw_score(chance)
        trial = Trial(
            number=number,
            member=member,
            generation=number,
            parent=suggestion.parent,
            hyperparameters=suggestion.hyperparameters,
            start_step=start,
            steps=suggestion.steps,
            seconds=suggestion.seconds,
            seed=number,
            state=TrialState.FAILED if failed else TrialState.COMPLETED,
            decision=suggestion.decision,
            end_step=None if failed else end,
            score=None if failed else score,
        )
        self.trials[number] = trial
        if failed:
            self._views[member] = msgspec.structs.replace(self._views[member], failed=True)
            return
        before = suggestion.parent if suggestion.parent is not None else -1
        self._scores[number] = (*self._scores.get(before, ()), _draw_score(chance), score)
        self._histories[number] = (*self._histories.get(before, ()), (end, score))
        reads = self.algorithm.reads
        self._views[member] = MemberView(
            member=member,
            trial=trial,
            scores=self._scores[number][-reads.scores :] if reads.scores else (),
            history=self._histories[number] if reads.history else (),
        )


def _draw_score(chance: RandomStream) -> float:
    kind = chance.integer(20)
    if kind < 4:
        return (math.nan, math.inf, -math.inf, math.nan)[kind]
    return 0.5 if kind < 8 else chance.normal()
