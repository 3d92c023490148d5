"""Learning rates that must change while training, and the schedules that PBT finds.

The triangle needs a rate that rises and falls, and its members start with a rate at which they learn nothing. The noisy
quadratic deceives any method that looks only a few steps ahead, so the interval decides. An optimizer's own decay
shares the schedule with PBT. Writes schedules_triangle.png, schedules_deceptive.png and schedules_decay.png, and prints
the figures they show.
"""

import argparse
import functools
import statistics
from pathlib import Path

import phyletic as ph
from phyletic import plots
from phyletic.plots.lines import (
    Line,
    LinePanel,
    along_lineage,
    best_lineage,
    best_so_far,
    hyperparameter_steps,
    steps_to_reach,
)
from phyletic.problems import deceptive, triangle
from phyletic.problems.dry_run import dry_run
from phyletic.randomness import RandomStream
from phyletic.records import Metric

ACCURACY, LOSS = Metric("accuracy", "max"), Metric("loss", "min")
MEMBERS, INTERVAL, STEPS = 8, 10, 1000  # of the triangle
INTERVALS = (1, 2, 5, 10, 20, 40, 80, 200, 400)  # of the noisy quadratic
PROBLEM = deceptive.NoisyQuadratic()
LAST = deceptive.STEPS
DECAYS = {
    "no decay": None,
    "linear to 0": lambda step: 1 - step / LAST,
    "to 1 %": lambda step: 0.01 ** (step / LAST),
}


# --- the triangle ---

EXPLORE, EXPLOIT = ph.Perturb((0.8, 1.2), 0.25), ph.Truncation(0.25)
SOLVERS = {
    "PBT": ph.PBT(MEMBERS, INTERVAL, exploit=EXPLOIT, explore=EXPLORE, synchronous=True),
    # a factor of 1 changes nothing
    "exploit only": ph.PBT(MEMBERS, INTERVAL, exploit=EXPLOIT, explore=ph.Perturb((1.0,), 0.0), synchronous=True),
    "explore only": ph.ExploreOnly(MEMBERS, INTERVAL, explore=EXPLORE, synchronous=True),
    "neither": ph.RandomSearch(MEMBERS, INTERVAL, synchronous=True),
}


def solve(name, seed, noise=0.0):
    return dry_run(
        lambda trials: triangle.train(trials, noise),
        space=triangle.SPACE,
        initial=[triangle.START] * MEMBERS,
        metric="accuracy",
        mode="max",
        algorithm=SOLVERS[name],
        steps=STEPS,
        target=triangle.SOLVED,
        seed=seed,
    )


def constant(learning_rate, seed, noise=0.0):
    """Return the accuracy by step with one learning rate, until the problem is solved."""
    stream, accuracies = RandomStream(seed), [0.0]
    while accuracies[-1] < triangle.SOLVED and len(accuracies) <= STEPS:
        accuracies.append(triangle.step(accuracies[-1], learning_rate, stream, noise))
    return accuracies


def draw_triangle(output, seeds):
    for noise in (0.0, triangle.NOISE):
        for name in SOLVERS:
            needed = [steps_to_reach(solve(name, seed, noise), ACCURACY, triangle.SOLVED) for seed in range(seeds)]
            solved = [steps for steps in needed if steps is not None]
            typical = f", median {statistics.median(solved):g} steps" if solved else ""
            print(f"triangle, noise {noise:g}, {name}: {len(solved)} of {seeds} seeds solved in {STEPS} steps{typical}")
        reached = {rate / 10_000: max(constant(rate / 10_000, 0, noise)) for rate in range(1, 201)}
        rate = max(reached, key=reached.get)
        print(f"triangle, noise {noise:g}, best of 200 constants: {rate:g} reaches {min(reached[rate], 200):.0f}")
    # a study that can be opened, resumed and looked at, rather than a dry run: its trials are the same
    study = ph.Study(
        "triangle",
        space=triangle.SPACE,
        initial=[triangle.START] * MEMBERS,
        metric="accuracy",
        mode="max",
        algorithm=SOLVERS["PBT"],
        budget=ph.Budget(steps=STEPS, target=triangle.SOLVED),
        seed=0,
    )
    with study:
        triangle.train(study, noise=0.0)
        lineage = study.lineage()
    steps, accuracies = along_lineage(lineage, "accuracy")
    best_rates = tuple(triangle.best_learning_rate(accuracy) for accuracy in accuracies)
    rate_steps, found = hyperparameter_steps(lineage, "lr")
    progress = [
        Line(xs=(0.0, float(STEPS)), ys=(triangle.SOLVED,) * 2, dashed=True, width=1.0),
        Line(xs=steps, ys=accuracies, label="PBT, best lineage"),
    ]
    for name in ("explore only", "neither"):
        xs, ys = best_so_far(solve(name, 0), ACCURACY)
        progress.append(Line(xs=xs, ys=ys, label=name))
    for rate in (0.0025, 0.005):
        fixed = constant(rate, 0)
        progress.append(Line(xs=tuple(range(len(fixed))), ys=tuple(fixed), label=f"constant {rate}", width=1.2))
    rates = (
        Line(xs=steps, ys=best_rates, label="best at that accuracy", dashed=True),
        Line(xs=rate_steps, ys=found, label="found"),
    )
    panels = [
        LinePanel(title="the triangle: accuracy", x="step", y="accuracy", lines=tuple(progress)),
        LinePanel(title="learning rate along the best lineage", x="step", y="lr", lines=rates, log_y=True),
    ]
    plots.lines(panels).savefig(output / "schedules_triangle.png", dpi=90)


