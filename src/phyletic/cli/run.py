"""``phyletic run``."""

from __future__ import annotations

import functools
import importlib
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
from click.core import ParameterSource

from phyletic.cli.shared_options import storage_option, stored_study, training_options
from phyletic.errors import InvalidArgument

if TYPE_CHECKING:
    from phyletic.study.study import Study

_FORM = "not of the form MODULE:NAME, such as train.py:study"


def split_reference(text: str) -> tuple[str, str]:
    """Split ``package.module:name``, ``folder/file.py:name`` or ``name`` into the module, or "", and the name."""
    module, _, name = text.rpartition(":")
    if not all(part.isidentifier() for part in name.split(".")):
        raise click.BadParameter(f"{text!r} is {_FORM}")
    return module, name


@click.command(
    short_help="Run a study with your training code, or with a command for each trial.",
    epilog="Example: phyletic run train.py:study train.py:train --workers 2",
)
@click.argument("study", metavar="MODULE:STUDY")
@click.argument("train", type=split_reference, metavar="MODULE:FUNCTION", required=False)
@click.option(
    "--command",
    metavar="TEXT",
    help="In place of the function: a program and its arguments, run once for each trial. No shell reads it.",
)
@functools.partial(
    storage_option,
    required=False,
    meaning="Where a stored study is; then its name stands in the place of MODULE:STUDY.",
)
@training_options
@click.option("-v", "--verbose", is_flag=True, help="Print a line for every trial.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
def run(
    study: str,
    train: tuple[str, str] | None,
    command: str | None,
    storage: str | None,
    workers: int | None,
    devices: str | None,
    reload: Literal["changed", "always"],
    upload: Literal["before_tell", "background"],
    verbose: bool,
    quiet: bool,
) -> None:
    """Run a study with your training code, or with a command for each trial, until its budget is used up.

    MODULE:STUDY names a Study, MODULE:FUNCTION the training code, which is called with a source of trials. MODULE is
    a module's name or a .py file; it is imported, so the module itself must run the study only under
    if __name__ == "__main__". FUNCTION may stand alone if it is in the same module.

    With --storage, MODULE:STUDY is the name of a stored study. With --command, no function is given: one process of
    the command runs each trial. It finds its job in the JSON file that the environment variable PHYLETIC_JOB names, or
    in arguments such as {lr} and {load_from}; the user's guide has the contract.
    """
    if verbose and quiet:
        raise click.UsageError("--verbose and --quiet exclude each other")
    if (train is None) == (command is None):
        raise click.UsageError("give either MODULE:FUNCTION or --command")
    argv = None if command is None else split_command(command)
    gpus = None if devices is None else parse_devices(devices)
    began = time.time()
    found, module = find_study(study, storage)
    function = None
    if train is not None:
        if not (train[0] or module):
            raise click.BadParameter(f"{train[1]!r} is {_FORM}", param_hint="MODULE:FUNCTION")
        function = load(train[0] or module, train[1])
        if not callable(function):
            raise InvalidArgument("MODULE:FUNCTION", function, "a function of one argument, the source of trials")
    if module:
        check_not_run_by_import(found, study, began)
    level = 0 if quiet else 2 if verbose else 1
    if found.database.private and not quiet:
        text = 'is in memory, so its results end with this process: ph.Study(..., storage="study.db") keeps them'
        click.echo(f"study {found.name!r} {text}", err=True)
    try:
        found.run(function, command=argv, workers=workers, devices=gpus, reload=reload, upload=upload, verbose=level)
    except KeyboardInterrupt:
        # click would end with 1, and a batch system tells by 130 that the job was interrupted
        raise SystemExit(130) from None


def find_study(text: str, storage: str | None) -> tuple[Study, str]:
    """Return a study, and the module that defines it; "" for a stored one.

    Args:
        text: ``MODULE:STUDY``, or the name of a stored study.
        storage: Where it is stored; None if it was not said. If only the environment says so, text of the form
            ``MODULE:STUDY`` is a reference all the same.

    Raises:
        InvalidArgument: The module does not exist, or defines no study of that name.
        NotFound: The storage holds no study of that name.
    """
    from phyletic.study.study import Study

    context = click.get_current_context()
    said = context.get_parameter_source("storage") is ParameterSource.COMMANDLINE
    if storage is not None and (said or ":" not in text):
        return stored_study(text, storage), ""
    if ":" not in text:
        hint = "; the name of a stored study needs --storage"
        raise click.BadParameter(f"{text!r} is {_FORM}{hint}", param_hint="MODULE:STUDY")
    module, name = split_reference(text)
    found = load(module, name)
    if not isinstance(found, Study):
        raise InvalidArgument("MODULE:STUDY", found, "a phyletic.Study")
    return found, module


def check_not_run_by_import(study: Study, reference: str, began: float) -> None:
    """Raise InvalidArgument if the import of a module has run the module's study to its end.

    Args:
        study: The study.
        reference: ``MODULE:STUDY``.
        began: When the import began, in seconds since 1970.
    """
    from phyletic.study.status import details_of

    details = details_of(study, 1)
    if details.status.state == "finished" and max(trial.finished or 0.0 for trial in details.members) >= began:
        raise InvalidArgument(
            "MODULE:STUDY",
            reference,
            "a study that its module only defines",
            'The module ran its study when it was imported: put study.run under if __name__ == "__main__"',
        )


def split_command(text: str) -> list[str]:
    """Split a command into a program and its arguments as a shell would; no shell sees it.

    Raises:
        InvalidArgument: A quotation has no end, or nothing is left.

    Example:
        >>> split_command("python train.py --note 'two words'")
        ['python', 'train.py', '--note', 'two words']
    """
    try:
        argv = shlex.split(text)
    except ValueError as error:
        raise InvalidArgument("--command", text, f"a command in shell notation ({error})") from None
    if not argv:
        raise InvalidArgument("--command", text, "a program and its arguments, such as 'python train.py'")
    return argv


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
