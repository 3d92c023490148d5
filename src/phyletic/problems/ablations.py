"""The four algorithms of figure 2 in Jaderberg et al. 2017 (arXiv 1711.09846), on the toy of :mod:`quadratic`.

What PBT does in two moves, each of them taken away: exploiting (copying weights) without exploring, exploring without
exploiting, and neither, which is a grid of fixed hyperparameters.
"""

from __future__ import annotations

from typing import Literal

from phyletic.evolution import PBT, Algorithm, ExploreOnly, Gaussian, GridSearch, Perturb
from phyletic.problems import quadratic
from phyletic.problems.quadratic import PAPER, Quadratic
from phyletic.records import Budget, Trial
from phyletic.study.study import Study

__all__ = ["NOISE", "ablations", "run"]

NOISE = 0.1
"""Standard deviation of the noise that explores h."""


def ablations(
    *,
    interval: int = quadratic.INTERVAL,
    noise: float = NOISE,
    inherit: Literal["both", "weights", "hyperparameters"] = "both",
) -> dict[str, Algorithm]:
    """Return the algorithms by the names of the figure's columns, each for two members.

    Args:
        interval: Steps between two exploits, or explorations, or both.
        noise: Standard deviation of what exploring adds to h, which is from 0 to 1.
        inherit: What PBT copies. Exploiting alone always copies weights only: with equal h, two members would learn the
            same coordinate.

    Example:
        >>> list(ablations())
        ['PBT', 'explore only', 'exploit only', 'grid']
    """
    explore = Gaussian(noise)
    return {
        "PBT": PBT(2, interval, explore=explore, inherit=inherit, synchronous=True),
        "explore only": ExploreOnly(2, interval, explore=explore, synchronous=True),
        # A factor of 1 changes nothing.
        "exploit only": PBT(2, interval, explore=Perturb((1.0,)), inherit="weights", synchronous=True),
        "grid": GridSearch(interval, points=2, population=2, synchronous=True),
    }


def run(
    algorithm: Algorithm, problem: Quadratic = PAPER, *, steps: int = quadratic.STEPS, seed: int = 0
) -> list[Trial]:
    """Run one algorithm from the figure's two members, in this process and in memory; return its trials.

    Args:
        algorithm: For two members.
        problem: The variant of the toy.
        steps: Steps that each member trains.
        seed: Of the study.

    Example:
        >>> trials = run(ablations()["grid"])
        >>> round(max(trial.score for trial in trials), 2)
        0.39
    """
    study = Study(
        "toy",
        space=quadratic.SPACE,
        initial=quadratic.INITIAL,
        metric="objective",
        mode="max",
        algorithm=algorithm,
        budget=Budget(steps=steps),
        seed=seed,
    )
    with study:
        quadratic.train(study, problem)
        return study.trials()
