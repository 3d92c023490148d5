"""The answer of every family to ``apply`` about an object: its settings, and the names that would change nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from functools import partial
from operator import setitem
from typing import Any

from phyletic.records import Value


@dataclass(frozen=True, slots=True)
class Setting:
    """One value that an object trains with.

    Attributes:
        read: Returns the value that training uses now.
        write: Makes training use another value.
    """

    read: Callable[[], Value]
    write: Callable[[Value], None]


@dataclass(frozen=True, slots=True)
class Target:
    """An object whose settings ``apply`` knows.

    Attributes:
        kind: Name of its class, for messages: ``"torch.optim.sgd.SGD"``.
        settings: The settings by name.
        aliases: Other names of settings.
        refused: Names that look like settings but would change nothing, each with the reason and what to do.
        takes: The arguments of ``apply`` that this kind understands: ``"group"``, ``"scheduler"``.
        advice: The usual reason why a value did not stay.
        fresh: Whether it holds nothing of earlier steps, such as moments, although its kind keeps them.
    """

    kind: str
    settings: Mapping[str, Setting]
    aliases: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    takes: frozenset[str] = frozenset()
    advice: str = "Something in the training code sets it after apply"
    fresh: bool = False


def kind_of(target: object) -> str:
    """Name the class of an object, for messages.

    Example:
        >>> kind_of({}), kind_of(Target("", {}))
        ('dict', 'phyletic.workers.targets.target.Target')
    """
    kind = type(target)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def ancestry(target: object, library: str) -> set[str]:
    """Name the classes of ``library`` from which an object's class derives, without importing the library.

    Example:
        >>> sorted(ancestry(True, "builtins"))
        ['bool', 'int', 'object']
    """
    return {kind.__name__ for kind in type(target).__mro__ if kind.__module__.partition(".")[0] == library}


def plain(value: Any) -> Value:
    """Return a number, or an array or tensor with one number, as a value.

    Example:
        >>> import numpy as np
        >>> plain(np.float64(0.5)), plain("relu")
        (0.5, 'relu')
    """
    value = value.item() if hasattr(value, "item") else value
    return value if value is None or isinstance(value, (bool, int, float, str)) else repr(value)


def agreed(values: Iterable[Value]) -> Value:
    """Return the value that several places share, or a text with all values if they differ.

    Example:
        >>> agreed([0.1, 0.1]), agreed([0.1, 0.2])
        (0.1, '0.1 and 0.2')
    """
    distinct = list(dict.fromkeys(values))
    return distinct[0] if len(distinct) == 1 else " and ".join(map(str, distinct))


def describe_mapping(target: object) -> Target | None:
    """Describe a mutable mapping, such as the parameters of a booster; returns None for anything else."""
    if not isinstance(target, MutableMapping):
        return None

    def setting(key: str) -> Setting:
        return Setting(lambda: plain(target.get(key, "(the key is gone)")), partial(setitem, target, key))

    settings = {key: setting(key) for key in target if isinstance(key, str)}
    return Target(kind_of(target), settings, advice="Something in the training code changed the mapping after apply")
