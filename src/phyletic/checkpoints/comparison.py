"""Where two checkpoints differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from phyletic.checkpoints import arrays
from phyletic.checkpoints.checkpoints import Checkpoints
from phyletic.checkpoints.folder import read_manifest
from phyletic.checkpoints.open_checkpoint import OpenCheckpoint
from phyletic.records import CheckpointReference

__all__ = ["difference"]


def difference(
    checkpoints: Checkpoints, reference_a: CheckpointReference, reference_b: CheckpointReference
) -> list[str]:
    """Return the names of what differs between two checkpoints, in the order of the first.

    Numbers are compared by their bits (so NaN equals itself, and 0.0 differs from -0.0), objects by what they hold.
    This unpickles scikit-learn estimators, so call it only where training code may run.

    Args:
        checkpoints: The store of both.
        reference_a: The first.
        reference_b: The second.

    Returns:
        Paths such as ``"model/0.weight"`` or ``"optimizer/state/0/exp_avg"``, or paths of files; empty if the two hold
        the same.

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
        if not (a.packed or b.packed):
            return _differing_files(a, b)
        if not (a.packed and b.packed):
            return sorted([*(a if a.packed else b).entries, *_files(b if a.packed else a)])
        names = [*a.entries, *(name for name in b.entries if name not in a.entries)]
        found: list[str] = []
        for name in names:
            if a.entries.get(name) != b.entries.get(name):
                found.append(name)
            else:
                found.extend(_Comparison().differing(a.value(name), b.value(name), name))
        return found


def _differing_files(a: OpenCheckpoint, b: OpenCheckpoint) -> list[str]:
    files_a, files_b = _files(a), _files(b)
    return sorted(name for name in files_a.keys() | files_b.keys() if files_a.get(name) != files_b.get(name))


def _files(checkpoint: OpenCheckpoint) -> Mapping[str, object]:
    return read_manifest(checkpoint.path.parent, checkpoint.reference.digest).files


class _Comparison:
    """Walks two values side by side, entering each pair once, so that values may contain themselves."""

    def __init__(self) -> None:
        # keeps the values: a freed object's id may be used again
        self._met: dict[tuple[int, int], tuple[object, object]] = {}

    def differing(self, a: Any, b: Any, path: str) -> Iterator[str]:
        """Yield the paths at which two values differ."""
        if type(a) is not type(b):
            yield path
        elif _is_scalar(a):
            if _bits(a) != _bits(b):
                yield path
        elif isinstance(a, np.ndarray):
            yield from self._arrays(a, b, path)
        elif arrays.is_tensor(a) or arrays.is_jax_array(a):
            if arrays.bits(a) != arrays.bits(b):
                yield path
        elif (id(a), id(b)) not in self._met:
            self._met[id(a), id(b)] = (a, b)
            yield from self._objects(a, b, path)

    def _objects(self, a: Any, b: Any, path: str) -> Iterator[str]:
        if isinstance(a, Mapping):
            yield from self._mappings(a, b, path)
        elif isinstance(a, (list, tuple)):
            yield from self._mappings(dict(enumerate(a)), dict(enumerate(b)), path)
        elif isinstance(a, (set, frozenset)) or callable(a):
            if a != b:
                yield path
        elif hasattr(a, "get_state") and type(a).__module__.startswith("torch"):
            yield from self.differing(a.get_state(), b.get_state(), path)
        elif hasattr(a, "__dict__"):
            yield from self._mappings(vars(a), vars(b), path)
        elif any(True for _ in self.differing(a.__reduce_ex__(4)[1:3], b.__reduce_ex__(4)[1:3], path)):
            yield path

    def _mappings(self, a: Mapping[Any, Any], b: Mapping[Any, Any], path: str) -> Iterator[str]:
        for key in [*a, *(key for key in b if key not in a)]:
            if key in a and key in b:
                yield from self.differing(a[key], b[key], f"{path}/{key}")
            else:
                yield f"{path}/{key}"

    def _arrays(self, a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], path: str) -> Iterator[str]:
        if a.dtype != b.dtype or a.shape != b.shape:
            yield path
        elif a.dtype.kind == "O":
            yield from self.differing(a.tolist(), b.tolist(), path)
        elif a.tobytes() != b.tobytes():
            yield path


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, (bool, int, float, complex, str, bytes, np.generic))


def _bits(value: Any) -> object:
    return np.asarray(value).tobytes() if isinstance(value, (float, complex, np.generic)) else value
