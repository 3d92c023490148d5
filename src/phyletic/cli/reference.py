"""Write the reference of the command line: ``python -m phyletic.cli.reference > docs/cli.md``."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from phyletic.cli.group import main

_INTRODUCTION = """# Command line

`phyletic` runs studies and shows what they found. Commands that read a study can be used while it runs.

An error is one line on standard error with exit code 1; wrong usage has exit code 2. `phyletic --debug COMMAND` shows
tracebacks. Progress is written to standard error, results to standard output, so that results can be piped.
"""


def commands(
    command: click.Command = main, context: click.Context | None = None
) -> Iterator[tuple[str, click.Command, click.Context]]:
    """Yield a command and all commands below it, each with its full name and the context to ask it in."""
    if context is None:
        context = click.Context(command, info_name="phyletic", terminal_width=100, **command.context_settings)
    yield context.command_path, command, context
    if not isinstance(command, click.Group):
        return
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from commands(found, click.Context(found, info_name=name, parent=context))


def reference() -> str:
    """Return the reference as Markdown."""
    parts = [_INTRODUCTION]
    for name, command, context in commands():
        parts.append(
            f"## {name}\n\n{inspect.cleandoc(command.help or '')}\n\n```text\n{command.get_usage(context)}\n```\n"
        )
        rows = [
            record
            for parameter in command.get_params(context)
            if isinstance(parameter, click.Option) and (record := parameter.get_help_record(context)) is not None
        ]
        table = "\n".join(f"| `{_cell(option)}` | {_cell(text)} |" for option, text in rows)
        parts.append(f"| option | meaning |\n| --- | --- |\n{table}\n")
        if command.epilog:
            example = command.epilog.removeprefix("Example: ")
            parts.append(f"```sh\n{example}\n```\n")
    return "\n".join(parts)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    print(reference(), end="")
