"""A parameter or a constant in its place in a space, with the conditions under which it exists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from phyletic.space.domain import Domain
from phyletic.space.values import Value

__all__ = ["Condition", "Constant", "Parameter", "exists"]

Condition = tuple[str, str]
"""The path of a choice, and the option it must have."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """What may vary, in its place.

    Attributes:
        path: Names joined by dots, with the label of each choice it is under.
        domain: What its values may be.
        requires: ``(path, option)`` of each choice it is under, outermost first; it exists while all hold.
        fixed: Whether it is drawn at birth and never explored.
    """

    path: str
    domain: Domain
    requires: tuple[Condition, ...]
    fixed: bool


@dataclass(frozen=True, slots=True)
class Constant:
    """What has one value wherever it exists.

    Attributes:
        path: As a parameter's.
        value: The value.
        requires: As a parameter's.
    """

    path: str
    value: Value
    requires: tuple[Condition, ...]


def exists(entry: Parameter | Constant, values: Mapping[str, Value]) -> bool:
    """Whether the choices in ``values`` let a parameter or constant exist."""
    return all(values.get(path) == option for path, option in entry.requires)
