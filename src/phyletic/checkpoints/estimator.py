"""scikit-learn estimators, which only pickle can save.

An estimator's parts refer to each other (the optimizer of an ``MLPClassifier`` holds the very arrays that are its
weights), and only pickle keeps that. The bytes are an array like any other; they are unpickled only where training
code runs, which the user trusts anyway, and only after their digest was checked.
"""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np

from phyletic.checkpoints.tree import Lifting, Lowering, Node
from phyletic.errors import CheckpointError, StateUnsupported

__all__ = ["is_estimator", "lower", "restore"]


def is_estimator(value: object) -> bool:
    """Whether an object is a scikit-learn estimator, found out without importing scikit-learn."""
    if isinstance(value, type):
        return False
    return any(kind.__name__ == "BaseEstimator" and kind.__module__ == "sklearn.base" for kind in type(value).__mro__)


def lower(lowering: Lowering, entry: str, value: Any) -> Node:
    """Return the node of an estimator.

    Raises:
        StateUnsupported: It cannot be pickled.
    """
    try:
        pickled = pickle.dumps(value, protocol=5)
    except Exception as error:
        raise StateUnsupported(
            f"state[{entry!r}] is a {type(value).__qualname__}, which cannot be pickled: {error}. Functions that it "
            f"holds have to be defined at the top of a module"
        ) from error
    return lowering.array((entry,), np.frombuffer(pickled, np.uint8))["array"]


def restore(lifting: Lifting, node: Node, live: Any) -> Any:
    """Return the estimator; one of the same class that is live becomes it, so that references to it stay good.

    Raises:
        CheckpointError: It cannot be unpickled here.
    """
    try:
        loaded = pickle.loads(lifting.content(node))
    except Exception as error:
        raise CheckpointError(f"the estimator cannot be unpickled here: {error!r}") from error
    if type(live) is not type(loaded):
        return loaded
    vars(live).clear()
    vars(live).update(vars(loaded))
    return live
