"""Train a population of small networks on handwritten digits, which come with scikit-learn."""

import os

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import phyletic as ph


def build(trial):  # makes a new member; phyletic has seeded all random states from the trial
    width = trial["width"]
    model = torch.nn.Sequential(torch.nn.Linear(64, width), torch.nn.ReLU(), torch.nn.Linear(width, 10))
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters())}


def train(trials):
    torch.set_num_threads(1)  # so small a network gains nothing from more
    images, labels = load_digits(return_X_y=True)  # once per worker
    images, labels = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    images, validation_images, labels, validation_labels = train_test_split(images, labels, random_state=0)
    for trial in trials.attach(build):  # builds newborns, loads parents, saves what build returned
        model, optimizer = trial.state.model, trial.state.optimizer
        trial.apply(optimizer)  # sets lr and weight_decay after the load, so no checkpoint undoes an exploration
        for _ in trial.range():  # steps are absolute along the lineage; ends early when asked to stop
            batch = torch.randint(len(labels), (32,))
            loss = torch.nn.functional.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            correct = model(validation_images).argmax(dim=1) == validation_labels
        trial.report(accuracy=correct.float().mean())


study = ph.Study(
    "digits",
    space={
        "lr": ph.Float(1e-4, 1e-1, log=True),
        "weight_decay": ph.Float(1e-6, 1e-2, log=True),
        "width": ph.Choice([64, 128], fixed=True),  # drawn at birth, moves with the weights
    },
    metric="accuracy",
    mode="max",
    algorithm=ph.PBT(population=8, interval=100),
    budget=ph.Budget(steps=int(os.environ.get("STEPS", "3000"))),
    storage="sqlite:///digits.db",
    seed=0,
)
study.run(train, workers=int(os.environ.get("WORKERS", "2")))  # WORKERS=0: in this process, under a debugger
