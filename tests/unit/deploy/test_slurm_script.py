"""The batch script of ``phyletic slurm`` is one that bash and sbatch read as it is meant, whatever is in it."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from phyletic.cli import main
from phyletic.cli.slurm import SlurmJob, batch_script
from phyletic.cli.worker_command import WorkerCommand

WORKER = ["grpcs://head:7070", "digits", "train.py:train"]
SECRET = "w0rk3r-s3cr3t"


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["slurm", *arguments])


def options(script: str) -> dict[str, str]:
    lines = [line.removeprefix("#SBATCH --") for line in script.splitlines() if line.startswith("#SBATCH ")]
    return {line.partition("=")[0]: line.partition("=")[2] for line in lines}


def executed(script: str) -> list[str]:
    """Return the arguments that bash passes to the program which the script executes."""
    # arguments end in zero bytes, which no argument holds
    stub = 'phyletic() { printf \'%s\\0\' "$@"; }; export -f phyletic\nexec() { "$@"; }\n'
    done = subprocess.run(["bash"], input=(stub + script).encode(), capture_output=True, check=True)
    return [part.decode() for part in done.stdout.split(b"\0")[:-1]]


def test_the_script_asks_slurm_for_all_that_a_worker_needs() -> None:
    made = call(*WORKER, "--workers", "8", "--gpus", "1", "--time", "4:00:00", "--cpus", "4", "--memory", "16G",
                "--partition", "long", "--account", "me", "--sbatch", "--constraint=a100",
                "--setup", "source venv/bin/activate")  # fmt: skip
    assert made.exit_code == 0, made.output
    assert options(made.output) == {
        "job-name": "digits", "array": "0-7", "requeue": "", "open-mode": "append", "signal": "B:USR1@90",
        "output": "%x-%A_%a.log", "gres": "gpu:1", "time": "4:00:00", "cpus-per-task": "4", "mem": "16G",
        "partition": "long", "account": "me", "constraint": "a100",
    }  # fmt: skip
    lines = made.output.splitlines()
    assert lines[0] == "#!/bin/bash"
    assert lines[-1] == "exec phyletic worker --requeue --grace=80 grpcs://head:7070 digits train.py:train"
    assert lines.index("source venv/bin/activate") < len(lines) - 1
    # sbatch reads no options after the first command
    assert all(line.startswith("#") for line in lines[: max(map(lines.index, lines)) + 1] if "SBATCH" in line)
    assert subprocess.run(["bash", "-n"], input=made.output.encode(), check=True).returncode == 0


def test_what_the_script_executes_is_a_command_of_the_package() -> None:
    made = call(*WORKER[:2], "--command", "python 'my train.py' --lr {lr}", "--checkpoints", "/shared/a b")
    outer = click.Context(main, **main.context_settings)
    command = main.get_command(outer, "worker")
    assert command is not None
    name, *arguments = executed(made.output)
    assert name == "worker"
    with command.make_context(name, arguments, parent=outer) as context:
        assert context.params["command"] == "python 'my train.py' --lr {lr}"
        assert context.params["checkpoints"] == "/shared/a b"
        assert (context.params["study"], context.params["requeue"]) == ("digits", True)


PRINTABLE = st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), min_size=1).filter(str.isprintable)


@given(study=PRINTABLE, command=PRINTABLE, folder=PRINTABLE)
def test_any_text_reaches_the_worker_as_it_is(study: str, command: str, folder: str) -> None:
    worker = WorkerCommand("grpcs://head:7070", study, "", command, folder)
    script = batch_script(SlurmJob(worker=worker))
    assert shlex.split(script.splitlines()[-1])[1:] == worker.argv("--requeue", "--grace=80")
    assert list(options(script)) == ["job-name", "array", "requeue", "open-mode", "signal", "output"]


@pytest.mark.parametrize("study", ["a'b", "$(touch made)", "`touch made`", "a\\", "-x", '"; touch made; "', "größe"])
def test_bash_runs_nothing_that_a_text_holds(study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    script = batch_script(SlurmJob(worker=WorkerCommand("grpcs://head:7070", study, "train.py:train")))
    assert executed(script)[-3:] == ["grpcs://head:7070", study, "train.py:train"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([*WORKER, "--token", SECRET], "--token"),
        ([*WORKER, f"--token={SECRET}"], "--token"),
        ([*WORKER, "--setup", f"export PHYLETIC_TOKEN={SECRET}"], "--setup"),
        ([*WORKER, "--sbatch", f"--export=ALL,PHYLETIC_TOKEN={SECRET}"], "--sbatch"),
        ([f"grpcs://me:{SECRET}@head:7070", "digits", "train.py:train"], "URL"),
        ([f"grpcs://head:7070?token={SECRET}", "digits", "train.py:train"], "URL"),
        (["grpc://head:7070", "digits", "train.py:train"], "URL"),
        (["sqlite:///digits.db", "digits", "train.py:train"], "URL"),
        (["grpcs://head:7070", "", "train.py:train"], "STUDY"),
        (["grpcs://head:7070", "a\nb", "train.py:train"], "STUDY"),
        ([*WORKER[:2], "train"], "MODULE:FUNCTION"),
        (WORKER[:2], "give either"),
        ([*WORKER, "--command", "python train.py"], "give either"),
        ([*WORKER[:2], "--command", "python 'train.py"], "--command"),
        ([*WORKER[:2], "--command", "python\ntrain.py"], "--command"),
        ([*WORKER, "--workers", "0"], "--workers"),
        ([*WORKER, "--gpus", "-1"], "--gpus"),
        ([*WORKER, "--time", "soon"], "--time"),
        ([*WORKER, "--time", "2"], "--time"),
        ([*WORKER, "--memory", "16 GB"], "--memory"),
        ([*WORKER, "--partition", "a b"], "--partition"),
        ([*WORKER, "--account", "a\n#SBATCH --x"], "--account"),
        ([*WORKER, "--name", "a;b"], "--name"),
        ([*WORKER, "--logs", "not-there"], "--logs"),
        ([*WORKER, "--logs", "a%b"], "--logs"),
        ([*WORKER, "--setup", "a\nb"], "--setup"),
        ([*WORKER, "--sbatch", "constraint=a100"], "--sbatch"),
        ([*WORKER, "--sbatch", "--constraint=a\n100"], "--sbatch"),
        ([*WORKER, "--sbatch", "--signal=TERM"], "--sbatch"),
        ([*WORKER, "--sbatch", "--sig=TERM"], "--sbatch"),
        ([*WORKER, "--sbatch", "--no-requeue"], "--sbatch"),
        ([*WORKER, "--sbatch", "-a 1-3"], "--sbatch"),
    ],
)
def test_wrong_input_is_named_and_no_script_is_printed(
    arguments: list[str], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call(*arguments)
    assert result.exit_code in (1, 2)
    assert result.stdout == ""
    assert named in result.stderr
    assert SECRET not in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_url_of_this_machine_needs_no_tls() -> None:
    assert call("grpc://localhost:7070", *WORKER[1:]).exit_code == 0


def test_a_script_may_name_the_file_of_the_token() -> None:
    line = "export PHYLETIC_TOKEN_FILE=~/worker.token"
    assert line in call(*WORKER, "--setup", line).output.splitlines()


def test_logs_go_into_a_folder_that_exists(tmp_path: Path) -> None:
    made = call(*WORKER, "--logs", str(tmp_path))
    assert options(made.output)["output"] == f"{tmp_path}/%x-%A_%a.log"
