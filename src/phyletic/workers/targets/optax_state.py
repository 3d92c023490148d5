"""Optax states that ``optax.inject_hyperparams`` makes, anywhere in a chain of states."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from phyletic.errors import ApplyFailed
from phyletic.records import Value
from phyletic.workers.targets.target import Setting, Target, agreed, kind_of, plain


def describe(target: object, group: int | str | None) -> Target | None:
    """Describe an optax state that holds injected hyperparameters; returns None for anything else.

    The settings write in place, into the state's dictionary. An update returns a new state and never changes this one,
    so a later read gives the written value.

    Args:
        target: The target of ``apply``: a state, or a tuple, list or mapping with states inside.
        group: Index of one of several injected states, in order; None for all that have the setting.

    Raises:
        ApplyFailed: The target has no such group.
    """
    states = list(_injected(target))
    if not states:
        return None
    if group is not None:
        if isinstance(group, bool) or not isinstance(group, int) or not 0 <= group < len(states):
            raise ApplyFailed(f"group is {group!r}, but the state has the injected states 0 to {len(states) - 1}")
        states = [states[group]]
    refused: dict[str, str] = {}
    places: dict[str, list[dict[str, Any]]] = {}
    for state in states:
        # optax computes these anew at each update: see inject_hyperparams, "will have no effect"
        scheduled = getattr(state, "hyperparams_states", {})
        for name in state.hyperparams:
            if name in scheduled:
                refused[name] = (
                    "it is an optax schedule, computed anew at each update. Give inject_hyperparams a number"
                )
            else:
                places.setdefault(name, []).append(state.hyperparams)
    settings = {name: _setting(dictionaries, name) for name, dictionaries in places.items()}
    return Target(kind_of(target), settings, refused=refused, takes=frozenset({"group"}))


def _injected(node: object) -> Iterator[Any]:
    if isinstance(getattr(node, "hyperparams", None), dict):
        yield node
    elif isinstance(node, Mapping):
        for child in node.values():
            yield from _injected(child)
    elif isinstance(node, (tuple, list)):
        for child in node:
            yield from _injected(child)


def _setting(dictionaries: list[dict[str, Any]], name: str) -> Setting:
    written: list[Value] = []

    def read() -> Value:
        # the arrays of a state that a compiled update consumed (donated) can no longer be read
        return written[-1] if written else agreed(plain(dictionary[name]) for dictionary in dictionaries)

    def write(value: Value) -> None:
        for dictionary in dictionaries:
            dictionary[name] = _like(dictionary[name], value)
        written[:] = [agreed(plain(dictionary[name]) for dictionary in dictionaries)]

    return Setting(read, write)


def _like(old: Any, value: Value) -> Any:
    """Return ``value`` with the type, shape and place of ``old``, so that compiled updates need no compilation."""
    jax = sys.modules.get("jax")
    if jax is not None and isinstance(old, jax.Array):
        return jax.numpy.full_like(old, value)
    if hasattr(old, "dtype") and hasattr(old, "shape"):
        import numpy as np

        return np.full_like(old, value)
    return value
