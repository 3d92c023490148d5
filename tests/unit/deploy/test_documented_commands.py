"""The commands that docs/clusters.md shows work as they are printed."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from phyletic.cli import main

TEXT = (Path(__file__).parents[3] / "docs" / "clusters.md").read_text()
SCRIPTS = [re.sub(r"\\\n\s*", "", code) for code in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)]
COMMANDS = [
    line.partition(" > ")[0]
    for code in SCRIPTS
    for line in code.splitlines()
    if line.startswith(("phyletic slurm", "phyletic kubernetes"))
]


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_shell_reads_what_is_printed(script: str) -> None:
    subprocess.run(["bash", "-n"], input=script.encode(), check=True)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_works_as_it_is_printed(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, shlex.split(command)[1:])
    assert result.exit_code == 0, result.output
    # the commands that follow are those of the document
    follow = [line.strip() for line in result.output.splitlines() if line.strip().startswith("kubectl create")]
    assert all(line in TEXT for line in follow)


def test_both_commands_are_shown() -> None:
    assert len(COMMANDS) == 3
