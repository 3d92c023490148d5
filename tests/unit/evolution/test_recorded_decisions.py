"""Recorded digests of whole runs show that every algorithm and rule still makes the same decisions.

A study resumed with newer code must continue as it would with the older code, so a digest may change only in a release
that announces it.
"""

from __future__ import annotations

import hashlib
import json
import math

import msgspec
import pytest

import phyletic as ph
from phyletic.evolution import MemberView, Population
from phyletic.randomness import RandomStream
from phyletic.records import Trial, TrialState

SPACE = ph.Space(
    {
        "lr": ph.Float(1e-4, 1e-1, log=True),
        "layers": ph.Int(1, 8),
        "kernel": ph.Ordinal([1, 3, 5, 7]),
        "width": ph.Choice([64, 128], fixed=True),
        "augment": ph.Choice({"none": {}, "crop": {"size": ph.Int(8, 32)}}, fixed=False),
    }
)

FIFTH, FACTORS = ph.Truncation(0.2), ph.Perturb((0.8, 1.2), 0.0)
ALGORITHMS = {
    "defaults": ph.PBT(6, 4, exploit=FIFTH, explore=FACTORS),
    "synchronous": ph.PBT(6, 4, exploit=FIFTH, explore=FACTORS, synchronous=True),
    "halves": ph.PBT(6, 4, exploit=ph.Truncation(0.5), explore=ph.Perturb((0.5, 2.0), 0.25)),
    "tournament": ph.PBT(6, 4, exploit=ph.BinaryTournament(), explore=ph.Resample(0.5), synchronous=True),
    "t-test": ph.PBT(6, 4, exploit=ph.TTest(window=4, p=0.5), explore=ph.Gaussian(0.2, 0.1)),
    "weights": ph.PBT(6, 4, inherit="weights", exploit=ph.BinaryTournament(), explore=FACTORS),
    "hyperparameters": ph.PBT(6, 4, inherit="hyperparameters", exploit=ph.BinaryTournament(), explore=FACTORS),
    "matched": ph.PBT(6, 4, compare="matched", exploit=ph.BinaryTournament(), explore=FACTORS, gate=ph.NoiseGate()),
    "gate": ph.PBT(6, 4, exploit=FIFTH, explore=FACTORS, gate=ph.NoiseGate(0.5, 0.1), synchronous=True),
    "chain": ph.PBT(6, 4, exploit=FIFTH, explore=[FACTORS, ph.Resample(0.1), ph.Gaussian()], burn_in=8),
    "early stopping": ph.PBT(
        6, 4, exploit=FIFTH, explore=FACTORS, early_stopping=[ph.NonFiniteStopping(), ph.MedianStopping(1, 1)]
    ),
    "random": ph.RandomSearch(6, 4),
    "grid": ph.GridSearch(4, points=2, population=6, synchronous=True),
    "explore only": ph.ExploreOnly(6, 4, explore=[ph.Gaussian(0.3)]),
}

PLAYED = {
    "synchronous": "3f9f2473cb6d0055",
    "tournament": "df28232f9d32f42c",
    "hyperparameters": "0497f8377f4b1739",
    "early stopping": "8af58720b430f9e3",
    "explore only": "ab6cc6c3341cabd4",
    "defaults": "8af58720b430f9e3",
    "halves": "0c7e0bf28c39e2d0",
    "t-test": "d1dfa8b54244ed5d",
    "weights": "af28131c609b3da7",
    "matched": "d8c30df069388dea",
    "gate": "597b3bc1a03dfd46",
    "chain": "7aa86d16f713d818",
    "random": "da8e1d1d7f229e96",
    "grid": "a590ac060a5a0937",
}
STUDIES = {
    "defaults": "5df3d2fa0b68fabf",
    "synchronous": "6ef5ea372bfa6170",
    "halves": "0753fa9fd6a4df1a",
    "tournament": "a6ed421469a767ec",
    "t-test": "d733b24f4bd519db",
    "weights": "b9d002beb83dc2fe",
    "hyperparameters": "f71888c201a134bd",
    "matched": "078bc13a6217ecbe",
    "gate": "10da07e4185614c2",
    "chain": "2d46fa4cac775ce0",
    "early stopping": "5df3d2fa0b68fabf",
    "random": "2fd7bd3142bb9136",
    "grid": "265a0cc9958d2256",
    "explore only": "d09b0a36c6b76110",
}


