"""Plan an export: which files a checkpoint becomes, by the adapter of each entry. Nothing is unpickled."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import pickletools
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from phyletic import disk
from phyletic.checkpoints import OpenCheckpoint
from phyletic.checkpoints import readable as files
from phyletic.checkpoints.read_errors import reading
from phyletic.checkpoints.readable import Readable, array_nodes, fits_numpy, kinds_of, readable
from phyletic.study.export_readme import LeftOut, Planned

_CHUNK = 8 << 20
# what torch.load(weights_only=True) reads, of the kinds of nodes
_WEIGHTS_ONLY = {
    *("int", "float", "complex", "bytes", "long bytes"),
    *("dict", "pairs", "tuple", "namedtuple", "set", "tensor"),
}
_TAKEN = ("schedule", "lineage", "readme", "files")
_LONGEST_STEM = 200


def plan(opened: OpenCheckpoint, models: Mapping[str, Any]) -> tuple[list[Planned], list[LeftOut]]:
    """Decide which files a checkpoint becomes.

    Args:
        opened: The checkpoint, verified.
        models: Keras models with its variables, by entry.

    Returns:
        The files, and what is left out.
    """
    if not opened.packed:
        return list(_own_files(opened)), []
    planned: list[Planned] = []
    left_out: list[LeftOut] = []
    torch = _has_torch(opened)
    stems: dict[str, str] = {}
    for name, adapter in opened.entries.items():
        stem = stems[name] = _stem(name, [*_TAKEN, *stems.values()])
        if adapter in ("random state", "torch generator"):
            left_out.append(LeftOut(name, "a random state, which only training needs"))
        elif adapter == "estimator":
            planned.append(_estimator(opened, name, stem))
        elif adapter == "keras":
            planned += _keras(opened, name, stem, models.get(name))
        elif adapter == "state_dict":
            planned += _state_dict(opened, name, stem, torch)
        else:
            planned += _tree(opened, name, stem, f"entry {name!r}")
    return planned, left_out


def _state_dict(opened: OpenCheckpoint, name: str, stem: str, torch: bool) -> list[Planned]:
    """Plan the ``state_dict()`` of an object.

    Args:
        opened: The checkpoint.
        name: The entry.
        stem: Of its files' names.
        torch: Whether the checkpoint has tensors, and torch is installed to write its format.
    """
    node = opened.node(name)
    what = f"entry {name!r}: the state_dict of an object"
    if torch and kinds_of(node) <= _WEIGHTS_ONLY:
        return [Planned(f"{stem}.pt", what, "torch", partial(_write_torch, opened, name))]
    if "tensor" in kinds_of(node):
        why = "holds what torch.load(weights_only=True) refuses" if torch else "torch was not there to write a .pt file"
        return _tree(opened, name, stem, f"{what} ({why})", safetensors=True)
    return _tree(opened, name, stem, what)


def _tree(
    opened: OpenCheckpoint, name: str, stem: str, what: str, *, safetensors: bool = False, structure: bool = True
) -> list[Planned]:
    """Plan a tree of plain data and arrays.

    Args:
        opened: The checkpoint.
        name: The entry.
        stem: Of its files' names.
        what: What it is.
        safetensors: Whether its arrays must go into the safetensors format, and not only if numpy lacks their types.
        structure: Whether the JSON beside the arrays is written.
    """
    node = opened.node(name)
    if isinstance(node, str):
        return [Planned(f"{stem}.txt", f"{what}: a text", "text", text_file(node))]
    if isinstance(node, dict) and kinds_of(node) in ({"bytes"}, {"long bytes"}):
        return [Planned(f"{stem}.bin", f"{what}: bytes as they are", "bytes", bytes_file(opened.value(name)))]
    located = {id(each): opened.array(each[next(iter(each))]) for each in array_nodes(node)}
    numpy = not safetensors and all(fits_numpy(located[id(each)][0], each) for each in array_nodes(node))
    found = readable(name, node, numpy=numpy)
    planned = []
    if found.arrays and numpy:
        made = {array: partial(files.numpy_of, *located[id(each)], each) for array, each in found.arrays.items()}
        planned.append(Planned(f"{stem}.npz", f"{what}: its arrays", "numpy", partial(files.write_npz, arrays=made)))
    elif found.arrays:
        raw = {array: located[id(each)] for array, each in found.arrays.items()}
        write = partial(files.write_safetensors, arrays=raw)
        planned.append(Planned(f"{stem}.safetensors", f"{what}: its arrays", "safetensors", write))
    if structure and not found.one_array:
        planned.append(_structure(stem, what, found))
    return planned


def _structure(stem: str, what: str, found: Readable) -> Planned:
    """Plan the JSON of a tree."""
    kind = f"{what}: its structure" if found.arrays else what
    return Planned(f"{stem}.json", kind, "json", text_file(as_json(found.structure)), tuple(found.marks()))


def _keras(opened: OpenCheckpoint, name: str, stem: str, model: Any) -> list[Planned]:
    """Plan the variables of a Keras object, and the whole model if it was built.

    Args:
        opened: The checkpoint.
        name: The entry.
        stem: Of its files' names.
        model: The model with its variables; None if it was not built.
    """
    what = f"entry {name!r}: a Keras object's variables, in its own order"
    planned = _tree(opened, name, stem, what, structure=False)
    if model is not None:
        planned.append(Planned(f"{stem}.keras", f"entry {name!r}: the Keras model", "keras", model.save))
    return planned


def _estimator(opened: OpenCheckpoint, name: str, stem: str) -> Planned:
    """Plan a pickled estimator: its bytes as they are.

    Args:
        opened: The checkpoint.
        name: The entry.
        stem: Of its file's name.
    """
    content = opened.array(opened.node(name))[1]
    version = sklearn_version(content)
    with_version = f"by scikit-learn {version}" if version else "by a version of scikit-learn that it does not say"
    what = f"entry {name!r}: an estimator, pickled {with_version}; open it only if you trust where it comes from"
    return Planned(f"{stem}.pkl", what, "pickle", bytes_file(content))


def _own_files(opened: OpenCheckpoint) -> Iterator[Planned]:
    """Plan the copies of a user's own files."""
    for source in sorted(opened.path.rglob("*")):
        path = f"files/{source.relative_to(opened.path)}"
        if source.is_dir():
            yield Planned(path, "your own folder", "", lambda path: disk.make_folder(str(path), durable=False))
        else:
            yield Planned(path, "your own file, as it was saved", "", partial(_copy, source))


