"""Sending a training function to another process, so that a script without a main guard, a notebook or a closure works.

What the program itself defines (``__main__``), lambdas and closures travel by value. Functions of modules travel by
name, and the worker gets the owner's ``sys.path``; a module that could not be found there travels by value too.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
import types
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from phyletic.errors import InvalidArgument, StudyFailed

__all__ = [
    "become_main",
    "check_not_imported_again",
    "main_module",
    "pack",
    "pack_text",
    "search_path",
    "unpack",
    "unpack_text",
]


def pack(train: Callable[..., object]) -> bytes:
    """Pickle a training function.

    Args:
        train: The function, or any callable object.

    Raises:
        InvalidArgument: It cannot be pickled; the message names what it refers to that cannot.
    """
    import cloudpickle

    if not callable(train):
        raise InvalidArgument("train", train, "a function of one argument, the source of trials")
    hidden = _module_to_copy(train)
    if hidden is not None:
        cloudpickle.register_pickle_by_value(hidden)
    try:
        return bytes(cloudpickle.dumps(train))
    except Exception as error:
        culprit = next(_culprits(train, set()), "")
        raise InvalidArgument(
            "train",
            train,
            "a function that can be sent to another process",
            f"{culprit or 'It'} cannot be pickled ({type(error).__name__}: {error}). Make it inside the function, "
            "or run in this process with workers=0",
        ) from error
    finally:
        if hidden is not None:
            cloudpickle.unregister_pickle_by_value(hidden)


def unpack(packed: bytes) -> Callable[..., object]:
    """Return a training function that :func:`pack` made, and let its definitions be found in ``__main__`` again.

    Without that nothing of ``__main__`` could be pickled in the worker, where libraries do (to their own processes,
    into a checkpoint).
    """
    import cloudpickle

    train: Callable[..., object] = cloudpickle.loads(packed)
    main = sys.modules["__main__"]
    for name, value in getattr(_function(train), "__globals__", {}).items():
        if getattr(value, "__module__", None) == "__main__" and isinstance(value, (type, types.FunctionType)):
            vars(main).setdefault(name, value)
    return train


def pack_text(text: str) -> bytes:
    r"""Encode a text that need not be Unicode, as the names of files and a command's arguments need not be.

    Example:
        >>> unpack_text(pack_text("a\udcff.db")) == "a\udcff.db"
        True
    """
    return text.encode(errors="surrogatepass")


def unpack_text(packed: bytes) -> str:
    """Return a text that :func:`pack_text` packed."""
    return packed.decode(errors="surrogatepass")


def search_path() -> tuple[str, ...]:
    """Return where this process finds modules: ``sys.path``, absolute.

    Of a current folder that is gone nothing can be found, so what is relative to it is left out.
    """
    try:
        return tuple(str(Path(entry).absolute()) for entry in sys.path)
    except FileNotFoundError:
        return tuple(str(entry) for entry in sys.path if Path(entry).is_absolute())


def main_module() -> tuple[str | None, str | None]:
    """Return the name (``python -m name``) or the file of this process's ``__main__``, None for what it has not."""
    main = sys.modules["__main__"]
    name = getattr(getattr(main, "__spec__", None), "name", None)
    file = getattr(main, "__file__", None)
    if name is not None or file is None:
        return name, None
    with contextlib.suppress(FileNotFoundError):  # it is relative to a current folder that is gone
        file = str(Path(file).absolute())
    return None, file


def check_not_imported_again() -> None:
    """Check that this process is not one that multiprocessing spawned and that imports its program again.

    Raises:
        StudyFailed: It is: running a study here would start it anew in each such process.
    """
    multiprocessing = sys.modules.get("multiprocessing.process")
    if multiprocessing is not None and getattr(multiprocessing.current_process(), "_inheriting", False):
        raise StudyFailed(
            "a process that multiprocessing spawned imports the program again, which would run the study again in it: "
            "put what runs the study under  if __name__ == '__main__':"
        )


def become_main(name: str | None, file: str | None) -> None:
    """Give this process an empty ``__main__`` that says where the owner's came from.

    That is what :mod:`multiprocessing` tells the processes that it spawns.

    Args:
        name: The owner's module; None if it is a file or nothing.
        file: The owner's file; None if it has none.
    """
    main = types.ModuleType("__main__")
    if name is not None:
        main.__spec__ = ModuleSpec(name, None)
    elif file is not None:
        main.__file__ = file
    sys.modules["__main__"] = main


def _function(train: Callable[..., object]) -> Callable[..., object]:
    """Return the plain function inside a partial, a method or a callable object."""
    while isinstance(train, functools.partial):
        train = train.func
    if not isinstance(train, (types.FunctionType, types.MethodType)) and not inspect.isclass(train):
        train = type(train).__call__
    return getattr(train, "__func__", train)


def _module_to_copy(train: Callable[..., object]) -> types.ModuleType | None:
    """Return the function's module if another process could not import it by name."""
    module = sys.modules.get(getattr(_function(train), "__module__", None) or "")
    if module is None or module.__name__ == "__main__" or module.__name__ in sys.builtin_module_names:
        return None
    return None if _found(module) else module


def _found(module: types.ModuleType) -> bool:
    """Whether a fresh interpreter with this ``sys.path`` finds this very module under its name."""
    place: Any = None
    found: ModuleSpec | None = None
    name = ""
    for part in module.__name__.split("."):
        name = f"{name}.{part}" if name else part
        finders = (getattr(finder, "find_spec", None) for finder in sys.meta_path)
        found = next((spec for find in finders if find is not None and (spec := find(name, place))), None)
        if found is None:
            return False
        place = found.submodule_search_locations
    return found is not None and found.origin == getattr(module, "__file__", None)


def _culprits(value: object, seen: set[int], within: str = "") -> Iterator[str]:
    """Name what a function refers to that cannot be pickled, innermost first."""
    import cloudpickle

    seen.add(id(value))
    if isinstance(value, functools.partial):
        parts = {f"argument {index}": part for index, part in enumerate(value.args)}
        parts |= {f"argument {name!r}": part for name, part in value.keywords.items()} | {"function": value.func}
    elif isinstance(value, types.FunctionType):
        parts = _referred(value)
    else:
        own = vars(value) if hasattr(value, "__dict__") and not isinstance(value, (type, types.ModuleType)) else {}
        parts = {f"attribute {name!r}": part for name, part in own.items()}
    for name, part in parts.items():
        if id(part) in seen:
            continue
        try:
            cloudpickle.dumps(part)
        except Exception:
            where = f"{name}{within}"
            yield from _culprits(part, seen, f" of {where}")
            yield f"{where} (a {type(part).__module__}.{type(part).__qualname__})"


def _referred(function: types.FunctionType) -> dict[str, object]:
    referred: dict[str, object] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            referred[f"the enclosing variable {name!r}"] = cell.cell_contents
        except ValueError:
            continue
    for name in function.__code__.co_names:
        if name in function.__globals__:
            referred[f"the global variable {name!r}"] = function.__globals__[name]
    for index, default in enumerate(function.__defaults__ or ()):
        referred[f"default value {index}"] = default
    return referred
