"""Populations for tests of algorithms: spaces of every kind, populations made by hand, and simulated generations."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from phyletic.evolution import MemberView, Population
from phyletic.evolution.unstored_population import UnstoredPopulation, play
from phyletic.randomness import RandomStream
from phyletic.records import Decision, Suggestion, Trial, TrialState, Value
from phyletic.space import Choice, Float, Int, Ordinal, Space

__all__ = ["SPACES", "Case", "completed_trial", "population_of", "simulated"]

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


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One decision of a simulated study, with everything that it was made from.

    Attributes:
        where: Which simulation it is from, for the message of a failed assertion.
        population: What the algorithm saw.
        member: The member whose trial it decided.
        key: What its random stream was made from.
        suggestion: What it decided.
        trials: The trials decided before, by number.
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
    """Return a newborn's completed trial; its member has the trial's number by default.

    Args:
        number: The trial's number.
        score: Its score; None if it has none.
        values: Its hyperparameters by flat path.
        member: Its member; None for the number of the trial.
        end_step: Steps that it trained.
    """
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
        ages: Steps that a member has trained, if not 4.
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


def simulated(
    algorithm: Any,
    space: Space,
    mode: Literal["max", "min"],
    *,
    seed: int = 0,
    limit: int | None = None,
    generations: int = 5,
    where: str = "",
) -> Iterator[Case]:
    """Yield each decision after the births of a study in which nothing is trained.

    Trials complete with drawn scores, and one in ten fails. Members have their turns in a drawn order.

    Args:
        algorithm: The algorithm that decides.
        space: What varies.
        mode: Which way is better.
        seed: From which scores and decisions are drawn.
        limit: Age in steps at which a member ends.
        generations: How many generations follow the births.
        where: Which simulation this is.
    """
    chance = RandomStream(seed, 2**40)
    played = UnstoredPopulation(algorithm, space, mode, seed, limit)
    for decided in play(played, lambda members: [members[place] for place in chance.permutation(len(members))]):
        trial = decided.trial
        if trial.generation > generations:
            return
        if trial.generation > 0:
            yield Case(
                where=where,
                population=decided.population,
                member=trial.member,
                key=(seed, trial.number),
                suggestion=decided.suggestion,
                trials={number: played.trials[number] for number in range(trial.number)},
            )
        failed, score, earlier = chance.random() < 0.1, _draw_score(chance), _draw_score(chance)
        if failed:
            played.add(msgspec.structs.replace(trial, state=TrialState.FAILED))
        else:
            end = trial.start_step + (5 if trial.steps is None else trial.steps)
            ended = msgspec.structs.replace(trial, state=TrialState.COMPLETED, end_step=end, score=score)
            played.add(ended, (earlier, score))


def _draw_score(chance: RandomStream) -> float:
    kind = chance.integer(20)
    if kind < 4:
        return (math.nan, math.inf, -math.inf, math.nan)[kind]
    return 0.5 if kind < 8 else chance.normal()
