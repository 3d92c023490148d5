"""A space's definition as JSON.

Groups and spaces under options are lists of entries, not objects, because the order of the parameters is part of a
space, and stores of JSON may reorder the keys of objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from phyletic.space.values import plain

__all__ = ["encode"]


def encode(definition: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the entries of a valid definition, each with its name and type.

    Example:
        >>> encode({"optimizer": {"nesterov": True}})
        [{'name': 'optimizer', 'type': 'group', 'entries': [{'name': 'nesterov', 'type': 'constant', 'value': True}]}]
    """
    entries: list[dict[str, Any]] = []
    for key, item in definition.items():
        name = plain(key)
        if isinstance(item, Mapping):
            entries.append({"name": name, "type": "group", "entries": encode(item)})
        elif hasattr(item, "to_json"):
            entries.append({"name": name, **item.to_json()})
        else:
            entries.append({"name": name, "type": "constant", "value": plain(item)})
    return entries
