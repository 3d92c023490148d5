"""The digits with PyTorch: a network 64-64-10, for benchmarks and as an example of ``apply`` with an optimizer.

One step is one epoch: one pass over the 1077 training images in batches of 32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phyletic.errors import MissingDependency
from phyletic.problems.digits import Split, load, measure
from phyletic.space import Float

if TYPE_CHECKING:
    from phyletic.study.study import Study
    from phyletic.workers.live_trial import LiveTrial
    from phyletic.workers.loop import Trials

SPACE = {
    "lr": Float(1e-4, 1.0, log=True),
    "momentum": Float(0.1, 0.99),
    "weight_decay": Float(1e-6, 1e-1, log=True),
}
"""Named as ``torch.optim.SGD`` names them."""

_BATCH = 32


def build(trial: LiveTrial) -> dict[str, Any]:
    """Return a member at birth: a network and its optimizer."""
    import torch

    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1)}


def evaluate(model: Any, split: Split) -> tuple[float, float]:
    """Return the accuracy and the cross entropy of a network.

    Args:
        model: A ``torch.nn.Module`` from images to logits.
        split: What to measure on.
    """
    import torch

    model.eval()
    with torch.no_grad():
        logits = model(torch.tensor(split.images, dtype=torch.float32))
    return measure(logits.double().softmax(dim=1).numpy(), split.labels)


def train(trials: Trials | Study) -> None:
    """Train members; reports ``accuracy`` and ``loss`` on the validation images.

    Args:
        trials: The source of trials.

    Raises:
        MissingDependency: torch is not installed.
    """
    try:
        import torch
    except ImportError:
        raise MissingDependency("torch", "torch", "the digits problem with PyTorch") from None

    digits = load()
    images = torch.tensor(digits.train.images, dtype=torch.float32)
    labels = torch.tensor(digits.train.labels)
    for trial in trials.attach(build):
        model, optimizer = trial.state.model, trial.state.optimizer
        trial.apply(optimizer)
        model.train()
        for _ in trial.range():
            for batch in torch.randperm(len(labels)).split(_BATCH):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
                optimizer.step()
        accuracy, loss = evaluate(model, digits.validation)
        trial.report(accuracy=accuracy, loss=loss)
