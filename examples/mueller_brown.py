"""Forty members find the deepest minimum of the Müller-Brown potential without ever seeing it.

Each descends a paraboloid; its coefficients and learning rate are the hyperparameters. The true potential only ranks
the members. Writes mueller_brown.png and mueller_brown.gif; prints the best potential, and how many members PBT rescues
if the coefficients come from far too wide a range.
"""

import argparse
import math
from pathlib import Path

import phyletic as ph
from phyletic import plots
from phyletic.plots.plane import surface
from phyletic.problems import mueller_brown
from phyletic.problems.dry_run import dry_run
from phyletic.records import Metric

INTERVAL, ROUNDS, MEMBERS = 4, 40, 40
METRIC = Metric("potential", "min")
LEVELS = (-140, -120, -100, -80, -60, -40, -20, 0, 20, 40, 70, 100, 150, 200)


def algorithm(members):
    return ph.PBT(members, INTERVAL, explore=ph.Gaussian(0.2), synchronous=True)


def run(members, rounds, workers):
    study = ph.Study(
        "mueller-brown",
        space=mueller_brown.space(reach=5.0),
        metric="potential",
        mode="min",
        algorithm=algorithm(members),
        budget=ph.Budget(steps=INTERVAL * rounds),
        seed=0,
    )
    with study:
        study.run(mueller_brown.train, workers=workers, verbose=0)
        return study.trials()


def run_dry(reach, members, rounds, seed):
    """The trials of a dry run of such a study whose coefficients are drawn from -reach to reach."""
    return dry_run(
        mueller_brown.train,
        space=mueller_brown.space(reach),
        metric="potential",
        mode="min",
        algorithm=algorithm(members),
        steps=INTERVAL * rounds,
        seed=seed,
    )


def counts(trials):
    """Return the best potential, and count trials without a finite one, rescues, and members dead at the end."""
    best = min((trial.score for trial in trials if trial.finite), default=math.inf)
    heads = {trial.member: trial for trial in trials}
    return (
        best,
        sum(not trial.finite for trial in trials),
        sum(trial.decision.kind == "rescue" for trial in trials),
        sum(not head.finite for head in heads.values()),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path(), help="folder of the pictures")
    parser.add_argument("--members", type=int, default=MEMBERS, help="size of the population")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="trials of each member")
    parser.add_argument("--workers", type=int, default=0, help="local processes; 0 trains in this one")
    parser.add_argument("--seeds", type=int, default=20, help="number of seeds to count over")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    trials = run(options.members, options.rounds, options.workers)
    best, *_ = counts(trials)
    print(f"best potential {best:.3f}; the least is {mueller_brown.OPTIMUM:.3f}")
    for reach in (5.0, 20.0, 50.0):
        found = [counts(run_dry(reach, options.members, options.rounds, seed)) for seed in range(options.seeds)]
        deep = sum(best <= -146 for best, *_ in found)
        lost, rescued, dead = (sum(column) for column in list(zip(*found, strict=True))[1:])
        print(
            f"coefficients from -{reach:g} to {reach:g}: {deep} of {options.seeds} seeds reach -146; "
            f"{lost} trials not finite, {rescued} rescues, {dead} members dead at the end"
        )
    below = surface(mueller_brown.potential, *mueller_brown.BOUNDS, levels=LEVELS, marks=[mueller_brown.MINIMA[0]])
    figure = plots.landscape(trials, METRIC, below, ("x", "y"), title="Müller-Brown potential: paths of the members")
    figure.savefig(options.output / "mueller_brown.png", dpi=90)
    film = plots.landscape_animation(trials, METRIC, below, ("x", "y"))
    film.save(options.output / "mueller_brown.gif")


if __name__ == "__main__":
    main()
