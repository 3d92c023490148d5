"""Crossed first values: every combination of some values of some hyperparameters."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from phyletic.errors import InvalidArgument

_MOST = 1_000_000


def grid(values: Mapping[str, Sequence[Any]] | None = None, /, **named: Sequence[Any]) -> list[dict[str, Any]]:
    """Return every combination of some values, for ``Study(initial=...)``; what a row leaves out is sampled.

    Args:
        values: The values of each hyperparameter by path, for paths that cannot be keywords (``"optimizer.lr"``).
        **named: The values of each hyperparameter by name; the first varies slowest.

    Returns:
        A dictionary for each combination.

    Raises:
        InvalidArgument: The values of a name are not a list, or there are more than a million combinations.

    Example:
        >>> grid(h0=[0, 1], h1=[0, 1])
        [{'h0': 0, 'h1': 0}, {'h0': 0, 'h1': 1}, {'h0': 1, 'h1': 0}, {'h0': 1, 'h1': 1}]
    """
    if values is not None and not isinstance(values, Mapping):
        raise InvalidArgument("values", values, "a dictionary from paths to lists of values")
    axes = {**(values or {}), **named}
    count = 1
    for path, axis in axes.items():
        if not isinstance(path, str):
            raise InvalidArgument("values", path, "the path of a hyperparameter")
        shown = path if path.isidentifier() else f"values[{path!r}]"
        if isinstance(axis, (str, bytes)) or not isinstance(axis, Sequence) or not axis:
            raise InvalidArgument(shown, axis, "a list of at least one value")
        count *= len(axis)
        if count > _MOST:
            raise InvalidArgument(shown, f"a list of {len(axis)}", f"short enough for at most {_MOST:,} combinations")
    return [dict(zip(axes, row, strict=True)) for row in itertools.product(*axes.values())]
