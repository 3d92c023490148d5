"""Keras optimizers: the learning rate is a variable; a compiled training step takes all else as constants."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

from phyletic.errors import ApplyFailed
from phyletic.records import Value
from phyletic.workers.targets.target import Setting, Target, ancestry, kind_of, plain

_READ_AT_EACH_STEP = ("weight_decay", "momentum", "rho", "beta_1", "beta_2", "epsilon")
_CLIPPING = ("clipnorm", "clipvalue", "global_clipnorm")


def describe(target: Any) -> Target | None:
    """Describe a ``keras.optimizers.Optimizer``; returns None for anything else.

    Raises:
        ApplyFailed: It is a Keras model or layer, whose optimizer is meant.
    """
    kinds = ancestry(target, "keras")
    if kinds & {"Layer", "Model"}:
        raise ApplyFailed(f"{kind_of(target)} is a Keras model or layer: apply to its optimizer, model.optimizer")
    if not kinds & {"Optimizer", "BaseOptimizer"}:
        return None
    settings: dict[str, Setting] = {}
    refused: dict[str, str] = {}
    if hasattr(getattr(target, "_learning_rate", None), "assign"):
        settings["learning_rate"] = Setting(
            lambda: plain(target.learning_rate.numpy()), partial(setattr, target, "learning_rate")
        )
    else:
        refused["learning_rate"] = (
            "it is a schedule or a function, which Keras does not let anyone set. Build the optimizer with a number"
        )
    names = [name for name in _READ_AT_EACH_STEP if hasattr(target, name)]
    # of the three ways of clipping, Keras uses only the one that is set
    names += [name for name in _CLIPPING if getattr(target, name, None) is not None]
    names += ["ema_momentum"] if getattr(target, "use_ema", False) else []
    keras: Any = sys.modules.get("keras")
    eager = hasattr(keras, "config") and keras.config.backend() == "torch"
    for name in names:
        if not eager:
            refused[name] = (
                "this backend of Keras compiles it into the training step as a constant, so that a new value changes "
                'nothing. Use the "torch" backend, or make it fixed in the space and read it in build'
            )
        elif name == "momentum" and target.built and not target.momentum:
            refused[name] = "the optimizer was built with momentum 0, without room for it. Build it with one above 0"
        else:
            settings[name] = Setting(partial(_read, target, name), partial(setattr, target, name))
    return Target(kind_of(target), settings, refused=refused, fresh=_is_fresh(target))


def _is_fresh(optimizer: Any) -> bool:
    """Whether an optimizer has made no step, although its kind keeps something between steps."""
    if optimizer.built and int(optimizer.iterations.numpy()) > 0:
        return False
    return "SGD" not in ancestry(optimizer, "keras") or bool(optimizer.momentum)


def _read(optimizer: Any, name: str) -> Value:
    return plain(getattr(optimizer, name))
