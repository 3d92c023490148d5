"""Write plain values as YAML that a person reads; no library is needed for so little."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

Plain = Mapping[str, "Plain"] | list["Plain"] | tuple["Plain", ...] | str | int | bool

_SAFE = re.compile(r"[A-Za-z/][\w./@-]*(?::[\w./@-]+)*", re.ASCII)
"""Texts that mean themselves without quotes; a colon needs something other than a blank after it."""
_OTHER = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null", "none", "nan", "inf"})
"""Texts that some reader of YAML takes for something else."""


def yaml_text(value: Plain) -> str:
    r"""Return a document of mappings, lists, texts, whole numbers and booleans as YAML.

    Args:
        value: The document. Texts hold printable characters and line breaks.

    Example:
        >>> print(yaml_text({"name": "digits", "on": ["a: b", 8], "none": {}}), end="")
        name: digits
        "on":
          - "a: b"
          - 8
        "none": {}
    """
    return "\n".join(_lines(value)) + "\n"


def _lines(value: Plain) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            if isinstance(item, (Mapping, list, tuple)) and item:
                yield f"{_scalar(key)}:"
                yield from (f"  {line}" for line in _lines(item))
            else:
                yield f"{_scalar(key)}: {_scalar(item)}"
    elif isinstance(value, (list, tuple)) and value:
        for item in value:
            first, *others = _lines(item)
            yield f"- {first}"
            yield from (f"  {line}" for line in others)
    else:
        yield _scalar(value)


def _scalar(value: Plain) -> str:
    if isinstance(value, str):
        plain = _SAFE.fullmatch(value) and value.lower() not in _OTHER
        # JSON's texts are YAML's too
        return value if plain else json.dumps(value, ensure_ascii=False)
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else json.dumps(value)
