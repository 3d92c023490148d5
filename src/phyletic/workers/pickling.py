"""Send a training function and the look of the program to another process.

What the program itself defines (``__main__``), lambdas and closures travel by value, so that a script without a main
guard, a notebook or a closure works. Functions of modules travel by name, and the worker gets the owner's ``sys.path``;
a module that a worker could not find there travels by value too.
"""

from __future__ import annotations

import functools
import inspect
import os
import pickle
import sys
import types
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

from phyletic.errors import InvalidArgument, StudyFailed


def pack(train: Callable[..., object]) -> bytes:
    """Pickle a training function.

    Args:
        train: The function, or any callable object.

    Raises:
        InvalidArgument: It cannot be pickled; the message names the object inside it that cannot.
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
        raise InvalidArgument(
            "train",
            train,
            "a function that can be sent to another process",
            f"{_culprit(train)} cannot be pickled ({type(error).__name__}: {error}). Make it inside the function, "
            "or run in this process with workers=0",
        ) from error
    finally:
        if hidden is not None:
            cloudpickle.unregister_pickle_by_value(hidden)


def unpack(packed: bytes) -> Callable[..., object]:
    """Return a training function that :func:`pack` pickled, and put its definitions into ``__main__`` again.

    Libraries that pickle in the worker (to their own processes, into a checkpoint) look for them there.
    """
    import cloudpickle

    train: Callable[..., object] = cloudpickle.loads(packed)
    main = sys.modules["__main__"]
    for name, value in getattr(_function(train), "__globals__", {}).items():
        if getattr(value, "__module__", None) == "__main__" and isinstance(value, (type, types.FunctionType)):
            vars(main).setdefault(name, value)
    return train


def pack_program() -> bytes:
    """Pickle what a worker copies from this process: ``sys.path``, argv, ``PYTHONPATH``, the origin of ``__main__``."""
    main = sys.modules["__main__"]
    name = getattr(getattr(main, "__spec__", None), "name", None)
    file = getattr(main, "__file__", None)
    path = [str(entry) for entry in sys.path]
    try:
        path = [str(Path(entry).absolute()) for entry in path]
        file = None if file is None else str(Path(file).absolute())
    except FileNotFoundError:
        # the current folder is gone, so that no module can be found relative to it
        path = [entry for entry in path if Path(entry).is_absolute()]
    return pickle.dumps((path, sys.argv, os.environ.get("PYTHONPATH"), name, file))


def become_program(packed: bytes) -> None:
    """Copy ``sys.path``, argv and ``PYTHONPATH`` from the owner, and say in an empty ``__main__`` where its came from.

    :mod:`multiprocessing` tells the processes that it spawns about ``__main__`` in the same way.

    Args:
        packed: What :func:`pack_program` returned in the owner's process.
    """
    sys.path[:], sys.argv[:], python_path, name, file = pickle.loads(packed)
    if python_path is None:
        os.environ.pop("PYTHONPATH", None)
    else:
        os.environ["PYTHONPATH"] = python_path
    _replace_main(name, file)


def join_program(packed: bytes) -> None:
    """Do as :func:`become_program` on a machine that may have other folders: add those of the owner's that exist here.

    Args:
        packed: What :func:`pack_program` returned in the owner's process.
    """
    path, sys.argv[:], _, name, file = pickle.loads(packed)
    known = {str(Path(entry).absolute()) for entry in sys.path}
    sys.path += [entry for entry in path if entry not in known and Path(entry).exists()]
    _replace_main(name, file)


def _replace_main(name: str | None, file: str | None) -> None:
    main = types.ModuleType("__main__")
    if name is not None:
        main.__spec__ = ModuleSpec(name, None)
    elif file is not None:
        main.__file__ = file
    sys.modules["__main__"] = main


def check_not_imported_again() -> None:
    """Raise StudyFailed if multiprocessing spawned this process, which imports its program and would run it again."""
    multiprocessing = sys.modules.get("multiprocessing.process")
    if multiprocessing is not None and getattr(multiprocessing.current_process(), "_inheriting", False):
        raise StudyFailed(
            "a process that multiprocessing spawned imports the program again, which would run the study again in it: "
            "put what runs the study under  if __name__ == '__main__':"
        )


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
    top = module.__name__.partition(".")[0]
    found = next(filter(None, (finder.find_spec(top, None) for finder in sys.meta_path)), None)
    known = found is not None and found.origin == getattr(sys.modules.get(top), "__file__", None)
    return None if known else module


def _culprit(train: object) -> str:
    """Name an object that a training function refers to and that cloudpickle cannot pickle."""
    import cloudpickle

    parts: dict[str, object]
    if isinstance(train, functools.partial):
        parts = {f"argument {index}": part for index, part in enumerate(train.args)}
        parts |= {f"argument {name!r}": part for name, part in train.keywords.items()}
    elif isinstance(train, types.FunctionType):
        used = inspect.getclosurevars(train)
        parts = {f"the enclosing variable {name!r}": part for name, part in used.nonlocals.items()}
        parts |= {f"the global variable {name!r}": part for name, part in used.globals.items()}
    else:
        parts = {f"attribute {name!r}": part for name, part in getattr(train, "__dict__", {}).items()}
    for name, part in parts.items():
        try:
            cloudpickle.dumps(part)
        except Exception:
            return f"{name} (a {type(part).__module__}.{type(part).__qualname__})"
    return "It"
