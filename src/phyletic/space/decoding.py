"""A space's definition from its JSON form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from phyletic.errors import InvalidSpace
from phyletic.space.choice import Choice
from phyletic.space.definition import DEEPEST
from phyletic.space.integer import Int
from phyletic.space.ordinal import Ordinal
from phyletic.space.real import Float

__all__ = ["decode"]

_NUMBER = {"low", "high", "log", "step", "limits", "fixed"}
_KEYS = {
    "float": _NUMBER,
    "int": _NUMBER,
    "ordinal": {"values", "fixed"},
    "choice": {"options", "spaces", "fixed"},
    "group": {"entries"},
    "constant": {"value"},
}
_REQUIRED = {
    "float": {"low", "high"},
    "int": {"low", "high"},
    "ordinal": {"values"},
    "choice": {"options"},
    "group": {"entries"},
    "constant": {"value"},
}


def decode(entries: Any, where: str = "space", depth: int = 1) -> dict[str, Any]:
    """Return the definition whose entries these are; whether it is a valid one is for the space to say.

    Args:
        entries: What :func:`phyletic.space.encoding.encode` gave, possibly through JSON.
        where: What the entries belong to, named in errors.
        depth: How deep it is nested.

    Raises:
        InvalidSpace: It is not of that form.
    """
    if not isinstance(entries, list):
        raise InvalidSpace(where, entries, "a list of entries")
    if depth > DEEPEST + 1:
        raise InvalidSpace(f"the depth of {where}", depth, f"at most {DEEPEST}")
    definition: dict[str, Any] = {}
    for place, entry in enumerate(entries):
        here = f"{where}[{place}]"
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise InvalidSpace(here, entry, "an object with a name")
        if entry["name"] in definition:
            raise InvalidSpace(f"{here}.name", entry["name"], "given once only")
        definition[entry["name"]] = _item(entry, here, depth)
    return definition


def _item(entry: dict[str, Any], here: str, depth: int) -> Any:
    kind = entry.get("type")
    if not isinstance(kind, str) or kind not in _KEYS:
        raise InvalidSpace(f"{here}.type", kind, f"one of {', '.join(_KEYS)}")
    given = {key: value for key, value in entry.items() if key not in ("name", "type")}
    for key in given.keys() - _KEYS[kind]:
        raise InvalidSpace(f"a key of {here}", key, f"one of {', '.join(sorted(_KEYS[kind]))}")
    for key in _REQUIRED[kind] - given.keys():
        raise InvalidSpace(here, entry, f"an object with {key!r}")
    if kind == "group":
        return decode(given["entries"], f"{here}.entries", depth + 1)
    if kind == "constant":
        return given["value"]
    if kind == "choice" and "spaces" in given:
        return _choice(given, here, depth)
    make: Callable[..., Any] = {"float": Float, "int": Int, "ordinal": Ordinal, "choice": Choice}[kind]
    first = {"ordinal": "values", "choice": "options"}.get(kind)
    return make(given.pop(first), **given) if first else make(**given)


def _choice(given: dict[str, Any], here: str, depth: int) -> Choice:
    labels, spaces = given["options"], given["spaces"]
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise InvalidSpace(f"{here}.options", labels, "a list of labels")
    if not isinstance(spaces, list) or len(spaces) != len(labels) or len(set(labels)) != len(labels):
        raise InvalidSpace(f"{here}.spaces", spaces, "a list with one space for each of the options, which differ")
    options = {label: decode(space, f"{here}.spaces", depth + 1) for label, space in zip(labels, spaces, strict=True)}
    return Choice(options, fixed=given.get("fixed"))
