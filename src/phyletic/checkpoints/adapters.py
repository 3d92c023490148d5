"""State adapters: how objects that training changes become data, and how they take it back.

The first adapter that accepts an object saves it. The checkpoint records the adapter's name, which decides how the
object is restored.

Only pickle can save a scikit-learn estimator: its parts refer to each other (the optimizer of an ``MLPClassifier``
holds the very arrays that are its weights), and only pickle keeps that. The pickle is an array like any other. It is
read only where training code runs, which the user trusts anyway, and only after its digest was checked.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from phyletic.checkpoints import keras_state, random_state
from phyletic.checkpoints.packed import Entry, Manifest, Packed, pack
from phyletic.checkpoints.tree import Lifting, Lowering, Node, is_unicode
from phyletic.errors import CheckpointError, StateUnsupported


@dataclass(frozen=True)
class Adapter:
    """One way from objects to data and back.

    Attributes:
        name: The name that checkpoints record.
        accepts: Whether this adapter saves an object.
        lower: From (lowering, entry, object) to the entry's node.
        restore: From (lifting, node, live object or None) to the object that the state holds from now on: the live
            object itself if it can take the data.
        needs_live: Whether ``restore`` fails without a live object; the entry's value is then its tree.
        executes: Whether ``restore`` runs code that the bytes choose; the digest is checked first then.
    """

    name: str
    accepts: Callable[[object], bool]
    lower: Callable[[Lowering, str, Any], Node]
    restore: Callable[[Lifting, Node, Any], Any]
    needs_live: bool = False
    executes: bool = False

    def value(self, lifting: Lifting, node: Node) -> Any:
        """Return an entry as a plain object."""
        return lifting.lift(node) if self.needs_live else self.restore(lifting, node, None)


def adapter_for(value: object) -> Adapter:
    """Return the adapter for an object; the last one, for trees, accepts everything and names what it cannot save."""
    return next(adapter for adapter in ADAPTERS if adapter.accepts(value))


def adapter_named(name: str) -> Adapter:
    """Return the adapter that a checkpoint recorded.

    Raises:
        CheckpointError: This version of phyletic has no adapter of that name.
    """
    for adapter in ADAPTERS:
        if adapter.name == name:
            return adapter
    raise CheckpointError(
        f"the checkpoint was saved by an adapter {name!r}, which this phyletic lacks: install a later one"
    )


def encode_state(state: Mapping[str, object]) -> Packed:
    """Return a state as a packed file.

    Args:
        state: Entries by name; the adapter for its type saves each.

    Raises:
        StateUnsupported: No adapter can save an entry; names the place and the type.
    """
    lowering = Lowering()
    entries = {}
    for name, value in state.items():
        if not (isinstance(name, str) and is_unicode(name)):
            raise StateUnsupported(f"the state has an entry {name!r}, but names of entries are Unicode texts")
        adapter = adapter_for(value)
        entries[name] = Entry(adapter.name, adapter.lower(lowering, name, value))
    return pack(Manifest(entries), lowering.arrays)


def _has_state_dict(value: object) -> bool:
    has = callable(getattr(value, "state_dict", None)) and callable(getattr(value, "load_state_dict", None))
    return has and not isinstance(value, type)


def _lower_state_dict(lowering: Lowering, entry: str, value: Any) -> Node:
    """Return the node of an object's ``state_dict()``.

    Args:
        lowering: Collects the checkpoint's arrays.
        entry: The entry's name in the state.
        value: The object to save.
    """
    return lowering.lower(entry, value.state_dict())


def _restore_state_dict(lifting: Lifting, node: Node, live: Any) -> Any:
    """Load a saved ``state_dict()`` into the live object, and return it.

    Args:
        lifting: Reads the checkpoint's arrays.
        node: The entry's node.
        live: What the state holds in its place now; None if nothing.
    """
    if not _has_state_dict(live):
        held = "nothing" if live is None else f"a {type(live).__qualname__}"
        raise CheckpointError(
            f"it was saved by state_dict, but the state holds {held} in its place: build has to return an object with "
            f"load_state_dict under the same name"
        )
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(live, torch.nn.Module):
        live.load_state_dict(lifting.lift(node, views=True))  # copies each tensor, so views of the file suffice
    else:
        live.load_state_dict(lifting.lift(node, live.state_dict()))
    return live


def _is_estimator(value: object) -> bool:
    if isinstance(value, type):
        return False
    # without importing scikit-learn
    return any(kind.__name__ == "BaseEstimator" and kind.__module__ == "sklearn.base" for kind in type(value).__mro__)


def _lower_estimator(lowering: Lowering, entry: str, value: Any) -> Node:
    """Return the node of a pickled estimator.

    Args:
        lowering: Collects the checkpoint's arrays.
        entry: The entry's name in the state.
        value: The estimator to save.
    """
    try:
        pickled = pickle.dumps(value, protocol=5)
    except Exception as error:
        raise StateUnsupported(
            f"state[{entry!r}] is a {type(value).__qualname__}, which cannot be pickled: {error}. Functions that it "
            f"holds have to be defined at the top of a module"
        ) from error
    return lowering.array((entry,), np.frombuffer(pickled, np.uint8))["array"]


def _restore_estimator(lifting: Lifting, node: Node, live: Any) -> Any:
    """Return the estimator; a live one of the same class becomes it, so that references to it stay valid.

    Args:
        lifting: Reads the checkpoint's arrays.
        node: The entry's node.
        live: What the state holds in its place now; None if nothing.
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


ADAPTERS: tuple[Adapter, ...] = (
    # before state_dict: on torch, a Keras model is a module whose entries have names that change
    Adapter("keras", keras_state.is_keras, keras_state.lower, keras_state.restore, needs_live=True),
    Adapter("state_dict", _has_state_dict, _lower_state_dict, _restore_state_dict, needs_live=True),
    Adapter(
        "torch generator",
        random_state.is_torch_generator,
        random_state.lower_torch_generator,
        random_state.restore_torch_generator,
    ),
    Adapter("random state", random_state.is_random_state, random_state.lower, random_state.restore),
    Adapter("estimator", _is_estimator, _lower_estimator, _restore_estimator, executes=True),
    Adapter("tree", lambda value: True, Lowering.lower, partial(Lifting.lift, in_place=True)),
)
