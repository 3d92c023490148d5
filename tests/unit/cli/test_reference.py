"""Every command has help, which loads fast, and docs/cli.md has the same text."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from phyletic.cli.reference import commands, reference

COMMANDS = list(commands())
DOCUMENT = Path(__file__).parents[3] / "docs" / "cli.md"


@pytest.mark.parametrize(("name", "command", "context"), COMMANDS, ids=[name for name, *_ in COMMANDS])
def test_every_command_and_option_is_explained(name: str, command: click.Command, context: click.Context) -> None:
    assert command.help, name
    assert "Example: phyletic " in (command.epilog or ""), name
    assert name == "phyletic" or command.short_help, name
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Option):
            record = parameter.get_help_record(context)
            assert record is not None, (name, parameter.name)
            assert record[1].strip(), (name, parameter.name)
        else:
            assert parameter.human_readable_name.split(":")[-1] in command.help, (name, parameter.name)


@pytest.mark.parametrize(("name", "command", "context"), COMMANDS, ids=[name for name, *_ in COMMANDS])
def test_every_command_and_option_is_documented(name: str, command: click.Command, context: click.Context) -> None:
    text = DOCUMENT.read_text()
    assert f"\n## {name}\n" in text
    section = text.split(f"\n## {name}\n")[1].split("\n## ")[0]
    for parameter in command.get_params(context):
        for option in parameter.opts if isinstance(parameter, click.Option) else ():
            assert f"`{option}" in section or f", {option}" in section, (name, option)


def test_the_document_is_up_to_date() -> None:
    assert DOCUMENT.read_text() == reference(), "run: python -m phyletic.cli.reference > docs/cli.md"


def test_help_imports_nothing_heavy() -> None:
    code = """
import sys
from click.testing import CliRunner
from phyletic.cli import main
assert CliRunner().invoke(main, ["--help"]).exit_code == 0
heavy = {"numpy", "sqlalchemy", "rich", "torch", "sklearn", "matplotlib", "pandas", "psutil", "cloudpickle"}
print(sorted(heavy & set(sys.modules)))
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
