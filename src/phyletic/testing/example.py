"""A small study that the suites run, and the facts about its trials that are the same however it is run."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import msgspec

from phyletic.evolution import PBT, Truncation
from phyletic.records import Budget
from phyletic.space import Choice, Float
from phyletic.study.study import Study
from phyletic.testing.training import drawing

__all__ = ["example_study", "facts", "reference"]


def example_study(storage: Path | None = None, *, population: int = 5, steps: int = 8, **changes: Any) -> Study:
    """Return a synchronous study whose trials are two steps long.

    Args:
        storage: File of its storage; None for memory.
        population: Number of members.
        steps: Its budget.
        **changes: Other arguments of :class:`Study`.
    """
    settings: dict[str, Any] = {
        "space": {"lr": Float(1e-3, 1e-1, log=True), "width": Choice([2, 3], fixed=True)},
        "metric": "score",
        "mode": "max",
        "algorithm": PBT(population, 2, exploit=Truncation(0.4), synchronous=True),
        "budget": Budget(steps=steps),
        "seed": 3,
    }
    return Study(storage=storage, **{"name": "study", **settings, **changes})


def facts(study: Study) -> list[tuple[Any, ...]]:
    """Return what a synchronous study decided and measured, without times, workers and sequence numbers.

    Two runs of the same study with deterministic training give the same facts, whatever the number of workers and
    whatever was interrupted.

    Args:
        study: The study.

    Returns:
        A tuple for each trial, in order; NaN is given as text, so that it equals itself.
    """
    return [
        (
            trial.number,
            trial.member,
            trial.generation,
            trial.parent,
            trial.hyperparameters,
            trial.start_step,
            trial.end_step,
            trial.state,
            repr(trial.score),
            repr(sorted(trial.metrics.items())),
            trial.seed,
            None if trial.checkpoint is None else trial.checkpoint.digest,
            msgspec.structs.replace(trial.decision, as_of=0),
        )
        for trial in study.trials()
    ]


@functools.cache
def reference(population: int = 5) -> list[tuple[Any, ...]]:
    """Return the facts of :func:`example_study`, run in this process without an interruption."""
    study = example_study(population=population)
    drawing()(study)
    return facts(study)
