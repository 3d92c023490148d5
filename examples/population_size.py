"""How much a larger population gains: local workers train 1 to 32 members on the toy quadratic.

Members are born with random hyperparameters. Writes population_size.png and prints how many steps the best member needs
to reach Q >= 1.19 (the optimum is 1.2), averaged over seeds.
"""

import argparse
import statistics
from pathlib import Path

import numpy as np
from matplotlib import colormaps, colors

import phyletic as ph
from phyletic import plots
from phyletic.plots.lines import Line, LinePanel, along_lineage, best_lineage, exploit_steps, steps_to_reach
from phyletic.problems import quadratic
from phyletic.problems.dry_run import dry_run
from phyletic.records import Metric

SIZES = (1, 2, 4, 8, 16, 32)
INTERVAL, TARGET, LONGEST = 10, 1.19, 1000
METRIC = Metric("objective", "max")


def algorithm(size, synchronous):
    return ph.PBT(size, INTERVAL, exploit=ph.Truncation(0.5), explore=ph.Gaussian(0.1), synchronous=synchronous)


def train(trials):
    """Train as the toy does, and report where the weights are at birth and after every step."""
    for trial in trials.attach(quadratic.build):
        h = np.array([trial["h0"], trial["h1"]])
        if trial.newborn:
            report(trial, h, 0)
        for step in trial.range():
            trial.state.theta = quadratic.PAPER.step(trial.state.theta, h)
            report(trial, h, step + 1)


def report(trial, h, step):
    theta, problem = trial.state.theta, quadratic.PAPER
    loss = quadratic.OPTIMUM - float(problem.surrogate(theta, h))
    trial.report(objective=float(problem.objective(theta)), loss=loss, theta0=theta[0], theta1=theta[1], step=step)


def run(size, workers, steps):
    """Return the trials of a population that trains until its best member reaches the target, and their reports."""
    study = ph.Study(
        f"population of {size}",
        space=quadratic.SPACE,
        metric="objective",
        mode="max",
        algorithm=algorithm(size, synchronous=False),
        budget=ph.Budget(steps=steps, target=TARGET),
        seed=0,
    )
    with study:
        study.run(train, workers=workers, verbose=0)
        return study.trials(), study.reports()


def steps_needed(size, seeds):
    """Return the steps to the target for each seed, at most LONGEST; synchronous, so the figures are reproducible."""
    needed = []
    for seed in seeds:
        trials = dry_run(
            quadratic.train,
            space=quadratic.SPACE,
            metric="objective",
            mode="max",
            algorithm=algorithm(size, synchronous=True),
            steps=LONGEST,
            target=TARGET,
            seed=seed,
        )
        needed.append(steps_to_reach(trials, METRIC, TARGET) or LONGEST)
    return needed


def until_target(trials, reports):
    """Return each metric along the best lineage, from birth until Q reaches the target, and where it exploited."""
    lineage = best_lineage(trials, METRIC)
    steps, q = along_lineage(lineage, "objective", reports)
    end = 1 + next((place for place, value in enumerate(q) if value >= TARGET), len(q) - 1)
    values = {"objective": q[:end]}
    for name in ("loss", "theta0", "theta1"):
        said = dict(zip(*along_lineage(lineage, name, reports), strict=True))
        values[name] = tuple(said[step] for step in steps[:end])
    exploits = tuple(steps.index(step) for step in exploit_steps(lineage) if step in steps[:end])
    return steps[:end], values, exploits


def draw(runs, needed):
    """Draw the score, loss and weights of each population's best member, and the steps that each size needed."""
    score, loss, weights = [], [], []
    for place, (size, (trials, reports)) in enumerate(runs.items()):
        steps, values, exploits = until_target(trials, reports)
        colour = colors.to_hex(colormaps["viridis"](0.85 * place / max(1, len(runs) - 1)))
        style = {"label": f"{size} member{'s' * (size != 1)}", "colour": colour, "exploits": exploits}
        score.append(Line(xs=steps, ys=values["objective"], **style))
        loss.append(Line(xs=steps, ys=values["loss"], **style))
        weights.append(Line(xs=values["theta0"], ys=values["theta1"], **style))
    last = max(line.xs[-1] for line in score)
    target = Line(xs=(0.0, last), ys=(TARGET, TARGET), dashed=True, width=1.0)
    ranges = [
        Line(xs=(size, size), ys=(min(steps), max(steps)), dashed=True, width=1.2) for size, steps in needed.items()
    ]
    means = Line(xs=tuple(needed), ys=tuple(map(statistics.mean, needed.values())), dots=True)
    panels = [
        LinePanel(title="Q of the best member", x="step", y="Q", lines=(target, *score)),
        LinePanel(title="its loss", x="step", y="loss", lines=tuple(loss), log_y=True, legend=False),
        LinePanel(title="its weights", x="θ0", y="θ1", lines=tuple(weights), legend=False),
        LinePanel(
            title=f"steps to {TARGET:g}: mean and range over seeds",
            x="members",
            y="steps",
            lines=(*ranges, means),
            log_x=True,
            log_y=True,
            ticks=tuple(needed),
        ),
    ]
    return plots.lines(panels)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path(), help="folder of the picture")
    parser.add_argument("--seeds", type=int, default=50, help="number of seeds to average over")
    parser.add_argument("--workers", type=int, default=2, help="local processes; 0 trains in this one")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of members")
    parser.add_argument("--steps", type=int, default=LONGEST, help="most steps of each member in the picture")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    needed = {}
    for size in options.sizes:
        needed[size] = steps_needed(size, range(options.seeds))
        mean, spread = statistics.mean(needed[size]), statistics.pstdev(needed[size])
        print(f"{size:3} members: {mean:6.1f} steps to Q >= {TARGET} (spread {spread:.1f}), {options.seeds} seeds")
    runs = {size: run(size, options.workers, options.steps) for size in options.sizes}
    for size, (trials, _) in runs.items():
        print(f"{size:3} members: {sum(trial.decision.kind == 'exploit' for trial in trials)} exploits in the picture")
    draw(runs, needed).savefig(options.output / "population_size.png", dpi=90)


if __name__ == "__main__":
    main()
