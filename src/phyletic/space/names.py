"""Check names of parameters, and suggest the nearest one for an unknown name."""

from __future__ import annotations

from collections.abc import Iterable

from phyletic.errors import InvalidSpace
from phyletic.space.values import plain, storable

_LONGEST = 200


def check_name(where: str, name: object) -> str:
    """Check a parameter's, group's or option's name.

    Args:
        where: The group or choice that has the name, for the error.
        name: The name.

    Returns:
        The name as plain text.

    Raises:
        InvalidSpace: The name is not text, is empty or too long, or holds a dot or a control character.
    """
    name = plain(name)
    if (
        not isinstance(name, str)
        or not 0 < len(name) <= _LONGEST
        or "." in name
        or any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in name)
        or not storable(name)
    ):
        allowed = f"text of 1 to {_LONGEST} characters without dots or control characters"
        raise InvalidSpace(f"a name in {where}", name, allowed)
    return name


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question with the nearest known name, or "" if no name is near.

    Example:
        >>> did_you_mean("learning_rat", ["learning_rate", "momentum"])
        "Did you mean 'learning_rate'?"
    """
    from difflib import get_close_matches

    # People remember the last part of a path: "momentum" is near "optimizer.sgd.momentum".
    everyone = list(known)
    parts = {path.rpartition(".")[2]: path for path in reversed(everyone)}
    near = get_close_matches(name, everyone, 1, 0.6) or [
        parts[part] for part in get_close_matches(name.rpartition(".")[2], list(parts), 1, 0.6)
    ]
    return f"Did you mean {near[0]!r}?" if near else ""


def unknown(name: object, known: Iterable[str]) -> InvalidSpace:
    """Return the error for a name that is not among the names that the space has."""
    everyone = list(known)
    listed = ", ".join(everyone[:20]) + (", ..." if len(everyone) > 20 else "")
    allowed = f"one of the space's: {listed}" if everyone else "left out: the space is empty"
    return InvalidSpace("parameter", name, allowed, did_you_mean(str(name), everyone))
