"""Random states of Python, numpy and torch, as plain data."""

from __future__ import annotations

import contextlib
import random
import sys
from typing import Any

import numpy as np

from phyletic.checkpoints.tree import Lifting, Lowering, Node
from phyletic.errors import CheckpointError, StateUnsupported

_BIT_GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")
_SEED = ("entropy", "spawn_key", "pool_size", "n_children_spawned")


def is_random_state(value: object) -> bool:
    """Whether an object is a random generator of Python or numpy."""
    return isinstance(value, (np.random.Generator, np.random.RandomState, np.random.BitGenerator, random.Random))


def lower(lowering: Lowering, entry: str, value: Any) -> Node:
    """Return the node of a random generator of Python or numpy.

    Args:
        lowering: Collects the checkpoint's arrays.
        entry: The entry's name in the state.
        value: The generator to save.

    Raises:
        StateUnsupported: It is the system's, which has no state.
    """
    content: dict[str, Any]
    if isinstance(value, random.Random):
        if isinstance(value, random.SystemRandom):
            raise StateUnsupported(f"state[{entry!r}] is a SystemRandom, which has no state: leave it out of the state")
        content = {"kind": "random.Random", "state": value.getstate()}
    elif isinstance(value, np.random.RandomState):
        content = {"kind": "numpy.random.RandomState", "state": value.get_state(legacy=False)}
    else:
        generator = isinstance(value, np.random.Generator)
        bits = value.bit_generator if generator else value
        content = {"kind": f"numpy.random.{'Generator' if generator else 'BitGenerator'}", "state": bits.state}
        if type(bits.seed_seq) is np.random.SeedSequence:  # the state of spawn()
            content["seed"] = [getattr(bits.seed_seq, name) for name in _SEED]
    return lowering.lower(entry, content)


def restore(lifting: Lifting, node: Node, live: Any) -> Any:
    """Return the random generator; a live one of the same kind takes the state.

    Args:
        lifting: Reads the checkpoint's arrays.
        node: The entry's node.
        live: What the state holds in its place now; None if nothing.

    Raises:
        CheckpointError: numpy lacks its bit generator.
    """
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
    generator = kind == "numpy.random.Generator"
    bits = live.bit_generator if isinstance(live, np.random.Generator) else live
    name = state["bit_generator"]
    same = type(bits).__name__ == name and isinstance(live, np.random.Generator) == generator
    if not same:
        if name not in _BIT_GENERATORS:
            raise CheckpointError(f"it is the state of a bit generator {name!r}, which numpy does not have")
        bits = getattr(np.random, name)()
    _set_bits(bits, state, content.get("seed"))
    if same:
        return live
    return np.random.Generator(bits) if generator else bits


def _set_bits(bits: Any, state: Any, seed: list[Any] | None) -> None:
    """Set the state of a bit generator, and its seed sequence if numpy allows it.

    Args:
        bits: A bit generator of numpy.
        state: Its state, as numpy gives it.
        seed: The fields of its seed sequence, in the order of ``_SEED``; None leaves the seed sequence.
    """
    bits.state = state
    if seed is not None:
        # only unpickling sets the seed sequence; before numpy 2 it is lost
        with contextlib.suppress(TypeError):
            bits.__setstate__((state, np.random.SeedSequence(**dict(zip(_SEED, seed, strict=True)))))


def is_torch_generator(value: object) -> bool:
    """Whether an object is a torch generator."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Generator)


def lower_torch_generator(lowering: Lowering, entry: str, value: Any) -> Node:
    """Return the node of a torch generator.

    Args:
        lowering: Collects the checkpoint's arrays.
        entry: The entry's name in the state.
        value: The generator to save.
    """
    return lowering.lower(entry, value.get_state())


def restore_torch_generator(lifting: Lifting, node: Node, live: Any) -> Any:
    """Return the torch generator; a live one takes the state.

    Args:
        lifting: Reads the checkpoint's arrays.
        node: The entry's node.
        live: What the state holds in its place now; None if nothing.
    """
    import torch

    generator = live if isinstance(live, torch.Generator) else torch.Generator()
    generator.set_state(lifting.lift(node))
    return generator
