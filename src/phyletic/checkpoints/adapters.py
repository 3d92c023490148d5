"""State adapters: how an object that training changes becomes data, and takes it back.

An adapter is chosen by the object's type when it is saved; the checkpoint records its name, and that decides how it is
restored. The first that accepts an object is taken.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from phyletic.checkpoints import estimator
from phyletic.checkpoints.tree import Lifting, Lowering, Node
from phyletic.errors import CheckpointError, StateUnsupported

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


def _is_torch_generator(value: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Generator)


def _lower_torch_generator(lowering: Lowering, entry: str, value: Any) -> Node:
    return lowering.lower(entry, value.get_state())


def _restore_torch_generator(lifting: Lifting, node: Node, live: Any) -> Any:
    import torch

    generator = live if isinstance(live, torch.Generator) else torch.Generator()
    generator.set_state(lifting.lift(node))
    return generator


_BIT_GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")


def _is_random_state(value: object) -> bool:
    return isinstance(value, (np.random.Generator, np.random.RandomState, np.random.BitGenerator, random.Random))


def _lower_random_state(lowering: Lowering, entry: str, value: Any) -> Node:
    state: Any
    if isinstance(value, random.Random):
        if isinstance(value, random.SystemRandom):
            raise StateUnsupported(f"state[{entry!r}] is a SystemRandom, which has no state: leave it out of the state")
        kind, state = "random.Random", value.getstate()
    elif isinstance(value, np.random.RandomState):
        kind, state = "numpy.random.RandomState", value.get_state(legacy=False)
    elif isinstance(value, np.random.Generator):
        kind, state = "numpy.random.Generator", value.bit_generator.state
    else:
        kind, state = "numpy.random.BitGenerator", value.state
    return lowering.lower(entry, {"kind": kind, "state": state})


def _restore_random_state(lifting: Lifting, node: Node, live: Any) -> Any:
    content = lifting.lift(node)
    kind, state = content["kind"], content["state"]
    if kind == "random.Random":
        made = live if isinstance(live, random.Random) else random.Random()
        made.setstate(state)
        return made
    if kind == "numpy.random.RandomState":
        legacy = live if isinstance(live, np.random.RandomState) else np.random.RandomState()
        legacy.set_state(state)
        return legacy
    bits = live.bit_generator if isinstance(live, np.random.Generator) else live
    name = state["bit_generator"]
    if type(bits).__name__ != name:
        if name not in _BIT_GENERATORS:
            raise CheckpointError(f"it is the state of a bit generator {name!r}, which numpy does not have")
        live, bits = None, getattr(np.random, name)()
    bits.state = state
    if live is not None:
        return live
    return np.random.Generator(bits) if kind == "numpy.random.Generator" else bits


ADAPTERS: tuple[Adapter, ...] = (
    Adapter(
        name="state_dict",
        accepts=_has_state_dict,
        lower=_lower_state_dict,
        value=lambda lifting, node: lifting.lift(node),
        restore=_restore_state_dict,
    ),
    Adapter(
        name="torch generator",
        accepts=_is_torch_generator,
        lower=_lower_torch_generator,
        value=lambda lifting, node: _restore_torch_generator(lifting, node, None),
        restore=_restore_torch_generator,
    ),
    Adapter(
        name="random state",
        accepts=_is_random_state,
        lower=_lower_random_state,
        value=lambda lifting, node: _restore_random_state(lifting, node, None),
        restore=_restore_random_state,
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
