"""Artificial populations for the plots: trials with exploits, rescues, failures and odd scores, without training."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from phyletic.randomness import RandomStream
from phyletic.records import Decision, Metric, Trial, TrialState

METRIC = Metric("accuracy", "max")


def make_population(members: int, rounds: int = 10, *, seed: int = 0, failing: bool = True) -> list[Trial]:
    """Return a population under truncation selection; with ``failing`` one trial fails and one has a NaN score."""
    random = RandomStream(seed, members)
    trials: list[Trial] = []
    heads: list[Trial] = []
    quality: dict[int, float] = {}
    for round_ in range(rounds):
        ranked = sorted((head for head in heads if head.finite), key=lambda head: -(head.score or 0.0))
        tail = max(1, len(ranked) // 5)
        losers = {head.number for head in ranked[-tail:]} if len(ranked) > 1 else set()
        grown: list[Trial] = []
        for member in range(members):
            number = len(trials)
            before = heads[member] if heads else None
            values = {
                "lr": 10 ** -(1 + 3 * random.random()),
                "width": random.choice([32, 64]),
                "layers": 1 + random.integer(4),
            }
            values["optimizer"] = random.choice(["adam", "sgd"])
            kind, parent = "birth", None
            if before is not None and not before.finite and not ranked:
                kind = "rescue"
            elif before is not None:
                kind, parent, values = "continue", before, dict(before.hyperparameters)
                if before.number in losers or not before.finite:
                    kind = "exploit" if before.finite else "rescue"
                    parent = random.choice(ranked[:tail])
                    values = dict(parent.hyperparameters)
                    values["lr"] = min(0.1, max(1e-4, values["lr"] * random.choice([0.8, 1.25])))
                    values["layers"] = max(1, min(4, values["layers"] + random.choice([-1, 1])))
            start = 0 if parent is None else parent.end_step or 0
            fit = math.exp(-((math.log10(values["lr"]) + 2.2) ** 2))
            level = 0.1 if parent is None else quality[parent.number]
            score = level + (1 - level) * 0.25 * fit
            quality[number] = score
            noisy = score + 0.01 * random.normal()
            state, end = TrialState.COMPLETED, start + 100
            if failing and round_ == 3 and member == members - 1:
                state = TrialState.FAILED
            if failing and round_ == 5 and member == 0:
                noisy = math.nan
            failed = state is TrialState.FAILED
            trial = Trial(
                number=number,
                member=member,
                generation=round_,
                parent=None if parent is None else parent.number,
                hyperparameters=values,
                start_step=start,
                steps=100,
                seed=number,
                state=state,
                decision=Decision(kind=kind, donor=parent.number if parent and parent is not before else None),
                end_step=None if failed else end,
                score=None if failed else noisy,
                metrics={} if failed else {"accuracy": noisy},
            )
            trials.append(trial)
            grown.append(trial)
        heads = grown
    return trials


@pytest.fixture
def population() -> Callable[..., list[Trial]]:
    return make_population


@pytest.fixture
def metric() -> Metric:
    return METRIC
