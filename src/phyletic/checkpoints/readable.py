"""Entries of a checkpoint as files that other libraries read: JSON, ``.npz`` and ``.safetensors``.

The structure of an entry becomes JSON. Null, true, false, numbers, texts, lists and dictionaries with texts as keys
stand for themselves; anything else is an object whose first key begins with ``$`` and says what it is: ``{"$tuple":
[...]}``, ``{"$array": "layer/weight"}``. A key of the user's own that begins with ``$`` gets a second one.
"""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from phyletic import disk
from phyletic.checkpoints.arrays import numpy_array
from phyletic.checkpoints.packed import Array, Manifest, Stored, pack
from phyletic.checkpoints.tree import Node
from phyletic.records.encodings import decode_number, encode_number

MARKS = {
    "$array": "an array, by its name in the file beside",
    "$tuple": "a tuple",
    "$namedtuple": "a named tuple of the class `type`",
    "$set": "a set",
    "$frozenset": "a frozenset",
    "$pairs": "a dictionary whose keys are not all texts, as pairs of a key and a value",
    "$float": 'a float that is not finite: "NaN", "Infinity", "-Infinity", or its bits as hexadecimal digits',
    "$complex": "a complex number: its real and its imaginary part",
    "$scalar": "a numpy scalar of the type `dtype`",
    "$scalar bytes": "a numpy scalar of the type `dtype`: its bytes as hexadecimal digits",
    "$bytes": "bytes, in base64",
    "$long bytes": "bytes, by the name of an array of them in the file beside",
    "$text": "a text that is not Unicode: its bytes in UTF-8 with surrogates, as hexadecimal digits",
    "$numpy str": "a text of numpy's type",
    "$numpy bytes": "bytes of numpy's type",
}
"""The meaning of each mark in the JSON."""

_ARRAYS = ("array", "tensor", "jax")
_RESERVED = ("", "__metadata__")
_LONGEST = 200
_PLAIN_KINDS = "biuf"
_NOT_NUMPY = ("BF16", "F8_E5M2", "F8_E4M3")


@dataclass(frozen=True)
class Readable:
    """An entry as JSON and arrays.

    Attributes:
        structure: JSON, with arrays by name.
        arrays: The nodes of its arrays, by the names in ``structure``.
    """

    structure: Any
    arrays: dict[str, Node]

    @property
    def one_array(self) -> bool:
        """Whether it is a single array, for which the JSON says nothing."""
        return isinstance(self.structure, dict) and list(self.structure) == ["$array"]

    def marks(self) -> list[str]:
        """Return the marks that occur in the structure, in the order of :data:`MARKS`."""
        found = set(_marks(self.structure))
        return [mark for mark in MARKS if mark in found]


def readable(entry: str, node: Node, *, numpy: bool = True) -> Readable:
    """Return an entry as JSON and arrays.

    Args:
        entry: Its name in the state.
        node: Its node, as the checkpoint has it.
        numpy: Whether numpy will hold the arrays. The safetensors format lacks some of its types (complex, text,
            dates): such an array stays raw bytes, and the JSON says its type and shape.

    Example:
        >>> readable("p", {"dict": {"w": {"array": "p/w"}, "steps": 3, "at": {"tuple": [1, 2]}}}).structure
        {'w': {'$array': 'w'}, 'steps': 3, 'at': {'$tuple': [1, 2]}}
    """
    found = list(array_nodes(node))
    stored = [_name_of(each) for each in found]
    short = [name.removeprefix(f"{entry}/") for name in stored]
    if len(set(short)) < len(short) or not all(_is_usable(name) for name in short):
        short = [f"array {place}" for place in range(len(short))]
    names = dict(zip(stored, short, strict=True))
    return Readable(_structure(node, names, numpy), dict(zip(short, found, strict=True)))


def array_nodes(node: Node) -> Iterator[dict[str, Any]]:
    """Yield the nodes of all arrays in a node, in order."""
    if isinstance(node, list):
        for item in node:
            yield from array_nodes(item)
    elif isinstance(node, dict):
        kind = next(iter(node))
        if kind in (*_ARRAYS, "long bytes"):
            yield node
        elif kind == "dict":
            yield from array_nodes(list(node["dict"].values()))
        else:
            yield from array_nodes(node[kind])


