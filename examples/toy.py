"""The toy of the paper's figure 2: PBT, and PBT without exploit, without explore, and without both.

Two members climb a surrogate of Q = 1.2 - theta0**2 - theta1**2 that shows each of them only one coordinate. Writes
toy.png and, with 3/4 theta0**2 in place of theta0**2, toy_variant.png; prints the best Q over many seeds.
"""

import argparse
import statistics
from pathlib import Path

import phyletic as ph
from phyletic.problems import ablations, quadratic

INTERVAL, NOISE, STEPS = 4, 0.2, 200

ALGORITHMS = {
    "PBT": ph.PBT(2, INTERVAL, explore=ph.Gaussian(NOISE), synchronous=True),
    "explore only": ph.ExploreOnly(2, INTERVAL, explore=ph.Gaussian(NOISE), synchronous=True),
    # a factor of 1 changes nothing
    "exploit only": ph.PBT(2, INTERVAL, explore=ph.Perturb((1.0,), 0.0), inherit="weights", synchronous=True),
    "grid": ph.GridSearch(INTERVAL, points=2, population=2, synchronous=True),
}


def run(algorithm, problem):
    study = ph.Study(
        "toy",
        space={"h0": ph.Float(0.0, 1.0), "h1": ph.Float(0.0, 1.0)},
        initial=[{"h0": 1.0, "h1": 0.0}, {"h0": 0.0, "h1": 1.0}],
        metric="objective",
        mode="max",
        algorithm=algorithm,
        budget=ph.Budget(steps=STEPS),
        seed=0,
    )
    with study:
        quadratic.train(study, problem)  # the training loop, a dozen lines
        return study.trials()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path(), help="folder of the pictures")
    parser.add_argument("--seeds", type=int, default=50, help="number of seeds for each median")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    variants = {"toy": ("1.2 − θ0² − θ1²", quadratic.PAPER), "toy_variant": ("1.2 − ¾θ0² − θ1²", quadratic.RAY)}
    for name, (formula, problem) in variants.items():
        figure = ablations.draw(
            {column: run(algorithm, problem) for column, algorithm in ALGORITHMS.items()},
            problem,
            title=f"Q = {formula}",
        )
        figure.savefig(options.output / f"{name}.png", dpi=90)
        print(f"Q = {formula}: the better member after {STEPS} steps, over {options.seeds} seeds")
        for column, algorithm in ALGORITHMS.items():
            found = ablations.outcomes(algorithm, problem, steps=STEPS, seeds=range(options.seeds))
            print(f"  {column:12}  median {statistics.median(found):.4f}  from {min(found):.4f} to {max(found):.4f}")


if __name__ == "__main__":
    main()
