# ruff: noqa: E501 - the program is as a user lays it out
"""The loop over trials as a user writes it first, in this process and with two workers."""

import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
import os, sys
import torch
from sklearn.datasets import load_digits

import phyletic as ph

torch.set_num_threads(1)


def make_model(width):
    return torch.nn.Sequential(torch.nn.Linear(64, width), torch.nn.ReLU(), torch.nn.Linear(width, 10))


def load_data():
    images, labels = load_digits(return_X_y=True)
    images, labels = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    return (images[:1200], labels[:1200]), (images[1200:], labels[1200:])


def train_step(model, optimizer, data):
    (images, labels), _ = data
    batch = torch.randint(len(labels), (32,))
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
    optimizer.step()


def evaluate(model, data):
    _, (images, labels) = data
    with torch.no_grad():
        return (model(images).argmax(1) == labels).float().mean()


def build(trial):                                  # a member at birth; random states are already seeded from the trial
    model = make_model(width=trial["width"])
    return dict(model=model, optimizer=torch.optim.AdamW(model.parameters()))

def train(trials):
    data = load_data()                             # once per worker
    for trial in trials.attach(build):             # builds newborns, loads parents, saves what build returned
        state = trial.state                        # a namespace; assigning to it replaces (JAX trees, boosters)
        trial.apply(state.optimizer)               # after the load, so no checkpoint undoes an exploration
        for step in trial.range():                 # absolute steps; ends early when asked to stop
            train_step(state.model, state.optimizer, data)
        trial.report(accuracy=evaluate(state.model, data))

storage, steps = sys.argv[1], int(sys.argv[2])
study = ph.Study("digits", space={"lr": ph.Float(1e-4, 1e-1, log=True), "weight_decay": ph.Float(1e-6, 1e-2, log=True), "width": ph.Choice([64, 128], fixed=True)},
                 metric="accuracy", mode="max", algorithm=ph.PBT(population=8, interval=100), budget=ph.Budget(steps=steps),
                 storage="sqlite:///" + storage, seed=0)
if sys.argv[3] == "here":
    train(study)                       # in this process, under a debugger: a study is itself a source of trials
else:
    study.run(train, workers=2)        # the same function in local processes (workers=0: this process)
print(study.best.score, study.schedule().segments[-1].end_step, len(study.trials_dataframe()))
"""


@pytest.mark.parametrize("where", ["here", "workers"])
def test_it_runs_as_printed(tmp_path, where):
    pytest.importorskip("torch")
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    ended = subprocess.run(
        [sys.executable, str(program), str(tmp_path / "digits.db"), "200", where],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    score, end_step, trials = ended.stdout.split()
    assert float(score) > 0.8
    assert int(end_step) in (100, 200)
    assert int(trials) >= 12
