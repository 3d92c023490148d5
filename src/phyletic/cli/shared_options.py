"""The options that several commands share, and the study that most of them name."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from phyletic.errors import NotFound

if TYPE_CHECKING:
    from phyletic.study.study import Study

F = TypeVar("F", bound=Callable[..., Any])


def setting(name: str, kind: click.ParamType[Any] | type, default: object, meaning: str) -> Callable[[F], F]:
    """Add an option whose help shows its default.

    Args:
        name: Such as ``--workers``.
        kind: The type of its value.
        default: Its value if it is not given.
        meaning: Its help.
    """
    return click.option(name, type=kind, default=default, show_default=True, help=meaning)


def training_options(command: F) -> F:
    """Add the options that say where training code runs, and when it loads."""
    reload = "When a trial's parent is loaded: if it is not in memory, or for every trial."
    upload = "When a checkpoint is published: before its trial is told, or while the worker trains another trial."
    command = setting("--upload", click.Choice(["before_tell", "background"]), "before_tell", upload)(command)
    command = setting("--reload", click.Choice(["changed", "always"]), "changed", reload)(command)
    devices = "GPUs that workers get in turn: 0,1 is one for each, 0+1,2+3 is two for each."
    command = click.option("--devices", metavar="LIST", help=devices)(command)
    workers = "Local processes; 0 trains in this one.  [default: one for each device, or 0]"
    return click.option("--workers", type=click.IntRange(min=0), help=workers)(command)


class FiniteRange(click.FloatRange):
    """A range of finite numbers; click's own range accepts NaN."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number, or fail unless it is finite.

        Args:
            value: The value given.
            param: The parameter, for the error; None if unknown.
            ctx: The context, for the error; None if unknown.
        """
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no finite number.", param, ctx)
        return number


def storage_option(
    command: F,
    *,
    required: bool = True,
    meaning: str = "Where studies are stored: sqlite:///FILE, or a path that ends in .db.",
) -> F:
    """Add ``--storage``; the environment variable ``PHYLETIC_STORAGE`` replaces it.

    Args:
        command: The command.
        required: Whether the command needs it.
        meaning: Its help.
    """
    return click.option(
        "--storage", required=required, envvar="PHYLETIC_STORAGE", show_envvar=True, metavar="URL", help=meaning
    )(command)


def json_option(command: F) -> F:
    """Add ``--json``."""
    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        help='Print JSON for scripts; numbers that are not finite are the texts "NaN", "Infinity" and "-Infinity".',
    )(command)


def study_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add STUDY and ``--storage``, and pass the command the study, opened to read it.

    Opening writes nothing, so the study may be running. The command raises NotFound if the storage does not exist, or
    holds no study of that name; the message lists those it holds.
    """

    @functools.wraps(command)
    def run(study: str, storage: str, **given: Any) -> Any:
        return command(study=stored_study(study, storage), **given)

    return click.argument("study")(storage_option(run))


def stored_study(name: str, storage: str) -> Study:
    """Open a stored study, which writes nothing.

    Raises:
        NotFound: The storage does not exist, or holds no study of that name; the message lists those it holds.
    """
    from phyletic.study.study import Study, studies

    names = [identity.name for identity in studies(storage)]
    if name not in names:
        held = f"it holds: {', '.join(names)}" if names else "it holds none"
        raise NotFound(f"there is no study {name!r} in {storage}; {held}")
    return Study(name, storage=storage)