def kinds_of(node: Node) -> set[str]:
    """Return the kinds of all nodes in a node that are not plain JSON."""
    if isinstance(node, list):
        return set().union(*map(kinds_of, node))
    if not isinstance(node, dict):
        return set()
    kind = next(iter(node))
    content = list(node["dict"].values()) if kind == "dict" else node[kind]
    return {kind} | kinds_of(content)


def fits_numpy(stored: Stored, node: Node) -> bool:
    """Whether numpy alone has the type of an array."""
    return stored.dtype not in _NOT_NUMPY and node.get("dtype") != "complex32"


def write_npz(path: Path, arrays: Mapping[str, Callable[[], np.ndarray[Any, Any]]]) -> None:
    """Write arrays as ``numpy.savez`` does, one after another; equal arrays give equal bytes.

    Args:
        path: The file, which must not exist.
        arrays: Functions that return them, by name.
    """
    with os.fdopen(disk.create_file(path), "wb") as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            # the time of a ZipInfo is 1980 unless it is said
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array()), allow_pickle=False)


def numpy_of(stored: Stored, content: memoryview, node: Node) -> np.ndarray[Any, Any]:
    """Return an array, whichever library it came from, as numpy's; :func:`fits_numpy` says whether this can be.

    Args:
        stored: Where it lies.
        content: Its bytes.
        node: Its node.
    """
    return numpy_array(stored, content, {} if "long bytes" in node else node)


def write_safetensors(path: Path, arrays: dict[str, tuple[Stored, memoryview]]) -> None:
    """Write arrays in the safetensors format.

    Args:
        path: The file, which must not exist.
        arrays: Where each lies, and its bytes, by name.
    """
    parts = [
        Array(name, stored.dtype, stored.shape, lambda content=content: content)  # type: ignore[misc]
        for name, (stored, content) in arrays.items()
    ]
    disk.write_parts(disk.create_file(path), pack(Manifest({}), parts).parts(), durable=False)


def _name_of(node: dict[str, Any]) -> str:
    name: str = node[next(iter(node))]
    return name


def _is_usable(name: str) -> bool:
    """Whether an array may have this name in a zip archive, under which numpy finds it again."""
    return name not in _RESERVED and "\0" not in name and not name.endswith(".npy") and len(name) <= _LONGEST


def _structure(node: Node, names: dict[str, str], numpy: bool) -> Any:
    """Return a node as readable JSON.

    Args:
        node: The node.
        names: The names of arrays in the file beside, by those in the checkpoint.
        numpy: As for :func:`readable`.
    """
    if isinstance(node, list):
        return [_structure(item, names, numpy) for item in node]
    if not isinstance(node, dict):
        return node
    kind = next(iter(node))
    content = node[kind]
    if kind == "dict":
        return {"$" * key.startswith("$") + key: _structure(value, names, numpy) for key, value in content.items()}
    if kind in _ARRAYS:
        told = ("key",) if numpy else ("key", "dtype", "shape")
        return {"$array": names[content], **{key: node[key] for key in told if key in node}}
    if kind == "long bytes":
        return {"$long bytes": names[content]}
    if kind == "int":
        return int(content, 16)
    if kind == "float":
        return {"$float": _float_text(content)}
    if kind == "scalar":
        return _scalar(node)
    if kind == "namedtuple":
        return {"$namedtuple": _structure(content, names, numpy), "type": node["type"]}
    return {f"${kind}": _structure(content, names, numpy)}


def _float_text(bits: str) -> str:
    text = str(encode_number(struct.unpack(">d", bytes.fromhex(bits))[0]))
    return text if struct.pack(">d", decode_number(text)).hex() == bits else bits


def _scalar(node: Node) -> dict[str, Any]:
    dtype = np.dtype(node["dtype"])
    value = np.frombuffer(bytes.fromhex(node["scalar"]), dtype)[0]
    if dtype.kind in _PLAIN_KINDS and dtype.itemsize <= 8 and np.isfinite(value):
        return {"$scalar": value.item(), "dtype": node["dtype"]}
    return {"$scalar bytes": node["scalar"], "dtype": node["dtype"]}


def _marks(structure: Any) -> Iterator[str]:
    if isinstance(structure, list):
        for item in structure:
            yield from _marks(item)
    elif isinstance(structure, dict):
        for key, value in structure.items():
            if key in MARKS:
                yield key
            yield from _marks(value)
