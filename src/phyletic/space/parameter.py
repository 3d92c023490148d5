"""Domains, and parameters and constants in their place in a space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from phyletic.space.choice import Choice
from phyletic.space.integer import Int
from phyletic.space.ordinal import Ordinal
from phyletic.space.real import Float
from phyletic.space.values import Value

__all__ = ["Condition", "Constant", "Domain", "Parameter", "exists"]

Domain: TypeAlias = Float | Int | Ordinal | Choice
"""Any domain: the values that one parameter may have. Works with ``isinstance``."""

Condition: TypeAlias = tuple[str, str]
"""The path of a choice, and the option it must have."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A hyperparameter that may vary, in its place in a space.

    Attributes:
        path: Names joined by dots, with the label of each choice it is under.
        domain: The values it may have.
        requires: ``(path, option)`` of each choice it is under, outermost first; it exists while all of them hold.
        fixed: Whether its value is drawn at birth and never explored.
    """

    path: str
    domain: Domain
    requires: tuple[Condition, ...]
    fixed: bool


@dataclass(frozen=True, slots=True)
class Constant:
    """A hyperparameter that has the same value whenever it exists.

    Attributes:
        path: Names joined by dots, with the label of each choice it is under.
        value: Its value.
        requires: ``(path, option)`` of each choice it is under, outermost first; it exists while all of them hold.
    """

    path: str
    value: Value
    requires: tuple[Condition, ...]


def exists(entry: Parameter | Constant, values: Mapping[str, Value]) -> bool:
    """Whether the choices in ``values`` let a parameter or constant exist."""
    return all(values.get(path) == option for path, option in entry.requires)