def digest(facts):
    def rounded(value):
        if isinstance(value, float):
            return f"{value:.9g}"
        if isinstance(value, dict):
            return {key: rounded(item) for key, item in value.items()}
        return [rounded(item) for item in value] if isinstance(value, (list, tuple)) else value

    return hashlib.sha256(json.dumps(rounded(facts)).encode()).hexdigest()[:16]


def play(algorithm, mode, seed, generations=8):
    """Return all suggestions of a run with drawn scores, in which one trial in ten fails."""
    views = [MemberView(member=member) for member in range(6)]
    measured, trials, suggestions = {None: ((), ())}, [], []
    chance = RandomStream(seed, 1)
    for _ in range(generations):
        shared = tuple(views)
        for member in range(6):
            number, stream = len(trials), RandomStream(seed, 2, len(trials))
            seen = shared if algorithm.synchronous else tuple(views)
            if number < 6:
                suggestion = algorithm.birth(SPACE, member, {"layers": 3} if member == 1 else None, None, stream)
            else:
                population = Population(space=SPACE, mode=mode, members=seen, as_of=number, limit=28)
                suggestion = algorithm.suggest(population, member, stream)
            document = msgspec.to_builtins(suggestion)
            assert document.pop("seed") is None
            suggestions.append(document)
            parent = suggestion.parent
            start = 0 if parent is None else trials[parent].end_step
            failed, kind = chance.random() < 0.1, chance.integer(12)
            score = (math.nan, math.inf, -math.inf)[kind] if kind < 3 else 0.5 if kind < 5 else chance.normal()
            scores, history = measured[parent]
            end = start + suggestion.steps
            measured[number] = (*scores, chance.normal(), score), (*history, (end, score))
            trials.append(
                Trial(
                    number=number,
                    member=member,
                    generation=number // 6,
                    parent=parent,
                    hyperparameters=suggestion.hyperparameters,
                    start_step=start,
                    steps=suggestion.steps,
                    seed=number,
                    state=TrialState.FAILED if failed else TrialState.COMPLETED,
                    decision=suggestion.decision,
                    end_step=None if failed else end,
                    score=None if failed else score,
                )
            )
            if failed:
                views[member] = msgspec.structs.replace(views[member], failed=True)
            else:
                views[member] = MemberView(
                    member=member,
                    trial=trials[-1],
                    scores=measured[number][0][-4:],
                    history=measured[number][1],
                    early_stopped=kind == 11,
                )
    return suggestions


@pytest.mark.parametrize("name", ALGORITHMS)
def test_algorithms_make_the_recorded_decisions(name):
    algorithm = ALGORITHMS[name]
    found = digest([play(algorithm, mode, seed) for seed, mode in enumerate(("max", "min", "max"))])
    assert found == PLAYED.get(name), f"{name!r}: {found!r}"


def train(trials):
    for trial in trials.attach(lambda trial: {"weights": [float(trial["width"])]}):
        cropped = trial["augment"] == "crop" and trial["augment.crop.size"] / 99
        for step in trial.range():
            trial.state.weights[0] += trial["lr"] * trial["layers"] - trial["kernel"] * 0.001 + cropped
            if step % 2:
                trial.report(score=trial.state.weights[0] + (trial.seed % 7) / 10)
        score = math.nan if trial.seed % 13 == 0 else trial.state.weights[0] * (1 - 2 * (trial["augment"] == "none"))
        trial.report(score=score)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_studies_have_the_recorded_trials(name):
    study = ph.Study(
        "recorded",
        space=SPACE,
        metric="score",
        mode="min",
        algorithm=ALGORITHMS[name],
        budget=ph.Budget(steps=32),
        seed=5,
    )
    with study:
        train(study)
        facts = [
            [
                *(getattr(trial, name) for name in ("number", "member", "parent", "hyperparameters")),
                *(getattr(trial, name) for name in ("seed", "end_step", "score")),
                *(getattr(trial.decision, name) for name in ("kind", "donor", "rank", "note")),
            ]
            for trial in study.trials()
        ]
    assert digest(facts) == STUDIES.get(name), f"{name!r}: {digest(facts)!r}"
