"""Training on synthetic learning curves whose best learning rate drifts; see :class:`DriftingCurve`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phyletic.randomness import RandomStream
from phyletic.simulate.curve import SPACE, DriftingCurve

if TYPE_CHECKING:
    from phyletic.study.study import Study
    from phyletic.workers.loop import Trials

__all__ = ["SPACE", "DriftingCurve", "train"]


def train(trials: Trials | Study, curve: DriftingCurve = DriftingCurve()) -> None:
    """Train members on a curve; reports ``loss``, which is to be minimised, and ``regret``.

    Args:
        trials: The source of trials.
        curve: The curve.

    Example:
        >>> import phyletic as ph
        >>> study = ph.Study(
        ...     "curve", space=SPACE, metric="loss", mode="min", algorithm=ph.PBT(population=4, interval=10),
        ...     budget=ph.Budget(steps=100), seed=0,
        ... )
        >>> train(study)
        >>> study.best.score >= DriftingCurve().best_loss(100)
        True
    """
    for trial in trials.attach(lambda trial: {"loss": curve.start}):
        loss, end = trial.state.loss, trial.start_step
        stream = RandomStream(trial.seed) if curve.noise else None
        for step in trial.range():
            loss, end = curve.step(loss, trial["lr"], step, stream), step + 1
        trial.state.loss = loss
        trial.report(loss=loss, regret=curve.regret(loss, end))
