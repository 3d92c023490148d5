"""Parameters and constants in their place in a space, read from a user's nested dictionaries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from phyletic.errors import InvalidSpace
from phyletic.space.choice import Choice
from phyletic.space.integer import Int
from phyletic.space.names import check_name
from phyletic.space.ordinal import Ordinal
from phyletic.space.real import Float
from phyletic.space.values import Value, plain, storable

DEEPEST = 16
"""How many groups and choices may be inside each other; this also stops a dictionary that contains itself."""

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


def read_definition(definition: Any) -> tuple[Parameter | Constant, ...]:
    """Check a definition and list its parameters and constants depth first, in the order of the dictionaries.

    Args:
        definition: Maps names to domains, constants, or dictionaries of the same.

    Returns:
        The parameters and constants; a choice comes before the entries under it.

    Raises:
        InvalidSpace: The definition has an error; the message names the parameter.
    """
    if not isinstance(definition, Mapping):
        raise InvalidSpace("space", definition, "a dictionary from names to domains")
    return tuple(_read(definition, "", (), 1))


def _read(
    definition: Mapping[Any, Any], prefix: str, requires: tuple[Condition, ...], depth: int
) -> Iterator[Parameter | Constant]:
    """Yield the parameters and constants of a definition, depth first.

    Args:
        definition: Maps names to domains, constants, or dictionaries of the same.
        prefix: Path of the group or option that holds the definition; empty for the whole space.
        requires: ``(path, option)`` of each choice it is under, outermost first.
        depth: How many groups and choices the definition is inside of, plus 1.
    """
    where = f"space[{prefix!r}]" if prefix else "space"
    if depth > DEEPEST:
        hint = "Does a dictionary contain itself?"
        raise InvalidSpace(f"the depth of {where}", depth, f"at most {DEEPEST}", hint)
    for key, item in definition.items():
        name = check_name(where, key)
        path = f"{prefix}.{name}" if prefix else name
        if isinstance(item, Mapping):
            yield from _read(item, path, requires, depth + 1)
        elif isinstance(item, Domain):
            item.validate(path)
            yield Parameter(path, item, requires, item.fixed)
            if isinstance(item, Choice) and item.spaces is not None:
                for label, space in item.spaces.items():
                    yield from _read(space, f"{path}.{label}", (*requires, (path, label)), depth + 1)
        else:
            yield Constant(path, _constant(item, path), requires)


def _constant(item: Any, path: str) -> Any:
    value = plain(item)
    if not storable(value):
        hint = "For several values, write Choice([...])" if isinstance(item, (list, tuple, set, range)) else ""
        if isinstance(item, type):
            hint = "Give the domain its arguments"
        allowed = (
            "a domain (Float, Int, Ordinal, Choice), a dictionary of them, text, a finite number, True, False or None"
        )
        raise InvalidSpace(f"space[{path!r}]", item, allowed, hint)
    return value
