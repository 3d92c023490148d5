"""Mutable mappings: the keys that exist are settings."""

from __future__ import annotations

from collections.abc import MutableMapping

from phyletic.records import Value
from phyletic.workers.targets.target import Setting, Target, kind_of, plain

__all__ = ["describe"]


def describe(target: object) -> Target | None:
    """Describe a mutable mapping, such as the parameters of a booster; returns None for anything else."""
    if not isinstance(target, MutableMapping):
        return None
    settings = {key: _setting(target, key) for key in target if isinstance(key, str)}
    return Target(kind_of(target), settings, advice="Something in the training code changed the mapping after apply")


def _setting(mapping: MutableMapping[str, object], key: str) -> Setting:
    def write(value: Value) -> None:
        mapping[key] = value

    return Setting(lambda: plain(mapping.get(key, "(the key is gone)")), write)
