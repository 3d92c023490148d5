"""State adapters: how an object that training changes becomes data, and takes it back.

An adapter is chosen by the object's type when it is saved; the checkpoint records its name, and that decides how it is
restored. The first that accepts an object is taken.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from phyletic.checkpoints import estimator, keras_state, random_state
from phyletic.checkpoints.tree import Lifting, Lowering, Node
from phyletic.errors import CheckpointError

__all__ = ["ADAPTERS", "Adapter", "adapter_for", "adapter_named"]


@dataclass(frozen=True)
class Adapter:
    """One way from objects to data and back.

    Attributes:
        name: As checkpoints record it.
        accepts: Whether it is for this object.
        lower: From (lowering, entry, object) to the entry's node.
        value: From (lifting, node) to a plain object, without a live one.
        restore: From (lifting, node, live object or None) to the object that the state holds from now on: the live
            one, changed, wherever that is possible.
        executes: Whether ``value`` and ``restore`` run code that the bytes choose, so that the digest is checked
            before.
    """

    name: str
    accepts: Callable[[object], bool]
    lower: Callable[[Lowering, str, Any], Node]
    value: Callable[[Lifting, Node], Any]
    restore: Callable[[Lifting, Node, Any], Any]
    executes: bool = False


def adapter_for(value: object) -> Adapter:
    """Return the adapter for an object; the last, for trees, accepts all and names what it cannot save."""
    return next(adapter for adapter in ADAPTERS if adapter.accepts(value))


def adapter_named(name: str) -> Adapter:
    """Return the adapter that a checkpoint recorded.

    Raises:
        CheckpointError: This version of phyletic has none of that name.
    """
    for adapter in ADAPTERS:
        if adapter.name == name:
            return adapter
    raise CheckpointError(
        f"the checkpoint was saved by an adapter {name!r}, which this phyletic lacks: install a later one"
    )


def _has_state_dict(value: object) -> bool:
    has = callable(getattr(value, "state_dict", None)) and callable(getattr(value, "load_state_dict", None))
    return has and not isinstance(value, type)


def _lower_state_dict(lowering: Lowering, entry: str, value: Any) -> Node:
    return lowering.lower(entry, value.state_dict())


def _restore_state_dict(lifting: Lifting, node: Node, live: Any) -> Any:
    if not _has_state_dict(live):
        held = "nothing" if live is None else f"a {type(live).__qualname__}"
        raise CheckpointError(
            f"it was saved by state_dict, but the state holds {held} in its place: build has to return an object with "
            f"load_state_dict under the same name"
        )
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(live, torch.nn.Module):
        live.load_state_dict(lifting.lift(node, views=True))  # copies each tensor, so views of the file will do
    else:
        live.load_state_dict(lifting.lift(node, live.state_dict()))
    return live


ADAPTERS: tuple[Adapter, ...] = (
    # before state_dict: with torch beneath, a Keras model is a module whose entries have names that change
    Adapter(
        name="keras",
        accepts=keras_state.is_keras,
        lower=keras_state.lower,
        value=lambda lifting, node: lifting.lift(node),
        restore=keras_state.restore,
    ),
    Adapter(
        name="state_dict",
        accepts=_has_state_dict,
        lower=_lower_state_dict,
        value=lambda lifting, node: lifting.lift(node),
        restore=_restore_state_dict,
    ),
    Adapter(
        name="torch generator",
        accepts=random_state.is_torch_generator,
        lower=random_state.lower_torch_generator,
        value=lambda lifting, node: random_state.restore_torch_generator(lifting, node, None),
        restore=random_state.restore_torch_generator,
    ),
    Adapter(
        name="random state",
        accepts=random_state.is_random_state,
        lower=random_state.lower,
        value=lambda lifting, node: random_state.restore(lifting, node, None),
        restore=random_state.restore,
    ),
    Adapter(
        name="estimator",
        accepts=estimator.is_estimator,
        lower=estimator.lower,
        value=lambda lifting, node: estimator.restore(lifting, node, None),
        restore=estimator.restore,
        executes=True,
    ),
    Adapter(
        name="tree",
        accepts=lambda value: True,
        lower=lambda lowering, entry, value: lowering.lower(entry, value),
        value=lambda lifting, node: lifting.lift(node),
        restore=lambda lifting, node, live: lifting.lift(node, live, in_place=True),
    ),
)
