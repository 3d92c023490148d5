"""What training code can see between two trials, as digests by name: its variables, and those of its functions.

Two runs whose digests differ at the start of the same trial carry something along that no checkpoint holds. The look is
bounded: it takes samples of large arrays, and stops at a number of values. It runs no code of the user's but
``state_dict``, and draws no random number.
"""

from __future__ import annotations

import contextlib
import hashlib
import pickle
import random
import sys
import types
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from phyletic.checkpoints.arrays import is_jax_array, is_tensor

_MOST_VALUES = 20_000
_BYTES_OF_A_VALUE = 1 << 14
_MOST_ITEMS = 2_000
_DEPTH = 7
_SAMPLED_ABOVE = 1 << 18
"""Elements; larger arrays are sampled."""
_ITERATORS = (
    *("range_iterator", "longrange_iterator", "list_iterator", "tuple_iterator", "str_iterator", "enumerate", "zip"),
    *("map", "filter", "count", "cycle", "chain", "islice", "repeat", "reversed", "list_reverseiterator"),
)


@dataclass(frozen=True)
class Variable:
    """A variable that training code sees.

    Attributes:
        name: Its name.
        where: What it is, for people.
        value: Its value.
    """

    name: str
    where: str
    value: Any


@dataclass(frozen=True)
class Visible:
    """What training code saw at one moment.

    Attributes:
        digests: Of all values, by variable and by path below it.
        where: What each variable is, for people.
        loaders: Data loaders whose worker processes live on, by path.
    """

    digests: Mapping[str, Mapping[str, bytes]]
    where: Mapping[str, str]
    loaders: tuple[str, ...]


def look(variables: Iterable[Variable]) -> Visible:
    """Return the digests of variables; an object that two of them hold counts for the first."""
    walk = _Walk()
    digests: dict[str, Mapping[str, bytes]] = {}
    where: dict[str, str] = {}
    for variable in variables:
        if variable.name not in digests:
            walk.found = {}
            walk.enter(variable.value, variable.name, _DEPTH)
            if walk.left < 0:
                break  # half a variable would seem to differ
            digests[variable.name], where[variable.name] = walk.found, variable.where
    return Visible(digests, where, tuple(walk.loaders))


def variables_of(frame: types.FrameType | None, until: str) -> Iterator[Variable]:
    """Yield the variables that a frame and its callers see: local ones, those of enclosing functions, and globals.

    Args:
        frame: Where the training code asks for the next trial.
        until: The name of the module at whose frames to stop.
    """
    met: set[types.CodeType] = set()
    while frame is not None and frame.f_globals.get("__name__") != until:
        code = frame.f_code
        for name, value in [] if _is_installed(code) else list(frame.f_locals.items()):
            enclosing = name in code.co_freevars
            kind = "a variable that encloses" if enclosing else "a local variable of"
            yield Variable(name, f"{kind} {code.co_name}()", value)
            if isinstance(value, types.FunctionType):
                yield from _used_by(value, met)
        yield from _globals_of(code, frame.f_globals, met)
        frame = frame.f_back


def _globals_of(code: types.CodeType, namespace: Mapping[str, Any], met: set[types.CodeType]) -> Iterator[Variable]:
    """Yield the global variables that a function's code names, and what functions among them see.

    Args:
        code: The function's code.
        namespace: Its module's variables.
        met: The code that was looked at already.
    """
    if code in met:
        return
    met.add(code)
    for name in code.co_names:
        if name in namespace:
            value = namespace[name]
            if isinstance(value, types.FunctionType):
                yield from _used_by(value, met)
            elif not isinstance(value, (types.ModuleType, type)):
                yield Variable(name, f"a global variable of {namespace.get('__name__')}", value)
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from _globals_of(inner, namespace, met)


def _used_by(function: types.FunctionType, met: set[types.CodeType]) -> Iterator[Variable]:
    """Yield the variables that a function of the user's sees from outside.

    Args:
        function: The function.
        met: The code that was looked at already.
    """
    module = str(function.__module__).partition(".")[0]
    if module in sys.stdlib_module_names or _is_installed(function.__code__) or function.__code__ in met:
        return
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # an empty cell
            yield Variable(name, f"a variable that encloses {function.__name__}()", cell.cell_contents)
    yield from _globals_of(function.__code__, function.__globals__, met)


def _is_installed(code: types.CodeType) -> bool:
    return any(part in code.co_filename for part in ("site-packages", "dist-packages"))


