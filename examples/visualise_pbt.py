"""Population based training in pictures: two and four members on a quadratic, with PBT and as a grid.

Members should climb Q = 1.2 - 3/4 theta0**2 - theta1**2, but they see Q with theta0 weighted by h0 and theta1 by h1,
and start with an h that shows them hardly more than one coordinate. PBT and the grid differ in one argument, the
algorithm. Every step is reported and drawn, so an exploit is a jump from step 4 to step 5.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib import pyplot

import phyletic as ph
from phyletic import plots
from phyletic.problems.quadratic import OPTIMUM, START, Quadratic

INTERVAL, STEPS = 4, 100

SPACE = {
    "lr": ph.Float(5e-3, 1e-1, log=True, step=5e-4),
    "h0": ph.Float(0.0, 1.0),
    "h1": ph.Float(0.0, 1.0),
}
BIRTHS = {  # of h; learning rates are drawn
    2: [(0.01, 0.99), (0.99, 0.01)],
    4: [(0.01, 0.99), (0.99, 0.01), (0.01, 0.5), (0.5, 0.01)],
}
EXPLORE = ph.Perturb((0.8, 1.2), resample_probability=0.5)


def algorithms(members):
    return {
        "pbt": ph.PBT(members, INTERVAL, exploit=ph.Truncation(0.5), explore=EXPLORE, synchronous=True),
        "grid": ph.RandomSearch(members, INTERVAL, synchronous=True),  # keeps the values of birth
    }


def build(trial):
    return {"theta": np.array(START)}


def train(trials):
    for trial in trials.attach(build):
        problem = Quadratic(curvature=(0.75, 1.0), learning_rate=trial["lr"])
        h = np.array([trial["h0"], trial["h1"]])
        if trial.newborn:
            report(trial, problem, 0)  # where it starts
        for step in trial.range():
            trial.state.theta = problem.step(trial.state.theta, h)
            report(trial, problem, step + 1)


def report(trial, problem, step):
    theta = trial.state.theta
    trial.report(Q=float(problem.objective(theta)), theta0=theta[0], theta1=theta[1], step=step)


def search(algorithm, births):
    study = ph.Study(
        "visualise",
        space=SPACE,
        metric="Q",
        mode="max",
        algorithm=algorithm,
        budget=ph.Budget(steps=STEPS),
        initial=[{"h0": h0, "h1": h1} for h0, h1 in births],
        seed=4,
    )
    study.run(train, verbose=0)
    return study


def first_jump(study):
    """Return the member of the first exploit, and (step, Q) before and after it."""
    trials = study.trials()
    trial = next(trial for trial in trials if trial.decision.kind == "exploit")
    before = next(other for other in trials if other.member == trial.member)
    after = next(said for said in study.evaluations(trial) if said.metric == "Q")
    return trial.member, (before.end_step, before.score), (after.step, after.value)


def contours():
    """Return axes with contours of Q, to draw the weights into."""
    axes = pyplot.subplots(figsize=(6, 5), layout="constrained")[1]
    plane = np.stack(np.meshgrid(np.linspace(-0.05, 1, 80), np.linspace(-0.05, 1, 80)), axis=-1)
    heights = Quadratic(curvature=(0.75, 1.0)).objective(plane)
    axes.contour(plane[..., 0], plane[..., 1], heights, levels=12, colors="#D0D0D0", linewidths=0.7, zorder=1)
    return axes


def draw(study, births, stem, *, films):
    """Write the weights, Q and the hyperparameters of a study; with films also how the weights and Q came about."""
    trials, metric, reports = study.trials(), study.metrics[0], study.reports()
    pair = ("theta0", "theta1")
    looks = {"reports": reports, "colour": "member", "labels": [f"h = {h}" for h in births]}
    weights = plots.parameters(trials, study.space, metric, pair=pair, **looks, ax=contours())
    weights.savefig(f"{stem}_weights.png", dpi=90)
    plots.scores(trials, metric, **looks).savefig(f"{stem}_q.png", dpi=90)
    plots.parameters(trials, study.space, metric).savefig(f"{stem}_hyperparameters.png", dpi=90)
    if films:
        film = plots.animate(trials, study.space, metric, kind="parameters", pair=pair, **looks, ax=contours())
        film.save(f"{stem}_weights.gif")
        plots.animate(trials, study.space, metric, kind="scores", **looks).save(f"{stem}_q.gif")
    pyplot.close("all")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("visualise-pbt"), help="folder of the pictures")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for members, births in BIRTHS.items():
        for name, algorithm in algorithms(members).items():
            with search(algorithm, births) as study:
                trials = study.trials()
                exploits = sum(trial.decision.kind == "exploit" for trial in trials)
                print(f"{members} members, {name:4}: Q = {study.best.score:.4f} of {OPTIMUM}, {exploits:2} exploits")
                places = {round((trial.hyperparameters["lr"] - 5e-3) / 5e-4, 9) for trial in trials}
                print(f"  {len(places)} learning rates, on the grid: {all(place.is_integer() for place in places)}")
                if exploits:
                    member, (step, before), (later, after) = first_jump(study)
                    print(f"  member {member}: Q = {before:.3f} at step {step}, {after:.3f} at step {later}")
                draw(study, births, f"{options.output / name}_{members}", films=name == "pbt")
    print(f"pictures: {options.output.resolve()}")


if __name__ == "__main__":
    main()
