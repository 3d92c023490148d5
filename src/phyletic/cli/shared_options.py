"""Options that several commands have, and the study that most of them name."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from phyletic.disk import local_path
from phyletic.errors import InvalidArgument, NotFound

if TYPE_CHECKING:
    from phyletic.study.study import Study

__all__ = ["FiniteRange", "json_option", "make_output", "open_study", "output_option", "storage_option", "trial_option"]

F = TypeVar("F", bound=Callable[..., Any])


class FiniteRange(click.FloatRange):
    """A range of finite numbers; click's own lets NaN through, which is neither below nor above."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no finite number.", param, ctx)
        return number


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


def trial_option(command: F) -> F:
    """Add ``--trial``."""
    return click.option(
        "--trial",
        type=click.IntRange(min=0),
        metavar="N",
        help="Number of the trial whose lineage it is.  [default: the best trial]",
    )(command)


def output_option(holds: str) -> Callable[[F], F]:
    """Add ``--output``, the folder of a demo, whose help says what it ``holds``."""
    return click.option(
        "--output",
        default="phyletic-demo",
        callback=lambda context, option, given: local_path("--output", given, "the name of a folder"),
        metavar="DIRECTORY",
        show_default=True,
        help=f"Folder for {holds}.",
    )


def make_output(output: Path) -> None:
    """Make the folder of ``--output`` unless it exists.

    Raises:
        InvalidArgument: It cannot be made.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidArgument("--output", str(output), f"a folder that can be made ({error.strerror})") from error


def open_study(name: str, storage: str) -> Study:
    """Open a study to read it; opening writes nothing, so the study may be running.

    Raises:
        NotFound: The storage does not exist, or holds no study of that name; the message lists those it holds.
    """
    from phyletic.study.study import Study, studies

    names = [identity.name for identity in studies(storage)]
    if name not in names:
        held = f"it holds: {', '.join(names)}" if names else "it holds none"
        raise NotFound(f"there is no study {name!r} in {storage}; {held}")
    return Study(name, storage=storage)
