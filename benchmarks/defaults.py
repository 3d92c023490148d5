"""Which settings of PBT do well without knowing the problem: the choice of its defaults.

    python benchmarks/defaults.py
    python benchmarks/defaults.py --problems drift "noisy drift" --seeds 30 --first 1000

Each setting trains on each problem with the same seeds and equal steps, beside random search. A figure is the
interquartile mean, over the seeds, of the regret of the member with the best score at the end: how far its true loss is
above the least that any schedule reaches (on the noisy quadratic, the best rate that falls linearly). Lower is better.

- drift: the best learning rate falls from 0.1 to 0.0001 while the loss falls
- noisy drift: the same, and each score is the loss plus noise of 0.02
- noisy quadratic: gradients are noisy, so that a low rate looks good at once, and learns little later
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from conditions import conditions, parser, show, work_folder

import phyletic as ph
from phyletic.problems import deceptive
from phyletic.problems.dry_run import dry_run
from phyletic.randomness import RandomStream
from phyletic.simulate import DriftingCurve

POPULATION = 20
GENERATIONS = 20
SETTINGS: dict[str, dict[str, Any]] = {
    f"fraction {fraction}, factors {', '.join(f'{factor:g}' for factor in factors)}, resample {resample:g}": {
        "exploit": ph.Truncation(fraction),
        "explore": ph.Perturb(factors, resample),
    }
    for fraction in (0.2, 0.25)
    for factors in ((0.8, 1.2), (0.8, 1.25), (0.5, 2.0), (0.5, 0.8, 1.25, 2.0))
    for resample in (0.0, 0.1, 0.25)
}


def drift(noise: float) -> Callable[[ph.PBT, int], float]:
    curve = DriftingCurve(horizon=10 * GENERATIONS)

    def train(trials: Any) -> None:
        for trial in trials.attach(lambda trial: {"loss": curve.start}):
            for step in trial.range():
                trial.state.loss = curve.step(trial.state.loss, trial["lr"], step)
            measured = trial.state.loss + noise * RandomStream(trial.seed).normal()
            trial.report(loss=measured, true=trial.state.loss)

    def run(algorithm: Any, seed: int) -> float:
        trials = dry_run(
            train, space={"lr": ph.Float(1e-5, 1.0, log=True)}, metric="loss", mode="min", algorithm=algorithm,
            steps=10 * GENERATIONS, seed=seed,
        )  # fmt: skip
        return curve.regret(best_at_end(trials), 10 * GENERATIONS)

    return run


def noisy_quadratic(algorithm: Any, seed: int) -> float:
    problem = deceptive.NoisyQuadratic()
    trials = dry_run(
        lambda trials: deceptive.train(trials, problem), space=deceptive.SPACE, metric="loss", mode="min",
        algorithm=algorithm, steps=deceptive.STEPS, seed=seed,
    )  # fmt: skip
    return best_at_end(trials) - problem.run(problem.best_falling(deceptive.STEPS))


PROBLEMS: dict[str, tuple[int, Callable[[Any, int], float]]] = {
    "drift": (10, drift(0.0)),
    "noisy drift": (10, drift(0.02)),
    "noisy quadratic": (deceptive.STEPS // GENERATIONS, noisy_quadratic),
}


def best_at_end(trials: Sequence[ph.Trial]) -> float:
    end = max(trial.end_step or 0 for trial in trials)
    best = min((trial for trial in trials if trial.end_step == end), key=lambda trial: trial.score or 0.0)
    return best.metrics.get("true", best.score or 0.0)


def interquartile_mean(values: Sequence[float]) -> float:
    ordered, cut = sorted(values), len(values) // 4
    middle = ordered[cut : len(ordered) - cut]
    return sum(middle) / len(middle)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--problems", nargs="+", default=list(PROBLEMS), choices=list(PROBLEMS))
    arguments.add_argument("--seeds", type=int, default=30)
    arguments.add_argument("--first", type=int, default=0, help="the first seed")
    given = arguments.parse_args()
    rows = []
    begun = time.perf_counter()
    for name, settings in {"random search": None, "PBT's defaults": {}, **SETTINGS}.items():
        row: dict[str, Any] = {"setting": name}
        for problem in given.problems:
            interval, run = PROBLEMS[problem]
            algorithm: Any = ph.RandomSearch(POPULATION, interval, synchronous=True)
            if settings is not None:
                algorithm = ph.PBT(POPULATION, interval, synchronous=True, **settings)
            row[problem] = interquartile_mean([run(algorithm, given.first + seed) for seed in range(given.seeds)])
        rows.append(row)
    with work_folder(given.folder) as folder:
        measured_in = {**conditions(folder), "seeds": given.seeds, "first": given.first}
        show(f"regret, {time.perf_counter() - begun:.0f} s", rows, measured_in, as_json=given.json)


if __name__ == "__main__":
    main()
