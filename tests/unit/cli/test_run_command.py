"""``phyletic run --command``: a study of a module or of a storage, trained by a program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import phyletic as ph
from phyletic.cli import main
from phyletic.cli.run import split_command
from phyletic.errors import InvalidArgument

STUDY = """
import phyletic as ph

study = ph.Study("by command", space={"lr": ph.Float(0.1, 1.0)}, metric="score", mode="max", seed=0,
                 algorithm=ph.PBT(population=2, interval=5), budget=ph.Budget(steps=5), storage="study.db")
"""
PROGRAM = """
import sys
from pathlib import Path

lr, save_to, report, note = sys.argv[1:]
(Path(save_to) / "w").write_text(lr)
Path("note").write_text(note)
with open(report, "a") as file:
    file.write('{"score": %s}\\n' % lr)
"""
COMMAND = f"{sys.executable} -I 'program file.py' {{lr}} {{save_to}} {{report}} 'two words; $HOME | {{{{x}}}}'"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy_study.py").write_text(STUDY)
    (tmp_path / "program file.py").write_text(PROGRAM)
    return tmp_path


def store() -> ph.Study:
    """Create the study in the storage, and return it."""
    names: dict[str, ph.Study] = {}
    exec(STUDY, names)  # type: ignore[arg-type]
    names["study"].close()
    return names["study"]


def check(folder: Path) -> None:
    study = ph.Study("by command", storage=folder / "study.db")
    assert study.finished
    assert [trial.score for trial in study.trials()] == [trial.hyperparameters["lr"] for trial in study.trials()]
    # no shell has seen it
    assert (folder / "note").read_text() == "two words; $HOME | {x}"


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_study_of_a_module_is_trained_by_a_command(folder: Path, workers: str) -> None:
    arguments = ["run", "toy_study.py:study", "--command", COMMAND, "--workers", workers]
    done = subprocess.run([sys.executable, "-m", "phyletic", *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    check(folder)


@pytest.mark.parametrize("by", ["option", "environment"])
def test_a_stored_study_is_trained_by_a_command(folder: Path, by: str) -> None:
    store()
    storage = {"PHYLETIC_STORAGE": "study.db"} if by == "environment" else {}
    arguments = ["run", "by command", "--command", COMMAND, "-q", *([] if storage else ["--storage", "study.db"])]
    result = CliRunner().invoke(main, arguments, env=storage)
    assert (result.exit_code, result.output) == (0, "")
    check(folder)


def test_the_environments_storage_does_not_hide_a_module(folder: Path) -> None:
    arguments = ["run", "nowhere.py:study", "--command", "true"]
    result = CliRunner().invoke(main, arguments, env={"PHYLETIC_STORAGE": "study.db"})
    assert "MODULE is 'nowhere.py'" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["by command", "--storage", "study.db"], 2, "give either MODULE:FUNCTION or --command"),
        (["toy_study.py:study", "train", "--command", "true"], 2, "give either MODULE:FUNCTION or --command"),
        (["by command", "--command", "true"], 2, "not of the form MODULE:NAME, such as train.py:study; the name of a"),
        (["by command", "train", "--storage", "study.db"], 2, "'train' is not of the form MODULE:NAME"),
        (["other", "--storage", "study.db", "--command", "true"], 1, "there is no study 'other' in study.db; it holds"),
        (["by command", "--storage", "no.db", "--command", "true"], 1, "does not exist"),
        (
            ["by command", "--storage", "study.db", "--command", "no-such-program {lr}"],
            1,
            "error: command is ['no-such",
        ),
        (
            ["by command", "--storage", "study.db", "--command", "true {rate}"],
            1,
            "without {rate}: the placeholders are",
        ),
    ],
)
def test_what_cannot_be_run_is_named(folder: Path, arguments: list[str], code: int, words: str) -> None:
    study = store()
    result = CliRunner().invoke(main, ["run", *arguments])
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert study.trials() == []


@pytest.mark.parametrize("text", ["", "  ", "python 'train.py"])
def test_a_text_that_is_no_command_is_named(text: str) -> None:
    with pytest.raises(InvalidArgument, match="--command is"):
        split_command(text)


IMPORTED = """
import os
import phyletic as ph

def train(trials):
    for trial in trials.attach(lambda trial: {"x": 0.0}):
        for step in trial.range():
            trial.state.x += trial["lr"]
        trial.report(score=trial.state.x)

study = ph.Study("imported", space={"lr": ph.Float(0.1, 1.0)}, metric="score", mode="max", seed=0,
                 algorithm=ph.PBT(population=2, interval=5), budget=ph.Budget(steps=5), STORAGE)
RUN
"""


def imported(folder: Path, storage: str, run: str) -> subprocess.CompletedProcess[str]:
    """Run a study that a module defines, and perhaps runs when it is imported."""
    code = IMPORTED.replace("STORAGE", storage and f'storage="{storage}"').replace("RUN", run)
    (folder / "itself.py").write_text(code)
    arguments = ["run", "itself.py:study", "train", "--workers", "0"]
    return subprocess.run([sys.executable, "-m", "phyletic", *arguments], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("run", ["study.run(train, workers=0, verbose=0)", "train(study)"])
@pytest.mark.parametrize("storage", ["", "itself.db"])
def test_a_module_that_ran_its_study_on_import_is_told_so(folder: Path, storage: str, run: str) -> None:
    done = imported(folder, storage, run)
    assert done.returncode == 1
    assert 'ran its study when it was imported: put study.run under if __name__ == "__main__"' in done.stderr


def test_a_study_that_another_process_finished_is_no_error(folder: Path) -> None:
    for _ in range(2):
        done = imported(folder, "itself.db", "")
        assert done.returncode == 0, done.stderr
        assert "in memory" not in done.stderr
        assert "best score" in done.stderr


def test_a_study_in_memory_is_said_to_end_with_the_process(folder: Path) -> None:
    done = imported(folder, "", "")
    assert done.returncode == 0, done.stderr
    line = "study 'imported' is in memory, so its results end with this process: ph.Study(..., storage=\"study.db\")"
    assert done.stderr.startswith(line)


def test_ctrl_c_ends_the_command_line_with_130(folder: Path) -> None:
    (folder / "toy_study.py").write_text(
        STUDY
        + """

def train(trials):
    import signal
    for trial in trials.attach(lambda trial: {"w": [trial["lr"]]}):
        signal.raise_signal(signal.SIGINT)
        trial["lr"]
        trial.report(score=1.0)
"""
    )
    command = [sys.executable, "-m", "phyletic", "run", "toy_study:study", "train", "--workers", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 130, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "run it again to go on" in ended.stderr
