"""Algorithms as JSON, so that a study remembers how it searches.

A configuration is a document with its type and its fields: ``{"type": "PBT", "population": 20, ...}``. A type from
outside of phyletic is written with its module, ``"package.module:Class"``, and imported when it is read. A user's
function is written as its name and a hash of its source; decoding does not restore its code.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from phyletic.errors import InvalidArgument
from phyletic.evolution.algorithm import Algorithm, check_algorithm
from phyletic.evolution.early_stop import EarlyStopRule, MedianStopping, NonFiniteStopping
from phyletic.evolution.exploit import BinaryTournament, NoiseGate, Truncation, TTest
from phyletic.evolution.explore import Chain, Gaussian, Perturb, Resample
from phyletic.evolution.explore_only import ExploreOnly
from phyletic.evolution.grid_search import GridSearch
from phyletic.evolution.pbt import PBT
from phyletic.evolution.random_search import RandomSearch
from phyletic.evolution.user_function import UserFunction

_TYPES: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        *(PBT, ExploreOnly, RandomSearch, GridSearch),
        *(Truncation, BinaryTournament, TTest, NoiseGate),
        *(Perturb, Resample, Gaussian, Chain, UserFunction),
        *(MedianStopping, NonFiniteStopping, EarlyStopRule),
    )
}


def algorithm_to_json(algorithm: Algorithm) -> dict[str, Any]:
    """Return an algorithm's JSON form.

    Args:
        algorithm: One of phyletic's, or a frozen dataclass or ``msgspec.Struct`` of your own.

    Raises:
        InvalidArgument: It, or one of its fields, has no JSON form.

    Example:
        >>> algorithm_to_json(RandomSearch(population=4, interval=10))["type"]
        'RandomSearch'
    """
    document: dict[str, Any] = _encode(check_algorithm(algorithm), "algorithm")
    return document


def algorithm_from_json(
    document: Mapping[str, Any], functions: Sequence[UserFunction | EarlyStopRule] = ()
) -> Algorithm:
    """Return the algorithm of a document that :func:`algorithm_to_json` made.

    A user's function has no code then, unless it is given: the algorithm can be inspected, but raises InvalidArgument
    when it has to call the function.

    Args:
        document: The document.
        functions: Functions of the user's that this process has.

    Raises:
        InvalidArgument: The document is of an unknown type or has unknown fields.

    Example:
        >>> algorithm_from_json(algorithm_to_json(PBT(8, 100))) == PBT(8, 100)
        True
    """
    algorithm = _decode(document, "algorithm", functions)
    if not isinstance(algorithm, Algorithm):
        raise InvalidArgument("algorithm", document, "the JSON form of an algorithm")
    return algorithm


def _encode(value: object, name: str) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidArgument(name, value, "finite, to be stored")
        return value
    if isinstance(value, (list, tuple)):
        return [_encode(item, f"{name}[{place}]") for place, item in enumerate(value)]
    if isinstance(value, Mapping):
        # Under a type of its own, so that a mapping's key "type" is never mistaken for a configuration's.
        return {"type": "dict", "items": {str(key): _encode(item, f"{name}[{key!r}]") for key, item in value.items()}}
    fields = _fields(type(value))
    if fields is None or isinstance(value, type):
        raise InvalidArgument(
            name, value, "made of numbers, text, lists, mappings, and frozen dataclasses or msgspec.Structs of these"
        )
    document: dict[str, Any] = {"type": type_name(type(value))}
    for field in fields:
        document[field] = _encode(getattr(value, field), f"{name}.{field}")
    return document


def _decode(document: Any, name: str, functions: Sequence[UserFunction | EarlyStopRule]) -> Any:
    """Return what a part of a document describes.

    Args:
        document: The part.
        name: Its place, for messages.
        functions: Functions of the user's that this process has.
    """
    if isinstance(document, list):
        return tuple(_decode(item, f"{name}[{place}]", functions) for place, item in enumerate(document))
    if not isinstance(document, Mapping):
        return document
    if document.get("type") == "dict":
        return {key: _decode(item, f"{name}[{key!r}]", functions) for key, item in document["items"].items()}
    kind = _type(document.get("type"), name)
    known = _fields(kind)
    if known is None:
        raise InvalidArgument(f"{name}.type", document.get("type"), "the name of a frozen dataclass or msgspec.Struct")
    given = {field: _decode(item, f"{name}.{field}", functions) for field, item in document.items() if field != "type"}
    for field in given:
        if field not in known:
            hint = "It may have been written by a newer version of the code"
            raise InvalidArgument(f"{name}.{field}", given[field], f"left out: {kind.__name__} has no such field", hint)
    decoded = kind(**given)
    # two are equal if they have the same name and source
    return next((one for one in functions if one == decoded), decoded)


def _fields(kind: type) -> list[str] | None:
    """Return the names of the fields of a dataclass or Struct; None for any other type."""
    if issubclass(kind, msgspec.Struct):
        return list(kind.__struct_fields__)
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind) if field.init and field.compare]
    return None


def type_name(kind: type) -> str:
    """Return the name of a type in a document."""
    if _TYPES.get(kind.__name__) is kind:
        return kind.__name__
    return f"{kind.__module__}:{kind.__qualname__}"


def _type(name: object, where: str) -> type:
    """Return the type of a stored name; one from outside of phyletic is imported."""
    if isinstance(name, str) and name in _TYPES:
        return _TYPES[name]
    module, colon, qualified = name.partition(":") if isinstance(name, str) else ("", "", "")
    if not colon:
        raise InvalidArgument(f"{where}.type", name, f"one of {', '.join(_TYPES)}, or module:Class")
    try:
        found: Any = operator.attrgetter(qualified)(importlib.import_module(module))
    except (ImportError, AttributeError, ValueError) as error:
        hint = f"It was written by code that this process does not have ({error}): open the study from that code"
        raise InvalidArgument(f"{where}.type", name, "a class that can be imported", hint) from error
    if not isinstance(found, type):
        raise InvalidArgument(f"{where}.type", name, "the name of a class")
    return found
