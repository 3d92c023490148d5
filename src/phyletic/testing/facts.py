"""What must be the same however a synchronous study was run."""

from __future__ import annotations

from typing import Any

import msgspec

from phyletic.study.study import Study

__all__ = ["facts"]


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
