"""Population based training in pictures: two and four members on a quadratic, with PBT and as a grid.

Members should climb Q = 1.2 - 3/4 theta0**2 - theta1**2, but they see Q with theta0 weighted by h0 and theta1 by h1,
and start with an h that shows them only one coordinate. PBT and the grid differ in one argument, the algorithm.
"""

import argparse
from pathlib import Path

import numpy as np

import phyletic as ph
from phyletic import plots
from phyletic.problems.quadratic import OPTIMUM, START, Quadratic

INTERVAL, STEPS = 4, 100

SPACE = {
    "lr": ph.Float(5e-3, 1e-1, log=True, step=5e-4),
    "h0": ph.Float(0.0, 1.0),
    "h1": ph.Float(0.0, 1.0),
}
INITIAL = {
    2: [{"lr": 0.02, "h0": 1.0, "h1": 0.0}, {"lr": 0.02, "h0": 0.0, "h1": 1.0}],
    4: [{"lr": 0.02, "h0": h0, "h1": h1} for h0, h1 in [(1.0, 0.0), (0.0, 1.0), (0.5, 0.0), (0.0, 0.5)]],
}
EXPLORE = ph.Perturb((0.8, 1.2), resample_probability=0.5)


def algorithms(members):
    return {
        "pbt": ph.PBT(members, INTERVAL, exploit=ph.Truncation(0.5), explore=EXPLORE, synchronous=True),
        "grid": ph.RandomSearch(members, INTERVAL, synchronous=True),  # keeps the values of initial= below
    }


def build(trial):
    return {"theta": np.array(START)}


def train(trials):
    for trial in trials.attach(build):
        problem = Quadratic(curvature=(0.75, 1.0), learning_rate=trial["lr"])
        h = np.array([trial["h0"], trial["h1"]])
        for step in trial.range():
            theta = trial.state.theta = problem.step(trial.state.theta, h)
            trial.report(Q=float(problem.objective(theta)), theta0=theta[0], theta1=theta[1], step=step + 1)


def search(algorithm, initial):
    study = ph.Study(
        "visualise",
        space=SPACE,
        metric="Q",
        mode="max",
        algorithm=algorithm,
        budget=ph.Budget(steps=STEPS),
        initial=initial,
        seed=4,
    )
    study.run(train, verbose=0)
    return study


def weights_history(study):
    """Draw the path of the weights over contours of Q; labels count the steps."""
    figure = plots.plot(study, "parameters", pair=("theta0", "theta1"), colour="member")
    (axes,) = figure.axes
    axes.set(xlim=(-0.05, 1.0), ylim=(-0.05, 1.0))
    plane = np.stack(np.meshgrid(np.linspace(-0.05, 1, 80), np.linspace(-0.05, 1, 80)), axis=-1)
    heights = Quadratic(curvature=(0.75, 1.0)).objective(plane)
    axes.contour(plane[..., 0], plane[..., 1], heights, levels=12, colors="#C8C8C8", linewidths=0.7, zorder=1)
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("visualise-pbt"), help="folder of the pictures")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for members, initial in INITIAL.items():
        for name, algorithm in algorithms(members).items():
            with search(algorithm, initial) as study:
                trials, metric = study.trials(), study.metrics[0]
                exploits = sum(trial.decision.kind == "exploit" for trial in trials)
                print(f"{members} members, {name:4}: Q = {study.best.score:.4f} of {OPTIMUM}, {exploits:2} exploits")
                places = {round((trial.hyperparameters["lr"] - 5e-3) / 5e-4, 9) for trial in trials}
                print(f"  {len(places)} learning rates, on the grid: {all(place.is_integer() for place in places)}")
                stem = f"{options.output / name}_{members}"
                weights_history(study).savefig(f"{stem}_weights.png", dpi=90)
                plots.plot(study, "parameters").savefig(f"{stem}_hyperparameters.png", dpi=90)
                plots.plot(study, "scores").savefig(f"{stem}_q.png", dpi=90)
                if name == "pbt":
                    pair = {"kind": "parameters", "pair": ("theta0", "theta1"), "colour": "member"}
                    plots.animate(trials, study.space, metric, **pair).save(f"{stem}_weights.gif")
                    plots.animate(trials, study.space, metric, kind="scores").save(f"{stem}_q.gif")
    print(f"pictures: {options.output.resolve()}")


if __name__ == "__main__":
    main()