@dataclass
class _Walk:
    """Walks through values, and collects digests by path.

    Attributes:
        found: The digests of the present variable.
        loaders: Paths of data loaders with persistent workers.
        left: How many values it may still enter; a large one counts for several.
        met: The objects that it has entered, by id.
    """

    found: dict[str, bytes] = field(default_factory=dict)
    loaders: list[str] = field(default_factory=list)
    left: int = _MOST_VALUES
    met: dict[int, object] = field(default_factory=dict)

    def enter(self, value: Any, path: str, depth: int) -> None:
        """Take the digest of a value, or of what is in it.

        Args:
            value: The value.
            path: Where it is, as Python would say it.
            depth: How many levels to go down.
        """
        self.left -= 1
        if self.left < 0 or depth < 0:
            return
        with contextlib.suppress(Exception):  # a property, a repr or an accelerator may raise anything
            leaf = _leaf(value)
            if leaf is not None:
                self.left -= len(leaf) // _BYTES_OF_A_VALUE
                self.found[path] = hashlib.blake2b(leaf, digest_size=16).digest()
            elif id(value) not in self.met:
                self.met[id(value)] = value  # keeps it alive, so that no other object gets its id
                position = _position(value)
                if position is not None:
                    self._fold(position, path, depth - 1)
                else:
                    for inner, item in self._parts(value, path):
                        self.enter(item, inner, depth - 1)

    def _fold(self, parts: Iterable[Any], path: str, depth: int) -> None:
        """Take one digest of several values, whose own paths would say nothing.

        Args:
            parts: The values.
            path: Where they are.
            depth: How many levels to go down.
        """
        outer, self.found = self.found, {}
        for place, part in enumerate(parts):
            self.enter(part, str(place), depth)
        inner, self.found = self.found, outer
        self.found[path] = hashlib.blake2b(repr(sorted(inner.items())).encode(), digest_size=16).digest()

    def _parts(self, value: Any, path: str) -> Iterator[tuple[str, Any]]:
        """Yield the parts of a value, each with its path."""
        torch = sys.modules.get("torch")
        if isinstance(value, Mapping):
            yield f"len({path})", len(value)
            for place, (key, item) in enumerate(list(value.items())[:_MOST_ITEMS]):
                yield f"{path}[{key!r}]" if isinstance(key, (str, int)) else f"{path}[key {place}]", item
        elif isinstance(value, (list, tuple, deque)):
            yield f"len({path})", len(value)
            yield from ((f"{path}[{place}]", item) for place, item in enumerate(list(value)[:_MOST_ITEMS]))
        elif isinstance(value, partial):
            yield from ((f"{path}.{name}", getattr(value, name)) for name in ("func", "args", "keywords"))
        elif isinstance(value, types.MethodType):
            yield f"{path}.__self__", value.__self__
        elif torch is not None and isinstance(value, torch.nn.Module):
            yield from _module_parts(value, path)
        elif _is_loader(value):
            if value.persistent_workers and value.num_workers:
                self.loaders.append(path)
            names = ("generator", "sampler", "batch_sampler", "dataset")
            yield from ((f"{path}.{name}", getattr(value, name)) for name in names)
        elif callable(getattr(value, "state_dict", None)) and not isinstance(value, type):
            yield path, value.state_dict()
        elif _has_parts(value):
            yield from ((f"{path}.{name}", item) for name, item in list(vars(value).items())[:_MOST_ITEMS])


def _position(value: Any) -> list[Any] | None:
    """Return what says how far an iterator of Python's or a generator is; None for anything else."""
    if isinstance(value, types.GeneratorType):
        frame = value.gi_frame
        return ["ended"] if frame is None else [frame.f_lasti, *frame.f_locals.values()]
    if type(value).__name__ in _ITERATORS and type(value).__module__ in ("builtins", "itertools"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a later Python does without, and says so
            return list(value.__reduce__()[1:])
    return None


def _module_parts(module: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the tensors of a torch module, and the plain attributes of its parts."""
    for name, part in module.named_modules():
        inner = f"{path}.{name}" if name else path
        plain = {key: item for key, item in vars(part).items() if not (key.startswith("_") and key in _torch_private())}
        yield from ((f"{inner}.{key}", item) for key, item in plain.items())
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        yield f"{path}.{name}", tensor
        if tensor.grad is not None:
            yield f"{path}.{name}.grad", tensor.grad


def _torch_private() -> set[str]:
    """Return the names of the attributes that every torch module has."""
    return set(vars(sys.modules["torch"].nn.Module())) - {"training"}


def _is_loader(value: Any) -> bool:
    data = sys.modules.get("torch.utils.data")
    return data is not None and isinstance(value, data.DataLoader)


def _has_parts(value: Any) -> bool:
    """Whether an object's attributes are the user's; those of phyletic, and functions and classes, are not."""
    if isinstance(value, (types.ModuleType, types.FunctionType, type)):
        return False
    own = type(value).__module__.partition(".")[0] in ("phyletic", "threading", "multiprocessing", "logging")
    return not own and isinstance(getattr(value, "__dict__", None), dict)


def _leaf(value: Any) -> bytes | None:
    """Return the bytes that tell a value without parts from others; None for a value with parts."""
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, range, np.generic)):
        return f"{type(value).__name__} {value!r}".encode(errors="surrogatepass")
    if isinstance(value, np.ndarray) and value.dtype.kind != "O":
        step = value.size // _SAMPLED_ABOVE + 1
        sample = value if step == 1 else value.flat[::step]
        return f"{value.dtype} {value.shape} ".encode() + np.ascontiguousarray(sample).tobytes()
    if is_tensor(value):
        return _tensor_leaf(value)
    if is_jax_array(value):
        return f"{value.dtype} {value.shape} ".encode() + np.asarray(value.ravel()[:_SAMPLED_ABOVE]).tobytes()
    if isinstance(value, (set, frozenset)):
        # the repr of other objects has their address
        plain = all(isinstance(item, (int, float, str, bytes, type(None))) for item in value)
        return repr(sorted(map(repr, value)) if plain else len(value)).encode(errors="surrogatepass")
    if isinstance(value, random.Random):
        return pickle.dumps(value.getstate())
    if isinstance(value, np.random.Generator):
        return pickle.dumps(value.bit_generator.state)
    if isinstance(value, (np.random.BitGenerator, np.random.RandomState)):
        return pickle.dumps(value.state if isinstance(value, np.random.BitGenerator) else value.get_state())
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Generator):
        return bytes(value.get_state().numpy())
    return None


def _tensor_leaf(value: Any) -> bytes:
    said = f"{value.dtype} {tuple(value.shape)} ".encode()
    if not value.is_contiguous() and value.numel() > _SAMPLED_ABOVE:
        return said  # a copy of it may be too large
    flat = value.detach().reshape(-1)[:: value.numel() // _SAMPLED_ABOVE + 1].cpu().contiguous()
    return said + bytes(flat.view(sys.modules["torch"].uint8).numpy())
