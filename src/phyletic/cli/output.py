"""The output of commands: JSON for scripts, aligned columns and times for people."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from typing import Any

import click
import msgspec

from phyletic.records import Budget
from phyletic.records.encodings import encode_number


def echo_json(document: object) -> None:
    """Print records, or what JSON can hold, as JSON that every parser reads."""
    click.echo(json.dumps(_plain(msgspec.to_builtins(document)), indent=2, allow_nan=False, ensure_ascii=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return encode_number(value) if isinstance(value, float) and not math.isfinite(value) else value


def echo_table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[int] = (0,)) -> None:
    """Print aligned columns.

    Args:
        titles: The headings.
        rows: A text for each heading.
        left: The columns to align to the left; the others hold numbers, which align to the right.
    """
    widths = [max(len(row[place]) for row in [titles, *rows]) for place in range(len(titles))]
    for row in [titles, *rows]:
        cells = [
            text.ljust(width) if place in left else text.rjust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        click.echo("  ".join(cells).rstrip())


def moment(seconds: float) -> str:
    """Write a time since 1970 as local date and time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def budget_text(budget: Budget) -> str:
    """Write a budget's limits."""
    limits = {
        "steps of each member": budget.steps,
        "trials": budget.trials,
        "seconds": budget.seconds,
        "as target": budget.target,
        "trials without a new best": budget.patience,
    }
    return ", ".join(f"{limit:.15g} {name}" for name, limit in limits.items() if limit is not None) or "no limit"
