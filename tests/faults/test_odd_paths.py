"""File names that are not Unicode or contain URL syntax, and a current folder that was deleted."""

import io
import json
import os
import sys

import pytest

import phyletic as ph
from phyletic.cli import main
from phyletic.errors import InvalidArgument

NAMES = [b"a\xff", "sp ace#%?é&=".encode()]
BESIDE = ("db", "db-wal", "db-shm", "db.owner", "checkpoints", "logs", "inbox")


def make(storage, **options):
    return ph.Study(
        "study", space={"lr": ph.Float(0.1, 1.0)}, metric="score", mode="max", seed=0, storage=storage,
        algorithm=ph.PBT(population=2, interval=1), budget=ph.Budget(steps=2), **options,
    )  # fmt: skip


def train(trials):
    for trial in trials.attach(lambda trial: {"weights": [0.0]}):
        trial.report(score=trial["lr"])


@pytest.fixture(params=NAMES, ids=["bytes", "signs"])
def folder(request, tmp_path):
    folder = tmp_path / os.fsdecode(request.param)
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system does not accept such a name")
    return folder


@pytest.fixture
def gone(tmp_path, monkeypatch):
    """Delete the current folder."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_study_runs_in_a_folder_and_file_with_an_odd_name(folder, workers):
    storage = folder / f"{folder.name}.db"
    study = make(storage)
    study.run(train, workers=workers, verbose=1)
    assert study.status().state == "finished"
    assert study.checkpoint_path().parent == folder / f"{folder.name}.checkpoints"
    assert study.restore() == {"weights": [0.0]}
    study.close()
    again = ph.Study("study", storage=f"sqlite:///{storage}") if "?" not in folder.name else make(storage)
    assert len(again.trials()) == 4
    assert {path.name for path in folder.iterdir()} <= {f"{folder.name}.{end}" for end in BESIDE}


def test_a_worker_gets_exactly_the_arguments_and_paths_of_its_owner(folder, monkeypatch):
    seen = folder / "seen"

    def note(trials):
        seen.write_text(ascii((sys.argv, sys.path, os.environ["PYTHONPATH"], sys.modules["__main__"].__file__)))
        train(trials)

    monkeypatch.setattr(sys, "argv", [str(folder / "script.py"), folder.name, "\ud800"])
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(folder / "script.py"), raising=False)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    make(folder / "study.db").run(note, workers=1, verbose=0)
    path = [os.path.abspath(entry) for entry in sys.path]  # noqa: PTH100
    assert seen.read_text() == ascii((sys.argv, path, str(folder), str(folder / "script.py")))


def test_commands_print_an_odd_path_to_a_strict_utf8_terminal(folder, monkeypatch):
    storage = str(folder / "study.db")
    make(storage).run(train, verbose=0)
    for command in ("studies", "show study", "show study --json", "best study", "best study --json"):
        written = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="utf-8", errors="strict"))
        main([*command.split(), "--storage", storage], standalone_mode=False)
        sys.stdout.flush()
        text = written.getvalue().decode()
        assert text
        if command.startswith("best") and "--json" in command:
            assert json.loads(text)["checkpoint_path"].startswith(str(folder))


def test_if_the_current_folder_is_gone_a_relative_path_is_refused(gone):
    for use in (
        lambda: make("study.db"),
        lambda: make("sqlite:///study.db"),
        lambda: make(None, checkpoints="checkpoints"),
    ):
        with pytest.raises(InvalidArgument, match="an absolute path, since the current folder was deleted"):
            use()


@pytest.mark.parametrize("workers", [0, 1])
def test_if_the_current_folder_is_gone_a_study_runs_elsewhere(gone, tmp_path, workers, monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr(sys, "path", ["", "relative", *sys.path])
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "script.py", raising=False)
    study = make(tmp_path / "study.db")
    study.run(train, workers=workers, verbose=0)
    assert study.status().state == "finished"
