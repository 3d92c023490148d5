"""Keras models, layers and optimizers, as the arrays of their variables.

Variables are matched by their order, because Keras numbers the names anew for each model that a process builds
(``dense``, ``dense_1``). A compiled model includes its optimizer's variables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from phyletic.checkpoints.tree import Lifting, Lowering, Node
from phyletic.errors import CheckpointError


def is_keras(value: object) -> bool:
    """Whether an object is a Keras layer, model or optimizer; does not import Keras."""
    return not isinstance(value, type) and bool(_ancestry(value) & {"Layer", "Optimizer", "BaseOptimizer"})


def lower(lowering: Lowering, entry: str, value: Any) -> Node:
    """Return the node of an optimizer, or of a layer with the random states of its dropout.

    Args:
        lowering: Collects the checkpoint's arrays.
        entry: The entry's name in the state.
        value: The layer or optimizer to save.
    """
    state: dict[str, Any] = {"variables": _arrays(value.variables)}
    optimizer = _optimizer(value)
    if optimizer is not None:
        _build(optimizer, value)
        state["optimizer"] = _arrays(optimizer.variables)
    return lowering.lower(entry, state)


def restore(lifting: Lifting, node: Node, live: Any) -> Any:
    """Assign the variables of the live layer or optimizer, and return it.

    Args:
        lifting: Reads the checkpoint's arrays.
        node: The entry's node.
        live: What the state holds in its place now; None if nothing.

    Raises:
        CheckpointError: The live object is not from Keras, or has other variables.
    """
    if not is_keras(live):
        held = "nothing" if live is None else f"a {type(live).__qualname__}"
        raise CheckpointError(
            f"it was saved from Keras, but the state holds {held} in its place: build has to return a Keras object "
            "under the same name"
        )
    state = lifting.lift(node)
    optimizer = _optimizer(live)
    if "optimizer" in state and optimizer is None:
        raise CheckpointError("it was saved with its optimizer: compile the model in build")
    what = "the model in build: model.build(shape), or begin it with keras.Input"
    if "Layer" not in _ancestry(live):
        what = "the optimizer in build: optimizer.build(model.trainable_variables)"
    _assign(live.variables, state["variables"], what)
    if "optimizer" in state:
        _build(optimizer, live)
        _assign(optimizer.variables, state["optimizer"], "the model with the same optimizer")
    return live


def _ancestry(value: object) -> set[str]:
    return {kind.__name__ for kind in type(value).__mro__ if kind.__module__.partition(".")[0] == "keras"}


def _optimizer(value: Any) -> Any:
    optimizer = getattr(value, "optimizer", None)
    return optimizer if _ancestry(optimizer) & {"Optimizer", "BaseOptimizer"} else None


def _build(optimizer: Any, model: Any) -> None:
    """Make the optimizer's variables, which Keras would make only in the first training step."""
    if not optimizer.built and model.built:
        optimizer.build(model.trainable_variables)


def _arrays(variables: Sequence[Any]) -> list[Any]:
    return [variable.numpy() for variable in variables]


def _assign(variables: Sequence[Any], saved: Sequence[Any], what: str) -> None:
    """Assign saved arrays to variables, or raise CheckpointError if they do not match.

    Args:
        variables: The live object's variables, in the order of Keras.
        saved: An array for each variable, of the same shape.
        what: What the error tells the user to build.
    """
    shapes = [tuple(variable.shape) for variable in variables]
    if shapes != [array.shape for array in saved]:
        place = next((i for i, (a, b) in enumerate(zip(shapes, saved, strict=False)) if a != b.shape), None)
        differ = (
            f"has {len(saved)} variables, and the live object {len(shapes)}"
            if place is None
            else f"has shape {saved[place].shape} at variable {place}, and the live object {shapes[place]}"
        )
        raise CheckpointError(f"the checkpoint {differ}. Build {what}")
    for variable, array in zip(variables, saved, strict=True):
        variable.assign(array)
