"""Hyperparameters as training code reads them, noting what was read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from phyletic.records import Value
from phyletic.space.paths import lookup

__all__ = ["ReadHyperparameters"]


class ReadHyperparameters(Mapping[str, Value]):
    """A trial's values by flat path, which remembers the paths that were read.

    ``trial["lr"]`` reads one value; the path of a group (``trial["optimizer"]``) reads all below it, as a nested
    dictionary.

    Args:
        values: Values by flat path.

    Example:
        >>> read = ReadHyperparameters({"lr": 0.1, "optimizer.momentum": 0.9})
        >>> read["optimizer"], sorted(read.paths)
        ({'momentum': 0.9}, ['optimizer.momentum'])
    """

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = dict(values)
        self.paths: set[str] = set()

    def __getitem__(self, path: str) -> Any:
        if path in self._values:
            self.paths.add(path)
            return self._values[path]
        found = lookup(self._values, path)
        self.paths.update(known for known in self._values if known.startswith(f"{path}."))
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)
