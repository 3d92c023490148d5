"""Trees of plain data and arrays, to a structure for JSON and back.

A node is JSON. Null, true, false, whole numbers below 2**53, finite numbers and texts stand for themselves, and a list
is a list of nodes. Everything else is an object whose first key says what it is: ``{"tuple": [...]}``, ``{"dict":
{...}}``, ``{"tensor": "model/0.weight"}``. No node names code to import or call.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import msgspec
import numpy as np

from phyletic.checkpoints import arrays
from phyletic.checkpoints.packed import Array, Stored
from phyletic.errors import CheckpointError, StateUnsupported

Node: TypeAlias = Any
"""JSON."""

_EXACT = 2**53
_LONG_BYTES = 1024
_HINT = (
    "Give the object state_dict() and load_state_dict(), return it as an entry of its own if it has them, or write "
    "the state to files yourself with save= and load="
)


class Lowering:
    """Lowers trees to nodes, and collects their arrays.

    Attributes:
        arrays: The arrays that the nodes name, in the order of the tree.
    """

    def __init__(self) -> None:
        self.arrays: list[Array] = []
        self._names = {"__metadata__"}

    def lower(self, entry: str, value: object) -> Node:
        """Return the node of one entry of a state.

        Raises:
            StateUnsupported: It contains something that is neither plain data nor an array; names the place and the
                type.
        """
        try:
            return self._lower(value, (entry,))
        except RecursionError:
            raise StateUnsupported(f"state[{entry!r}] contains itself, or is nested too deeply") from None

    def array(self, path: tuple[str, ...], value: np.ndarray[Any, Any]) -> Node:
        """Return the node of a numpy array."""
        return self._add("array", arrays.lower_numpy, value, path)

    def _add(self, kind: str, lower: Callable[[Any, str], tuple[Array, Node]], value: object, path: Any) -> Node:
        """Collect an array under a name of its own, and return its node.

        Args:
            kind: The kind of the node.
            lower: From (value, name) to the array and the rest of its node.
            value: The array or tensor.
            path: The entry's name, then the keys that lead to the value.
        """
        name = stem = "/".join(path).encode("utf-8", "replace").decode()
        count = 1
        while name in self._names:
            count += 1
            name = f"{stem}#{count}"
        try:
            array, node = lower(value, name)
        except arrays.Unsupported as error:
            raise _unsupported(path, str(error)) from None
        self._names.add(name)
        self.arrays.append(array)
        return {kind: name, **node}

    def _lower(self, value: Any, path: tuple[str, ...]) -> Node:
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is int:
            return value if -_EXACT < value < _EXACT else {"int": hex(value)}
        if kind is float:
            return value if math.isfinite(value) else {"float": struct.pack(">d", value).hex()}
        if kind is str:
            return value if is_unicode(value) else {"text": value.encode("utf-8", "surrogatepass").hex()}
        if arrays.is_tensor(value):
            return self._add("tensor", arrays.lower_tensor, value, path)
        if isinstance(value, np.ndarray):
            return self.array(path, value)
        if isinstance(value, np.generic):
            return self._scalar(value, path)
        if kind is list:
            return self._items(value, path)
        if isinstance(value, tuple):
            return self._tuple(value, path)
        if isinstance(value, Mapping):
            return self._mapping(value, path)
        if kind is bytes:
            return self._bytes(value, path)
        if kind is complex:
            return {"complex": [self._lower(value.real, path), self._lower(value.imag, path)]}
        if kind in (set, frozenset):
            # in the order of their JSON, so that equal sets give equal bytes
            return {kind.__name__: sorted(self._items(value, path), key=msgspec.json.encode)}
        if arrays.is_jax_array(value):
            return self._add("jax", arrays.lower_jax, value, path)
        raise _unsupported(path, f"a {kind.__module__}.{kind.__qualname__}")

    def _items(self, values: Iterable[object], path: tuple[str, ...]) -> list[Node]:
        return [self._lower(value, (*path, str(index))) for index, value in enumerate(values)]

    def _tuple(self, value: tuple[Any, ...], path: tuple[str, ...]) -> Node:
        fields = getattr(value, "_fields", None)
        if fields is None:
            return {"tuple": self._items(value, path)}
        items = [self._lower(item, (*path, field)) for field, item in zip(fields, value, strict=True)]
        return {"namedtuple": items, "type": type(value).__qualname__}

    def _mapping(self, value: Mapping[Any, Any], path: tuple[str, ...]) -> Node:
        if all(type(key) is str and is_unicode(key) for key in value):
            return {"dict": {key: self._lower(item, (*path, key)) for key, item in value.items()}}
        # an array cannot be a key, so the keys' path names none
        return {
            "pairs": [[self._lower(key, path), self._lower(item, (*path, str(key)))] for key, item in value.items()]
        }

    def _scalar(self, value: np.generic, path: tuple[str, ...]) -> Node:
        if isinstance(value, (np.str_, np.bytes_)):  # as an array they would lose their last NULs
            plain: str | bytes = str.__str__(value) if isinstance(value, np.str_) else bytes(value)
            return {f"numpy {type(plain).__name__}": self._lower(plain, path)}
        dtype = value.dtype
        if dtype.kind in "OV":
            raise _unsupported(path, f"a numpy scalar of dtype {dtype}")
        little = dtype.newbyteorder("<")
        return {"scalar": np.asarray(value).astype(little).tobytes().hex(), "dtype": little.str}

    def _bytes(self, value: bytes, path: tuple[str, ...]) -> Node:
        if len(value) < _LONG_BYTES:
            return {"bytes": base64.b64encode(value).decode()}
        node = self.array(path, np.frombuffer(value, np.uint8))
        return {"long bytes": node["array"]}


class Lifting:
    """Lifts nodes to the trees that they were lowered from.

    Args:
        file: The mapped file, a writable buffer; tensors may be views of it.
        stored: Where each array lies in it.

    Attributes:
        stored: Where each array lies in it.
    """

    def __init__(self, file: Any, stored: Mapping[str, Stored]) -> None:
        self._file = file
        self._bytes = memoryview(file)
        self.stored = stored

    def lift(self, node: Node, live: object = None, *, in_place: bool = False, views: bool = False) -> Any:
        """Return the tree of a node.

        Args:
            node: As :class:`Lowering` gave it.
            live: What the state holds in its place now: named tuples take their class from it, JAX arrays their
                devices.
            in_place: Whether to copy tensors into live ones of the same place, shape and type, so that other
                references to those (an optimizer's) stay valid.
            views: Whether tensors may be views of the file, because the caller copies them at once.

        Raises:
            CheckpointError: The kind of the node is unknown.
        """
        if isinstance(node, list):
            return self._items(node, live, in_place, views)
        if not isinstance(node, dict):
            return node
        kind = next(iter(node))
        content = node[kind]
        if kind == "tensor":
            return self._tensor(node, live, in_place, views)
        if kind == "array":
            return arrays.numpy_array(*self._located(content), node)
        if kind in ("dict", "pairs"):
            pairs = content.items() if kind == "dict" else ((self.lift(key), value) for key, value in content)
            inner = live if isinstance(live, Mapping) else {}
            return {key: self.lift(value, inner.get(key), in_place=in_place, views=views) for key, value in pairs}
        if kind in ("tuple", "set", "frozenset"):
            items = self._items(content, live, in_place, views)
            return {"tuple": tuple, "set": set, "frozenset": frozenset}[kind](items)
        if kind == "namedtuple":
            return self._named(node, live, in_place, views)
        if kind == "jax":
            return arrays.jax_array(*self._located(content), node, live)
        if kind in _PLAIN:
            return _PLAIN[kind](self, content, node)
        raise CheckpointError(
            f"the checkpoint holds a {kind!r}, which this phyletic does not know: install a later one"
        )

    def content(self, name: str) -> memoryview:
        """Return the bytes of an array, as a view of the file."""
        return self._located(name)[1]

    def _located(self, name: str) -> tuple[Stored, memoryview]:
        stored = self.stored[name]
        return stored, self._bytes[stored.start : stored.start + stored.size]

    def _items(self, nodes: list[Node], live: object, in_place: bool, views: bool) -> list[Any]:
        """Return the trees of several nodes.

        Args:
            nodes: The nodes, in order.
            live: The list or tuple that the state holds in their place now; ignored if its length differs.
            in_place: As for :meth:`lift`.
            views: As for :meth:`lift`.
        """
        same = isinstance(live, (list, tuple)) and len(live) == len(nodes)
        inner = live if same and isinstance(live, (list, tuple)) else [None] * len(nodes)
        return [self.lift(node, each, in_place=in_place, views=views) for node, each in zip(nodes, inner, strict=True)]

    def _named(self, node: Node, live: Any, in_place: bool, views: bool) -> Any:
        """Return a tuple of the live named tuple's class, or a plain tuple if it does not match.

        Args:
            node: The node of the named tuple.
            live: What the state holds in its place now.
            in_place: As for :meth:`lift`.
            views: As for :meth:`lift`.
        """
        items = self._items(node["namedtuple"], live, in_place, views)
        same = isinstance(live, tuple) and hasattr(live, "_fields") and type(live).__qualname__ == node["type"]
        return type(live)(*items) if same and len(live) == len(items) else tuple(items)

    def _tensor(self, node: Node, live: Any, in_place: bool, views: bool) -> Any:
        """Return the tensor of a node.

        Args:
            node: The node of the tensor.
            live: What the state holds in its place now.
            in_place: As for :meth:`lift`.
            views: As for :meth:`lift`.
        """
        stored = self.stored[node["tensor"]]
        if not (in_place and arrays.is_tensor(live)):
            return arrays.tensor(stored, self._file, node, views)
        import torch

        loaded = arrays.tensor(stored, self._file, {**node, "grad": False}, True)
        if loaded.shape != live.shape or loaded.dtype != live.dtype or live.layout is not torch.strided:
            made = arrays.tensor(stored, self._file, node, False)
            return made.detach().to(live.device).requires_grad_(bool(node.get("grad")))
        with torch.no_grad():
            return live.copy_(loaded)


_PLAIN: dict[str, Callable[[Lifting, Any, Node], Any]] = {
    "int": lambda lifting, content, node: int(content, 16),
    "float": lambda lifting, content, node: struct.unpack(">d", bytes.fromhex(content))[0],
    "text": lambda lifting, content, node: bytes.fromhex(content).decode("utf-8", "surrogatepass"),
    "complex": lambda lifting, content, node: complex(lifting.lift(content[0]), lifting.lift(content[1])),
    "bytes": lambda lifting, content, node: base64.b64decode(content, validate=True),
    "long bytes": lambda lifting, content, node: bytes(lifting.content(content)),
    "scalar": lambda lifting, content, node: np.frombuffer(bytes.fromhex(content), np.dtype(node["dtype"]))[0],
    "numpy str": lambda lifting, content, node: np.str_(lifting.lift(content)),
    "numpy bytes": lambda lifting, content, node: np.bytes_(lifting.lift(content)),
}
"""How to lift a node without structure, by its kind."""


def is_unicode(text: str) -> bool:
    """Whether a text can be encoded as UTF-8; lone surrogates cannot."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unsupported(path: Iterable[str], what: str) -> StateUnsupported:
    entry, *inner = path
    place = f"state[{entry!r}]" + (f" at {'/'.join(inner)!r}" if inner else "")
    return StateUnsupported(f"{place} is {what}, which cannot be saved. {_HINT}")
