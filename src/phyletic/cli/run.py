"""``phyletic run``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any, Literal

import click

from phyletic.cli.shared_options import setting
from phyletic.errors import InvalidArgument

_FORM = "not of the form MODULE:NAME, such as train.py:study"


def split_reference(text: str) -> tuple[str, str]:
    """Split ``package.module:name``, ``folder/file.py:name`` or ``name`` into the module, or "", and the name."""
    module, _, name = text.rpartition(":")
    if not all(part.isidentifier() for part in name.split(".")):
        raise click.BadParameter(f"{text!r} is {_FORM}")
    return module, name


@click.command(
    short_help="Run a study that Python code defines.",
    epilog="Example: phyletic run train.py:study train.py:train --workers 2",
)
@click.argument("study", type=split_reference, metavar="MODULE:STUDY")
@click.argument("train", type=split_reference, metavar="MODULE:FUNCTION")
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    help="Local processes; 0 trains in this one.  [default: one for each device, or 0]",
)
@click.option(
    "--devices", metavar="LIST", help="GPUs that workers get in turn: 0,1 is one for each, 0+1,2+3 is two for each."
)
@setting(
    "--reload",
    click.Choice(["changed", "always"]),
    "changed",
    "When a trial's parent is loaded: if it is not in memory, or for every trial.",
)
@click.option("-v", "--verbose", is_flag=True, help="Print a line for every trial.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
def run(
    study: tuple[str, str],
    train: tuple[str, str],
    workers: int | None,
    devices: str | None,
    reload: Literal["changed", "always"],
    verbose: bool,
    quiet: bool,
) -> None:
    """Run a study that Python code defines, until its budget is used up.

    MODULE:STUDY names a Study, MODULE:FUNCTION the training code, which is called with a source of trials. MODULE is
    a module's name or a .py file; it is imported, so the study must not be run by the module itself. FUNCTION may
    stand alone if it is in the same module.
    """
    from phyletic.study.study import Study

    if verbose and quiet:
        raise click.UsageError("--verbose and --quiet exclude each other")
    if not study[0]:
        raise click.BadParameter(f"{study[1]!r} is {_FORM}", param_hint="MODULE:STUDY")
    gpus = None if devices is None else parse_devices(devices)
    found = load(*study)
    if not isinstance(found, Study):
        raise InvalidArgument("MODULE:STUDY", found, "a phyletic.Study")
    function = load(train[0] or study[0], train[1])
    if not callable(function):
        raise InvalidArgument("MODULE:FUNCTION", function, "a function of one argument, the source of trials")
    found.run(function, workers=workers, devices=gpus, reload=reload, verbose=0 if quiet else 2 if verbose else 1)


def load(module: str, name: str) -> Any:
    """Import a module, or a ``.py`` file, and return what it calls ``name``.

    Raises:
        InvalidArgument: The module does not exist, or does not define that name.
    """
    place = Path.cwd()
    imported = module
    if module.endswith(".py"):
        path = Path(module).resolve()
        if not path.is_file():
            raise InvalidArgument("MODULE", module, "a .py file that exists, or a module's name")
        place, imported = path.parent, path.stem
    # python file.py and python -m module do the same; workers get this path
    if str(place) not in sys.path:
        sys.path.insert(0, str(place))
    try:
        found: Any = importlib.import_module(imported)
    except ModuleNotFoundError as error:
        if error.name is None or not (imported + ".").startswith(error.name + "."):
            raise
        raise InvalidArgument("MODULE", module, f"a module that can be imported from {place}, or a .py file") from None
    for part in name.split("."):
        if not hasattr(found, part):
            raise InvalidArgument("NAME", name, f"a name that {module} defines")
        found = getattr(found, part)
    return found


def parse_devices(text: str) -> list[Any]:
    """Return the devices of each worker in turn.

    Raises:
        InvalidArgument: A place between commas is empty.

    Example:
        >>> parse_devices("0,1"), parse_devices("0+1,2+3")
        (['0', '1'], [['0', '1'], ['2', '3']])
    """
    groups = [group.split("+") for group in text.replace(" ", "").split(",")]
    if any(not device for group in groups for device in group):
        raise InvalidArgument("--devices", text, "a list such as 0,1 or 0+1,2+3")
    return [group[0] if len(group) == 1 else group for group in groups]
