"""The JSON form of a space: encode a definition, decode it, and compare two of them.

Groups and the spaces under options are lists of entries, not objects: the order of the parameters is part of a space,
and a JSON store may reorder the keys of objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from phyletic.errors import InvalidSpace
from phyletic.space import bounds
from phyletic.space.choice import Choice
from phyletic.space.definition import DEEPEST
from phyletic.space.integer import Int
from phyletic.space.ordinal import Ordinal
from phyletic.space.real import Float
from phyletic.space.values import plain

_NUMBER = ({"low", "high"}, {"log", "step", "limits", "fixed"})
_KEYS: dict[str, tuple[set[str], set[str]]] = {
    "float": _NUMBER,
    "int": _NUMBER,
    "ordinal": ({"values"}, {"fixed"}),
    "choice": ({"options"}, {"spaces", "fixed"}),
    "group": ({"entries"}, set()),
    "constant": ({"value"}, set()),
}
"""The keys that an entry of each type must have, and those that it may have."""


def encode(definition: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the entries of a valid definition, each with its name and type.

    Example:
        >>> encode({"optimizer": {"nesterov": True}})
        [{'name': 'optimizer', 'type': 'group', 'entries': [{'name': 'nesterov', 'type': 'constant', 'value': True}]}]
    """
    return [{"name": plain(key), **_encoded(item)} for key, item in definition.items()]


def _encoded(item: Any) -> dict[str, Any]:
    if isinstance(item, Mapping):
        return {"type": "group", "entries": encode(item)}
    if isinstance(item, Float):
        return {"type": "float", **bounds.arguments(item)}
    if isinstance(item, Int):
        return {"type": "int", **bounds.arguments(item)}
    if isinstance(item, Ordinal):
        return {"type": "ordinal", "values": list(item.values), **({"fixed": True} if item.fixed else {})}
    if isinstance(item, Choice):
        document: dict[str, Any] = {"type": "choice", "options": list(item.options)}
        if item.spaces is not None:
            document["spaces"] = [encode(space) for space in item.spaces.values()]
        if item.fixed != (item.spaces is not None):
            document["fixed"] = item.fixed
        return document
    return {"type": "constant", "value": plain(item)}


def decode(entries: Any, where: str = "space", depth: int = 1) -> dict[str, Any]:
    """Return the definition that these entries encode; the space then checks the definition.

    Args:
        entries: The result of :func:`encode`, possibly read from JSON.
        where: The place of the entries, for errors.
        depth: How many groups and choices the entries are inside of, plus 1.

    Raises:
        InvalidSpace: The entries do not have that form.
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
            raise InvalidSpace(f"{here}.name", entry["name"], "given only once")
        definition[entry["name"]] = _decoded(entry, here, depth)
    return definition


def _decoded(entry: dict[str, Any], here: str, depth: int) -> Any:
    """Return the group, domain or constant that an entry encodes.

    Args:
        entry: The entry.
        here: The place of the entry, for errors.
        depth: How many groups and choices the entry is inside of, plus 1.
    """
    kind = entry.get("type")
    if not isinstance(kind, str) or kind not in _KEYS:
        raise InvalidSpace(f"{here}.type", kind, f"one of {', '.join(_KEYS)}")
    given = {key: value for key, value in entry.items() if key not in ("name", "type")}
    required, optional = _KEYS[kind]
    for key in given.keys() - required - optional:
        raise InvalidSpace(f"a key of {here}", key, f"one of {', '.join(sorted(required | optional))}")
    for key in required - given.keys():
        raise InvalidSpace(here, entry, f"an object with {key!r}")
    if kind == "group":
        return decode(given["entries"], f"{here}.entries", depth + 1)
    if kind == "constant":
        return given["value"]
    if kind == "choice" and "spaces" in given:
        return _decoded_choice(given, here, depth)
    make: Callable[..., Any] = {"float": Float, "int": Int, "ordinal": Ordinal, "choice": Choice}[kind]
    first = {"ordinal": "values", "choice": "options"}.get(kind)
    return make(given.pop(first), **given) if first else make(**given)


def _decoded_choice(given: dict[str, Any], here: str, depth: int) -> Choice:
    """Return the choice with spaces under its options that an entry encodes.

    Args:
        given: The keys of the entry, except its name and type.
        here: The place of the entry, for errors.
        depth: How many groups and choices the entry is inside of, plus 1.
    """
    labels, spaces = given["options"], given["spaces"]
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise InvalidSpace(f"{here}.options", labels, "a list of labels")
    if not isinstance(spaces, list) or len(spaces) != len(labels) or len(set(labels)) != len(labels):
        raise InvalidSpace(f"{here}.spaces", spaces, "a list with one space for each of the options, which must differ")
    options = {label: decode(space, f"{here}.spaces", depth + 1) for label, space in zip(labels, spaces, strict=True)}
    return Choice(options, fixed=given.get("fixed"))


def first_difference(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> str | None:
    """Return a sentence that names the first difference between two lists of encoded entries, or None.

    Args:
        ours: The entries that the sentence calls "here".
        theirs: The entries that the sentence calls "the other".

    Example:
        >>> lr = {"name": "lr", "type": "float", "low": 0.0, "high": 1.0}
        >>> first_difference([lr], [{**lr, "high": 2.0}])
        "space['lr'].high is 1.0 here, but 2.0 in the other"
    """
    mine, others = dict(_by_path(ours, "")), dict(_by_path(theirs, ""))
    for path, entry in mine.items():
        if path not in others:
            return f"space[{path!r}] is here, but not in the other"
        other = others[path]
        if entry["type"] != other["type"]:
            return f"space[{path!r}] is of type {entry['type']} here, but {other['type']} in the other"
        for key in dict.fromkeys((*entry, *other)):
            # repr distinguishes 1, 1.0 and True; == does not
            here, there = (repr(each[key]) if key in each else "not given" for each in (entry, other))
            if here != there:
                field = "" if key == "value" else f".{key}"
                return f"space[{path!r}]{field} is {here} here, but {there} in the other"
    for path in others:
        if path not in mine:
            return f"space[{path!r}] is in the other, but not here"
    if list(mine) != list(others):
        return f"the order is {', '.join(mine)} here, but {', '.join(others)} in the other"
    return None


def _by_path(entries: list[dict[str, Any]], prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each entry under its flat path, without the entries inside it."""
    for entry in entries:
        path = prefix + entry["name"]
        kind = "choice with spaces" if "spaces" in entry else entry["type"]
        own = {key: value for key, value in entry.items() if key not in ("name", "entries", "spaces")}
        yield path, {**own, "type": kind}
        yield from _by_path(entry.get("entries", []), f"{path}.")
        for label, space in zip(entry.get("options", []), entry.get("spaces", []), strict=False):
            yield from _by_path(space, f"{path}.{label}.")
