"""Find where two checkpoints differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from phyletic.checkpoints import arrays
from phyletic.checkpoints.archives import differing_members
from phyletic.checkpoints.checkpoints import Checkpoints
from phyletic.checkpoints.folder import read_manifest
from phyletic.checkpoints.open_checkpoint import OpenCheckpoint
from phyletic.records import CheckpointReference


def difference(
    checkpoints: Checkpoints, reference_a: CheckpointReference, reference_b: CheckpointReference
) -> list[str]:
    """Return the names of the parts that differ between two checkpoints, in the order of the first.

    Numbers are compared by their bits (so NaN equals itself, and 0.0 differs from -0.0), objects by their contents, and
    files that are zip archives by their members' contents, whatever times they note.
    This unpickles scikit-learn estimators, so call it only where training code may run.

    Args:
        checkpoints: The store of both.
        reference_a: The first.
        reference_b: The second.

    Returns:
        Paths such as ``"model/0.weight"`` or ``"optimizer/state/0/exp_avg"``, or paths of files and of members of
        archives; empty if the two hold the same.

    Raises:
        CheckpointDamaged: One is missing or damaged.

    Example:
        >>> from phyletic.checkpoints import Checkpoints, MemoryBlobs
        >>> checkpoints = Checkpoints(MemoryBlobs())
        >>> a = checkpoints.publish("a" * 32, {"weights": [0.25, 0.5], "step": 1})
        >>> b = checkpoints.publish("b" * 32, {"weights": [0.25, 0.75], "step": 1})
        >>> difference(checkpoints, a, b)
        ['weights/1']
    """
    with checkpoints.open(reference_a) as a, checkpoints.open(reference_b) as b:
        a.verify()
        b.verify()
        if not (a.packed and b.packed):
            return _differing_files(a, b)
        found: list[str] = []
        for name in {**a.entries, **b.entries}:
            if a.entries.get(name) != b.entries.get(name):
                found.append(name)
            else:
                found.extend(_differing(a.value(name), b.value(name), name, {}))
        return found


def _differing_files(a: OpenCheckpoint, b: OpenCheckpoint) -> list[str]:
    """Return the paths of files that differ; in zip archives, of the members that do.

    Args:
        a: The first checkpoint.
        b: The second; one of both holds a user's own files.
    """
    contents_a, contents_b = _contents(a), _contents(b)
    found: list[str] = []
    for name in sorted({**contents_a, **contents_b}):
        if contents_a.get(name) != contents_b.get(name):
            both = not (a.packed or b.packed) and name in contents_a and name in contents_b
            members = differing_members(a.path / name, b.path / name) if both else None
            found += [name] if members is None else [f"{name}/{member}" for member in members]
    return found


def _contents(checkpoint: OpenCheckpoint) -> Mapping[str, object]:
    """Return the adapters of a state by entry, or a user's own files by path."""
    if checkpoint.packed:
        return checkpoint.entries
    return read_manifest(checkpoint.path.parent, checkpoint.reference.digest).files


def _differing(a: Any, b: Any, path: str, met: dict[tuple[int, int], object]) -> Iterator[str]:
    """Yield the paths at which two values differ.

    Args:
        a: The first value.
        b: The second.
        path: Where they are.
        met: The pairs that were entered already, since values may contain themselves; it keeps the values alive,
            because the id of a freed object may be used again.
    """
    if type(a) is not type(b):
        yield path
        return
    leaf = _leaf(a)
    if leaf is not None:
        if leaf != _leaf(b):
            yield path
    elif (id(a), id(b)) not in met:
        met[id(a), id(b)] = (a, b)
        ours, theirs = _parts(a), _parts(b)
        if ours is None or theirs is None:
            if any(True for _ in _differing(a.__reduce_ex__(4)[1:3], b.__reduce_ex__(4)[1:3], path, met)):
                yield path
            return
        for key in {**ours, **theirs}:
            if key in ours and key in theirs:
                yield from _differing(ours[key], theirs[key], f"{path}/{key}", met)
            else:
                yield f"{path}/{key}"


def _leaf(value: Any) -> tuple[object, ...] | None:
    """Return what tells a value without parts from others, numbers by their bits; None for a value with parts."""
    if isinstance(value, (float, complex, np.generic)):
        return (np.asarray(value).tobytes(),)
    if value is None or isinstance(value, (int, str, bytes, set, frozenset)):
        return (value,)
    if isinstance(value, np.ndarray):
        return (value.dtype, value.shape, value.tobytes()) if value.dtype.kind != "O" else None
    if arrays.is_tensor(value) or arrays.is_jax_array(value):
        return arrays.bits(value)
    if isinstance(value, (Mapping, list, tuple)):
        return None
    if callable(value):
        return (value,)
    is_torch_generator = hasattr(value, "get_state") and type(value).__module__.startswith("torch")
    return arrays.bits(value.get_state()) if is_torch_generator else None


def _parts(value: Any) -> Mapping[Any, Any] | None:
    """Return the parts of a container or an object by key; None if only pickling shows them."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, np.ndarray):
        return {"shape": value.shape, **dict(enumerate(value.ravel().tolist()))}
    return dict(enumerate(value)) if isinstance(value, (list, tuple)) else getattr(value, "__dict__", None)