def sklearn_version(pickled: memoryview) -> str | None:
    """Return the version of scikit-learn that a pickle says it was made with; None if it says nothing.

    The pickle is read as a list of instructions; none of them is run.

    Args:
        pickled: The pickle.
    """
    version = None
    with contextlib.suppress(ValueError):
        before: object = None
        for operation, argument, _ in pickletools.genops(bytes(pickled)):
            if before == "_sklearn_version" and isinstance(argument, str):
                version = argument
                break
            if operation.name not in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
                before = argument
    return version


def _has_torch(opened: OpenCheckpoint) -> bool:
    """Whether a state has tensors, and torch is there to write its files."""
    tensors = any("tensor" in kinds_of(opened.node(name)) for name in opened.entries)
    return tensors and importlib.util.find_spec("torch") is not None


def _stem(name: str, taken: list[str]) -> str:
    """Return the beginning of an entry's files' names, which no other file has, whatever the case of its letters.

    Args:
        name: The entry.
        taken: The other ones.
    """
    kept = "".join(letter if letter.isalnum() or letter in "-_ ." else "_" for letter in name)
    while len(kept.encode()) > _LONGEST_STEM:
        kept = kept[:-1]
    kept = kept.lstrip(".").strip() or "_"
    used = {other.casefold() for other in taken}
    stem, count = kept, 1
    while stem.casefold() in used:
        count += 1
        stem = f"{kept}-{count}"
    return stem


def as_json(document: object) -> str:
    """Return a document as JSON that every parser reads."""
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def text_file(text: str) -> Callable[[Path], None]:
    """Return a function that writes a text as a file."""
    return bytes_file(text.encode())


def bytes_file(content: disk.Part) -> Callable[[Path], None]:
    """Return a function that writes bytes as a file."""
    return lambda path: disk.write_parts(disk.create_file(path), [content], durable=False)


def _copy(source: Path, path: Path) -> None:
    with reading(source):
        file = source.open("rb")
    with file:
        disk.write_parts(disk.create_file(path), iter(lambda: file.read(_CHUNK), b""), durable=False)


def _write_torch(opened: OpenCheckpoint, name: str, path: Path) -> None:
    """Write a state dict in torch's format.

    Args:
        opened: The checkpoint.
        name: The entry.
        path: The file, which must not exist.
    """
    import torch

    with os.fdopen(disk.create_file(path), "wb") as file:
        torch.save(opened.value(name), file)
