"""Handwritten digits: the 1797 images of 8 by 8 pixels that come with scikit-learn, and a small network for them.

The training code is what a user would write: scikit-learn's ``MLPClassifier``, trained by ``partial_fit``. One step is
one epoch: one pass over the 1077 training images in batches of 32.

Rank members by ``loss``: with 360 images, ``accuracy`` moves in steps of 0.003, and good members tie. A population of
8 reaches a held-out accuracy of 0.97 in 12 trials of 3 epochs each.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from phyletic.errors import MissingDependency
from phyletic.space import Float

if TYPE_CHECKING:
    from phyletic.study.study import Study
    from phyletic.workers.live_trial import LiveTrial
    from phyletic.workers.loop import Trials

SPACE = {
    "learning_rate_init": Float(1e-4, 1.0, log=True),
    "alpha": Float(1e-6, 1e-1, log=True),
    "momentum": Float(0.1, 0.99),
}
"""Named as ``MLPClassifier`` names them."""


@dataclass(frozen=True, slots=True)
class Split:
    """Images with their labels; read-only.

    Attributes:
        images: Shape (count, 64), brightness from 0 to 1.
        labels: Shape (count,), the digits from 0 to 9.
    """

    images: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Digits:
    """The data in three parts; every digit has the same share of each.

    Attributes:
        train: 1077 images to train with.
        validation: 360 images that choose members.
        held_out: 360 images for the final number alone; nothing else uses them.
    """

    train: Split
    validation: Split
    held_out: Split


@functools.cache
def load(seed: int = 0) -> Digits:
    """Load the data; nothing is downloaded.

    Args:
        seed: The seed of the split.

    Raises:
        MissingDependency: scikit-learn is not installed.

    Example:
        >>> digits = load()
        >>> digits.train.images.shape, digits.validation.images.shape, digits.held_out.images.shape
        ((1077, 64), (360, 64), (360, 64))
    """
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError:
        raise MissingDependency("scikit-learn", "sklearn", "the digits problem") from None
    images, labels = load_digits(return_X_y=True)
    images = images / 16.0
    cut = functools.partial(train_test_split, random_state=seed)
    images, kept_images, labels, kept_labels = cut(images, labels, test_size=720, stratify=labels)
    validation_images, held_out_images, validation_labels, held_out_labels = cut(
        kept_images, kept_labels, test_size=360, stratify=kept_labels
    )
    return Digits(
        _split(images, labels), _split(validation_images, validation_labels), _split(held_out_images, held_out_labels)
    )


def _split(images: Any, labels: Any) -> Split:
    images, labels = np.ascontiguousarray(images, dtype=np.float64), np.ascontiguousarray(labels, dtype=np.int64)
    images.setflags(write=False)
    labels.setflags(write=False)
    return Split(images, labels)


def measure(probabilities: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Return accuracy, from 0 to 1, and cross entropy, in nats.

    Args:
        probabilities: Of each digit for each image, shape (count, 10).
        labels: Shape (count,).

    Example:
        >>> accuracy, loss = measure(np.array([[0.5, 0.5], [0.25, 0.75]]), np.array([0, 1]))
        >>> accuracy, round(loss, 4)
        (1.0, 0.4904)
    """
    accuracy = float(np.mean(probabilities.argmax(axis=1) == labels))
    of_label = probabilities[np.arange(len(labels)), labels]
    return accuracy, float(-np.log(np.maximum(of_label, 1e-12)).mean())


def evaluate(model: Any, split: Split) -> tuple[float, float]:
    """Return the accuracy and the cross entropy of a scikit-learn classifier.

    Args:
        model: Anything with ``predict_proba``.
        split: What to measure on.
    """
    return measure(model.predict_proba(split.images), split.labels)


def build(trial: LiveTrial) -> dict[str, Any]:
    """Return a member at birth: a network 64-32-10, trained by gradient descent with momentum.

    It draws from numpy's global random state, which every trial seeds.
    """
    from sklearn.neural_network import MLPClassifier

    return {"model": MLPClassifier(hidden_layer_sizes=(32,), solver="sgd", batch_size=32)}


def train(trials: Trials | Study) -> None:
    """Train members; reports ``accuracy`` and ``loss`` on the validation images.

    Args:
        trials: The source of trials.
    """
    digits = load()
    for trial in trials.attach(build):
        model = trial.state.model
        trial.apply(model)
        for _ in trial.range():
            model.partial_fit(digits.train.images, digits.train.labels, classes=range(10))
        accuracy, loss = evaluate(model, digits.validation)
        trial.report(accuracy=accuracy, loss=loss)
