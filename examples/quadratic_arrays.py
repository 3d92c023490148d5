"""Replace state instead of changing it: the toy of the paper's figure 2 with trees of arrays."""

import os

import numpy as np

import phyletic as ph


def build(trial):
    return {"parameters": {"theta": np.array([0.9, 0.9])}}


def train(trials):
    for trial in trials.attach(build):
        weights = np.array([trial["h0"], trial["h1"]])
        for _ in trial.range():
            theta = trial.state.parameters["theta"]
            gradient = -2.0 * weights * theta  # of the surrogate, 1.2 - h0 * theta0**2 - h1 * theta1**2
            trial.state.parameters = {"theta": theta + 0.01 * gradient}  # a new tree; assigning replaces the entry
        trial.report(q=1.2 - np.sum(trial.state.parameters["theta"] ** 2))


study = ph.Study(
    "quadratic",
    space={"h0": ph.Float(0.0, 1.0), "h1": ph.Float(0.0, 1.0)},
    metric="q",
    mode="max",
    algorithm=ph.PBT(population=2, interval=4, explore=ph.Gaussian(0.1), synchronous=True),
    budget=ph.Budget(steps=int(os.environ.get("STEPS", "200"))),
    initial=[{"h0": 1.0, "h1": 0.0}, {"h0": 0.0, "h1": 1.0}],
    seed=0,
)
study.run(train, workers=int(os.environ.get("WORKERS", "0")), verbose=0)
print(f"q = {study.best.score:.3f} after {study.best.end_step} steps; the largest possible is 1.2")
