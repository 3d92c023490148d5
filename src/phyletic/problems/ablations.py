"""The four algorithms of figure 2 in Jaderberg et al. 2017 (arXiv 1711.09846), on the toy of :mod:`quadratic`.

PBT makes two moves, and each ablation leaves one out: exploiting (copying weights) without exploring, exploring without
exploiting, and neither, which is a grid of fixed hyperparameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from phyletic.evolution import PBT, Algorithm, ExploreOnly, Gaussian, GridSearch, Perturb
from phyletic.plots.landscape import side_by_side
from phyletic.plots.plane import surface
from phyletic.problems import quadratic
from phyletic.problems.dry_run import dry_run
from phyletic.problems.quadratic import PAPER, Quadratic
from phyletic.records import Budget, Metric, Trial
from phyletic.study.study import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOISE = 0.2
"""Standard deviation of the noise that explores h."""


def ablations(
    *,
    interval: int = quadratic.INTERVAL,
    noise: float = NOISE,
    inherit: Literal["both", "weights", "hyperparameters"] = "both",
) -> dict[str, Algorithm]:
    """Return the algorithms by the names of the figure's columns, each for two members.

    Args:
        interval: Steps between two moves.
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
        "exploit only": PBT(2, interval, explore=Perturb((1.0,), 0.0), inherit="weights", synchronous=True),
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
        seed: The study's seed.

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


def outcomes(
    algorithm: Algorithm, problem: Quadratic = PAPER, *, steps: int = quadratic.STEPS, seeds: Iterable[int] = range(50)
) -> list[float]:
    """Return the better member's last Q for each seed, as :func:`run` would give it, by dry runs.

    Args:
        algorithm: For two members.
        problem: The variant of the toy.
        steps: Steps that each member trains.
        seeds: The studies' seeds.

    Example:
        >>> [round(outcome, 2) for outcome in outcomes(ablations()["exploit only"], seeds=[0, 1])]
        [1.17, 1.17]
    """
    return [
        best_at_end(
            dry_run(
                lambda trials: quadratic.train(trials, problem),
                space=quadratic.SPACE,
                initial=quadratic.INITIAL,
                metric="objective",
                mode="max",
                algorithm=algorithm,
                steps=steps,
                seed=seed,
            )
        )
        for seed in seeds
    ]


def best_at_end(trials: Sequence[Trial]) -> float:
    """Return the best Q among the trials that ended last."""
    last = max(trial.end_step or 0 for trial in trials)
    return max(trial.score for trial in trials if trial.end_step == last and trial.score is not None)


def draw(runs: Mapping[str, Sequence[Trial]], problem: Quadratic = PAPER, *, title: str = "") -> Figure:
    """Draw the figure: for each run the paths of θ over Q, and Q by step.

    Args:
        runs: The trials of each study, by the name of its column.
        problem: The variant that the members trained on.
        title: The title of the figure.
    """
    below = surface(
        problem.objective,
        (-0.05, 1.0),
        (-0.05, 1.0),
        levels=[-0.6, -0.3, 0.0, 0.3, 0.6, 0.9, 1.1, 1.19],
        marks=[(0, 0)],
    )
    return side_by_side(
        runs,
        Metric("objective", "max"),
        below,
        ("theta0", "theta1"),
        origin=quadratic.START,
        target=quadratic.OPTIMUM,
        title=title,
    )
