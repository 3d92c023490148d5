"""Train only the last layer of a network: the frozen layers below it are in no checkpoint."""

import os

import torch
from sklearn.datasets import load_digits

import phyletic as ph


def backbone():  # in your code: a pretrained model, loaded from a file
    layers = torch.nn.Sequential(torch.nn.Linear(64, 512), torch.nn.ReLU(), torch.nn.Linear(512, 256))
    weights = torch.Generator().manual_seed(0)  # the same for every member and every worker
    for parameter in layers.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=weights)
    return layers.requires_grad_(False)


def train(trials):
    images, labels = (torch.tensor(each) for each in load_digits(return_X_y=True))
    images = images.float() / 16
    model = None

    def build(trial):
        nonlocal model
        head = torch.nn.Linear(256, 10)
        model = torch.nn.Sequential(backbone(), head)  # made here ...
        return {"head": head, "optimizer": torch.optim.SGD(head.parameters(), momentum=0.9)}  # ... and left out here

    for trial in trials.attach(build):  # loads a parent's head into the model that build made
        trial.apply(trial.state.optimizer)
        for _ in trial.range():
            batch = torch.randint(len(labels), (64,))
            loss = torch.nn.functional.cross_entropy(model(images[batch]), labels[batch])
            trial.state.optimizer.zero_grad()
            loss.backward()
            trial.state.optimizer.step()
        with torch.no_grad():
            trial.report(accuracy=(model(images).argmax(dim=1) == labels).float().mean())


study = ph.Study(
    "frozen",
    space={"lr": ph.Float(1e-3, 1.0, log=True)},
    metric="accuracy",
    mode="max",
    algorithm=ph.PBT(population=4, interval=20),
    budget=ph.Budget(steps=int(os.environ.get("STEPS", "200"))),
    storage="frozen.db",
    checkpoints=os.environ.get("CHECKPOINTS"),  # such as s3://bucket/frozen
    seed=0,
)
study.run(train, workers=int(os.environ.get("WORKERS", "2")))
