"""The worker that a scheduler starts: its arguments, checked, and its command line; what must not be in either."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click
import msgspec

from phyletic.cli.run import split_command, split_reference
from phyletic.credentials import require_protected, server_url
from phyletic.errors import InvalidArgument

F = TypeVar("F", bound=Callable[..., Any])

_SECRET = re.compile(r"PHYLETIC_TOKEN\s*[=:]")


class WorkerCommand(msgspec.Struct, frozen=True):
    """What ``phyletic worker`` is told.

    Attributes:
        url: The server.
        study: The study.
        train: ``MODULE:FUNCTION``; "" for a command.
        command: The command for each trial; None for a function.
        checkpoints: Where the worker sees the folder of checkpoints; None if it gets them from the server.
    """

    url: str
    study: str
    train: str
    command: str | None = None
    checkpoints: str | None = None

    def argv(self, *more: str) -> list[str]:
        """Return the command line.

        Args:
            *more: Further options.

        Example:
            >>> WorkerCommand("grpcs://head:7070", "digits", "train.py:train").argv("--requeue")
            ['phyletic', 'worker', '--requeue', 'grpcs://head:7070', 'digits', 'train.py:train']
        """
        options = list(more)
        if self.command is not None:
            options += [f"--command={self.command}"]
        if self.checkpoints is not None:
            options += [f"--checkpoints={self.checkpoints}"]
        named = [self.url, self.study, *([self.train] if self.train else [])]
        return [
            "phyletic",
            "worker",
            *options,
            *(["--"] if any(text.startswith("-") for text in named) else []),
            *named,
        ]


class NoTokenCommand(click.Command):
    """A command that refuses ``--token`` with what to do instead, and does not repeat the token."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse ``--token``, then parse the arguments as any command does.

        Args:
            ctx: The context.
            args: The arguments.
        """
        if any(argument == "--token" or argument.startswith("--token=") for argument in args):
            raise _token_refused("--token")
        return super().parse_args(ctx, args)


def refuse_tokens(name: str, texts: Iterable[str]) -> None:
    """Raise InvalidArgument if one of some texts sets PHYLETIC_TOKEN; the message does not repeat it.

    Args:
        name: The option that has the texts.
        texts: Lines or settings that a file would hold.
    """
    if any(_SECRET.search(text) for text in texts):
        raise _token_refused(name)


def _token_refused(name: str) -> InvalidArgument:
    hint = (
        "Arguments and job files can be read by others: on Slurm, set PHYLETIC_TOKEN_FILE where you call sbatch; on "
        "Kubernetes, the token is in a Secret"
    )
    return InvalidArgument(name, "...", "without a token", hint)


def worker_arguments(*, required: bool = True) -> Callable[[F], F]:
    """Add URL, STUDY, MODULE:FUNCTION and the options that say what a worker runs.

    Args:
        required: Whether URL and STUDY are.
    """
    command = "In place of the function: a program, run once for each trial."

    def add(function: F) -> F:
        for decorate in (
            click.option("--checkpoints", metavar="FOLDER", help="Where the workers see the folder of checkpoints."),
            click.option("--command", metavar="TEXT", help=command),
            click.argument("train", type=split_reference, metavar="MODULE:FUNCTION", required=False),
            click.argument("study", required=required),
            click.argument("url", metavar="URL", required=required),
        ):
            function = decorate(function)
        return function

    return add


def checked_worker(
    url: str, study: str, train: tuple[str, str] | None, command: str | None, checkpoints: str | None
) -> WorkerCommand:
    """Return what a worker is told, once it is known to be good; nothing is imported, and no server asked.

    Args:
        url: The server, with TLS or on loopback.
        study: The study.
        train: Module and name of the training code.
        command: The command for each trial.
        checkpoints: The folder of checkpoints.

    Raises:
        InvalidArgument: One of them cannot be used.
    """
    from phyletic.study.identity import check_name

    if (train is None) == (command is None):
        raise click.UsageError("give either MODULE:FUNCTION or --command")
    if train is not None and (not train[0] or not train[0].isprintable()):
        raise click.BadParameter(f"{':'.join(train)!r} has no module", param_hint="MODULE:FUNCTION")
    require_protected(server_url(url, "URL"), "URL")
    try:
        check_name(study)
    except InvalidArgument as error:
        raise InvalidArgument("STUDY", study, error.allowed) from None
    if command is not None:
        split_command(command)
    for name, text in (("--command", command), ("--checkpoints", checkpoints)):
        if text is not None and not (text.isprintable() and text.strip()):
            raise InvalidArgument(name, text, "one line of printable characters")
    refuse_tokens("--command", [command or ""])
    return WorkerCommand(url, study, ":".join(train or ()), command, checkpoints)
