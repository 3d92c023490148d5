"""The packed layout: one file in the safetensors format.

The file is the length of a header (8 bytes, little-endian), the header (JSON: ``{name: {dtype, shape,
data_offsets}}``, with texts under ``"__metadata__"``) and the arrays' bytes without gaps. The types with the
largest elements come first and the header is padded to 8 bytes, so every array lies aligned in a mapped file. The
state's structure is the text ``"phyletic"`` of the metadata. Any library that reads safetensors reads the arrays.

Source: https://github.com/huggingface/safetensors, "Format".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import msgspec

from phyletic.disk import Part
from phyletic.errors import CheckpointDamaged, CheckpointError, StateUnsupported

ITEM_SIZES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64"), 8),
}
"""Bytes of one element, by the format's names of types."""

MAXIMUM_HEADER = 100_000_000
"""Bytes; the safetensors library refuses more."""

_VERSION = 1


class Array(msgspec.Struct, frozen=True, eq=False):
    """An array to write.

    Attributes:
        name: Unique in its file.
        dtype: One of :data:`ITEM_SIZES`.
        shape: Its shape.
        bytes: Returns its bytes, in C order and little-endian. The writer calls it when it reaches this array, so it
            fetches the arrays of an accelerator one after another.
        owned: Whether that makes a copy, as from an accelerator's memory; else the bytes may be those of a live array.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: Callable[[], Part]
    owned: bool = False

    @property
    def size(self) -> int:
        """Its bytes in the file."""
        return ITEM_SIZES[self.dtype] * math.prod(self.shape)


class Stored(msgspec.Struct, frozen=True):
    """An array in a file.

    Attributes:
        dtype: One of :data:`ITEM_SIZES`.
        shape: Its shape.
        start: Offset of its first byte from the start of the file.
        size: Its bytes.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    size: int


class Entry(msgspec.Struct, frozen=True):
    """One entry of the state.

    Attributes:
        adapter: The name of the adapter that lowered it and will restore it.
        tree: Its structure: plain data in place, arrays by name.
    """

    adapter: str
    tree: Any


class Manifest(msgspec.Struct, frozen=True):
    """The contents of a packed checkpoint.

    Attributes:
        entries: The state's entries by name.
        version: The version of this format.
    """

    entries: dict[str, Entry]
    version: int = _VERSION


class Packed(msgspec.Struct, frozen=True, eq=False):
    """A state, ready to write.

    Attributes:
        header: The file's first bytes, with the length of the header before it.
        arrays: In the order in which they are written.
    """

    header: bytes
    arrays: tuple[Array, ...]

    @property
    def size(self) -> int:
        """The file's size in bytes."""
        return len(self.header) + sum(array.size for array in self.arrays)

    def parts(self) -> Iterator[Part]:
        """Yield the file's bytes."""
        yield self.header
        for array in self.arrays:
            yield array.bytes()

    def copied(self) -> Packed:
        """Return the same file with bytes of its own, which stay as they are when training changes the state."""
        copies = [array.bytes() if array.owned else bytes(array.bytes()) for array in self.arrays]
        return Packed(
            self.header,
            tuple(
                msgspec.structs.replace(array, bytes=partial(_same, copy), owned=True)
                for array, copy in zip(self.arrays, copies, strict=True)
            ),
        )


def _same(part: Part) -> Part:
    return part


def pack(manifest: Manifest, arrays: Iterable[Array]) -> Packed:
    """Return the packed file for a manifest and the arrays that it names.

    Raises:
        StateUnsupported: The plain data alone is larger than a header may be.
    """
    ordered = sorted(arrays, key=lambda array: -ITEM_SIZES[array.dtype])
    text = msgspec.json.encode(manifest).decode()
    header: dict[str, Any] = {"__metadata__": {"phyletic": text}}
    offset = 0
    for array in ordered:
        end = offset + array.size
        header[array.name] = {"dtype": array.dtype, "shape": array.shape, "data_offsets": (offset, end)}
        offset = end
    encoded = msgspec.json.encode(header)
    encoded += b" " * (-len(encoded) % 8)
    if len(encoded) > MAXIMUM_HEADER:
        raise StateUnsupported(
            f"the plain data of the state takes {len(encoded):,} bytes as JSON, but a checkpoint holds at most "
            f"{MAXIMUM_HEADER:,}: keep long lists of numbers as numpy arrays, or write files with save= and load="
        )
    return Packed(len(encoded).to_bytes(8, "little") + encoded, tuple(ordered))


class _Described(msgspec.Struct, frozen=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def read_header(file: memoryview, path: str) -> tuple[Manifest, dict[str, Stored]]:
    """Parse and check a file's header.

    Args:
        file: The whole file.
        path: Its name, for errors.

    Returns:
        The manifest, and where each array lies.

    Raises:
        CheckpointDamaged: The file is not a packed checkpoint, or is damaged.
        CheckpointError: A later version of phyletic wrote it.
    """
    try:
        length = int.from_bytes(file[:8], "little")
        if len(file) < 8 or length > len(file) - 8:
            raise ValueError(f"a header of {length} bytes in a file of {len(file)}")
        header = msgspec.json.decode(file[8 : 8 + length], type=dict[str, msgspec.Raw])
        texts = msgspec.json.decode(header.pop("__metadata__"), type=dict[str, str])
        described = {name: msgspec.json.decode(raw, type=_Described) for name, raw in header.items()}
        stored = dict(_located(described, 8 + length, len(file)))
        manifest = msgspec.json.decode(texts["phyletic"].encode(), type=Manifest)
    except (ValueError, KeyError, RecursionError, msgspec.MsgspecError) as error:
        raise CheckpointDamaged(f"{path} is not a packed checkpoint, or is damaged: {error!r}") from error
    if manifest.version > _VERSION:
        raise CheckpointError(
            f"{path} has version {manifest.version} of the checkpoint format, but this phyletic reads up to "
            f"{_VERSION}: install a later one"
        )
    return manifest, stored


def _located(described: dict[str, _Described], start: int, end: int) -> Iterator[tuple[str, Stored]]:
    """Yield where each array lies, if they fill the file from ``start`` to ``end`` without gap or overlap.

    Args:
        described: The header's entries.
        start: Offset of the first array, in bytes.
        end: Size of the file, in bytes.
    """
    reached = start
    for name, each in sorted(described.items(), key=lambda item: item[1].data_offsets):
        size = each.data_offsets[1] - each.data_offsets[0]
        if min(each.shape, default=0) < 0 or size != ITEM_SIZES[each.dtype] * math.prod(each.shape):
            raise ValueError(f"array {name!r}: {size} bytes for shape {each.shape} of {each.dtype}")
        if start + each.data_offsets[0] != reached:
            raise ValueError(f"array {name!r} does not begin where the one before it ends")
        yield name, Stored(each.dtype, each.shape, reached, size)
        reached += size
    if reached != end:
        raise ValueError(f"its arrays end at byte {reached} of {end}")
