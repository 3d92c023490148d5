"""The first difference between two spaces, for the person who opened a study with the wrong one."""

from __future__ import annotations

from typing import Any

__all__ = ["first_difference"]


def first_difference(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], prefix: str = "") -> str | None:
    """Return a sentence that names the first difference between two lists of encoded entries, or None.

    Example:
        >>> lr = {"name": "lr", "type": "float", "low": 0.0, "high": 1.0}
        >>> first_difference([lr], [{**lr, "high": 2.0}])
        "space['lr'].high is 1.0 here, but 2.0 in the other"
    """
    by_name = {entry["name"]: entry for entry in theirs}
    for entry in ours:
        path = prefix + entry["name"]
        if entry["name"] not in by_name:
            return f"space[{path!r}] is here, but not in the other"
        found = _between(entry, by_name.pop(entry["name"]), path)
        if found is not None:
            return found
    for name in by_name:
        return f"space[{prefix + name!r}] is in the other, but not here"
    order, other = [entry["name"] for entry in ours], [entry["name"] for entry in theirs]
    if order != other:
        return f"the order is {', '.join(order)} here, but {', '.join(other)} in the other"
    return None


def _between(ours: dict[str, Any], theirs: dict[str, Any], path: str) -> str | None:
    if ours["type"] != theirs["type"]:
        return f"space[{path!r}] is of type {ours['type']} here, but {theirs['type']} in the other"
    if ours["type"] == "group":
        return first_difference(ours["entries"], theirs["entries"], f"{path}.")
    for key in dict.fromkeys((*ours, *theirs)):
        if key == "spaces":
            continue
        # repr tells 1, 1.0 and True apart, which == does not.
        if repr(ours.get(key)) != repr(theirs.get(key)):
            field = "" if key == "value" else f".{key}"
            return f"space[{path!r}]{field} is {_shown(ours, key)} here, but {_shown(theirs, key)} in the other"
    if ("spaces" in ours) != ("spaces" in theirs):
        where = "here, but not in the other" if "spaces" in ours else "in the other, but not here"
        return f"space[{path!r}] has spaces under its options {where}"
    spaces = zip(ours["options"], ours["spaces"], theirs["spaces"], strict=True) if "spaces" in ours else ()
    for label, mine, other in spaces:
        found = first_difference(mine, other, f"{path}.{label}.")
        if found is not None:
            return found
    return None


def _shown(entry: dict[str, Any], key: str) -> str:
    return repr(entry[key]) if key in entry else "not given"