# --- the noisy quadratic ---


@functools.cache
def learn(interval, seed, decay="no decay"):
    return dry_run(
        lambda trials: deceptive.train(trials, PROBLEM, DECAYS[decay]),
        space=deceptive.SPACE,
        metric="loss",
        mode="min",
        algorithm=ph.PBT(
            20, interval, exploit=ph.Truncation(0.2), explore=ph.Perturb((0.8, 1.2), 0.0), synchronous=True
        ),
        steps=LAST,
        seed=seed,
    )


def final_loss(trials):
    return min(trial.score for trial in trials if trial.end_step == LAST)


def losses(seeds, decay="no decay"):
    """Return the median over seeds of the best final loss, by interval."""
    return {
        interval: statistics.median(final_loss(learn(interval, seed, decay)) for seed in range(seeds))
        for interval in INTERVALS
    }


def effective(interval, decay):
    """Return the learning rate in effect along the best lineage, by step: the hyperparameter times the decay."""
    factor = DECAYS[decay] or (lambda step: 1.0)
    lineage = best_lineage(learn(interval, 0, decay), LOSS)
    pairs = [
        (float(step), trial.hyperparameters["lr"] * factor(step))
        for trial in lineage
        for step in range(trial.start_step, trial.end_step)
    ]
    return tuple(step for step, _ in pairs), tuple(rate for _, rate in pairs)


def draw_deceptive(output, seeds):
    found = losses(seeds)
    limits = {
        "greedy": PROBLEM.greedy(LAST),
        "best constant": PROBLEM.best_constant(LAST),
        "best falling to 0": PROBLEM.best_falling(LAST),
    }
    for name, rates in limits.items():
        print(f"noisy quadratic, {name} rate: loss {PROBLEM.run(rates):.4f} after {LAST} steps")
    for interval, loss in found.items():
        print(f"noisy quadratic, PBT with an interval of {interval}: loss {loss:.4f}, median of {seeds} seeds")
    ends = tuple(float(interval) for interval in INTERVALS)
    styles = {"greedy": "#CC79A7", "best constant": "#808080", "best falling to 0": "#303030"}
    bounds = [
        Line(xs=(1.0, float(LAST)), ys=(PROBLEM.run(rates),) * 2, label=name, colour=styles[name], dashed=True)
        for name, rates in limits.items()
    ]
    by_interval = Line(xs=ends, ys=tuple(found.values()), label="PBT", dots=True)
    schedules = [
        Line(xs=tuple(map(float, range(LAST))), ys=tuple(limits[name]), label=name, colour=styles[name], dashed=True)
        for name in ("greedy", "best falling to 0")
    ]
    for interval in (1, 40, 200):
        xs, ys = effective(interval, "no decay")
        schedules.append(Line(xs=xs, ys=ys, label=f"interval {interval}"))
    panels = [
        LinePanel(
            title="loss at the end, by interval",
            x="interval (steps)",
            y="loss",
            lines=(*bounds, by_interval),
            log_x=True,
            log_y=True,
            ticks=ends,
        ),
        LinePanel(title="schedules found", x="step", y="lr", lines=tuple(schedules), log_y=True),
    ]
    plots.lines(panels).savefig(output / "schedules_deceptive.png", dpi=90)


def draw_decay(output, seeds):
    results, ends = [], tuple(float(interval) for interval in INTERVALS)
    for name in DECAYS:
        found = losses(seeds, name)
        alone = found[LAST]  # one trial each: decay, and the best of 20 drawn base rates
        best = min(found, key=found.get)
        print(
            f"decay, {name}: loss {alone:.4f} without PBT, {found[best]:.4f} with an interval of {best}, "
            f"{found[1]:.4f} with an interval of 1"
        )
        results.append(Line(xs=ends, ys=tuple(found.values()), label=name, dots=True))
    rates = []
    for name in DECAYS:
        xs, ys = effective(40, name)
        rates.append(Line(xs=xs, ys=ys, label=name))
    base = []
    for name in DECAYS:
        xs, ys = hyperparameter_steps(best_lineage(learn(40, 0, name), LOSS), "lr")
        base.append(Line(xs=xs, ys=ys, label=name))
    panels = [
        LinePanel(
            title="loss at the end",
            x="interval (steps)",
            y="loss",
            lines=tuple(results),
            log_x=True,
            log_y=True,
            ticks=ends,
        ),
        LinePanel(title="base rate that PBT chose, interval 40", x="step", y="lr", lines=tuple(base), log_y=True),
        LinePanel(title="rate in effect: base times decay", x="step", y="lr", lines=tuple(rates), log_y=True),
    ]
    plots.lines(panels, columns=3).savefig(output / "schedules_decay.png", dpi=90)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path(), help="folder of the pictures")
    parser.add_argument("--seeds", type=int, default=10, help="number of seeds for each figure")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    draw_triangle(options.output, options.seeds)
    draw_deceptive(options.output, options.seeds)
    draw_decay(options.output, options.seeds)


if __name__ == "__main__":
    main()
