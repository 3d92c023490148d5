"""The group of commands: loaded on use, with errors as one line."""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Mapping
from typing import Any

import click

from phyletic.errors import PhyleticError
from phyletic.version import __version__


class CommandGroup(click.Group):
    """A group that imports a command's module when the command is asked for.

    Args:
        modules: By a command's name, the module that holds a click command of that name.
        **settings: As of :class:`click.Group`.
    """

    def __init__(self, *, modules: Mapping[str, str] | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self._modules = dict(modules or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands' names, in the order they were given."""
        return list(self._modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; None if no command has that name."""
        if cmd_name not in self._modules:
            return None
        command: click.Command = getattr(importlib.import_module(self._modules[cmd_name]), cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an error ends as one line on standard error and exit code 1, unless ``--debug`` is given."""
        if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
            # a file's name need not be Unicode; the escapes written instead are also JSON's
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if ctx.params.get("debug"):
                raise
            if isinstance(error, BrokenPipeError):
                # the reader of the output has gone (``| head``), so nothing more may be flushed into the pipe
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                ctx.exit(1)
            text = str(error)
            if not isinstance(error, PhyleticError):
                text = f"{type(error).__name__}: {text} (phyletic --debug shows where)"
            click.echo(f"error: {text}", err=True)
            ctx.exit(1)


@click.group(
    cls=CommandGroup,
    modules={
        "demo": "phyletic.cli.demo",
        "run": "phyletic.cli.run",
        **dict.fromkeys(("studies", "show"), "phyletic.cli.status"),
        **dict.fromkeys(("best", "schedule"), "phyletic.cli.results"),
        "export": "phyletic.cli.export",
        "plot": "phyletic.cli.plot",
        **dict.fromkeys(("resize", "pause", "resume", "stop", "budget", "pin", "delete"), "phyletic.cli.control"),
        **dict.fromkeys(("serve", "worker", "up"), "phyletic.cli.service"),
        "slurm": "phyletic.cli.slurm",
        "kubernetes": "phyletic.cli.kubernetes",
        "simulate": "phyletic.cli.simulate",
        "token": "phyletic.cli.token",
        "doctor": "phyletic.cli.doctor",
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: phyletic demo --members 8 --rounds 20 --workers 2",
)
@click.version_option(__version__, prog_name="phyletic", help="Show the version and exit.")
@click.option("--debug", is_flag=True, envvar="PHYLETIC_DEBUG", show_envvar=True, help="Show tracebacks of errors.")
def main(debug: bool) -> None:
    """Population based training: train a population, find the schedule and the best model at once."""
