"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

__all__ = ["json_option", "output_option", "storage_option", "trial_option"]

F = TypeVar("F", bound=Callable[..., Any])


def storage_option(command: F) -> F:
    """Add ``--storage``, which the environment may give."""
    return click.option(
        "--storage",
        required=True,
        envvar="PHYLETIC_STORAGE",
        show_envvar=True,
        metavar="URL",
        help="Where studies are stored: sqlite:///FILE, or a path that ends in .db.",
    )(command)


def json_option(command: F) -> F:
    """Add ``--json``."""
    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        help='Print JSON for scripts; numbers that are not finite are the texts "NaN", "Infinity" and "-Infinity".',
    )(command)


def output_option(holds: str) -> Callable[[F], F]:
    """Add ``--output``, the folder of a demo, whose help says what it ``holds``."""
    return click.option(
        "--output",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path("phyletic-demo"),
        show_default=True,
        help=f"Folder for {holds}.",
    )


def trial_option(command: F) -> F:
    """Add ``--trial``."""
    return click.option(
        "--trial",
        type=click.IntRange(min=0),
        metavar="N",
        help="Number of the trial whose lineage it is.  [default: the best trial]",
    )(command)
