"""If the system prevents a process from owning a study, the error type says why, and the study can go on later."""

import contextlib
import errno
import os
import resource
import signal
import sqlite3
import tempfile

import pytest

import phyletic as ph
from phyletic.errors import StorageBusy, StorageError


def make(storage, steps=2):
    return ph.Study(
        "study", space={"lr": ph.Float(0.1, 1.0)}, metric="score", mode="max", seed=0, storage=storage,
        algorithm=ph.RandomSearch(population=2, interval=1), budget=ph.Budget(steps=steps),
    )  # fmt: skip


def train(trials):
    for trial in trials.attach(lambda trial: {"weights": [0.0]}):
        trial.report(score=trial["lr"])


COMMANDS = {
    "ask": lambda study: study.ask(),
    "set_budget": lambda study: study.set_budget(ph.Budget(steps=3)),
    "train": train,
    "run": lambda study: study.run(train, verbose=0),
}


@contextlib.contextmanager
def full_disk():
    """Prevent every file from growing, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def check_goes_on(storage):
    study = make(storage)
    study.run(train, verbose=0)
    assert study.status().state == "finished"
    assert all((trial.failures, trial.losses) == (0, 0) for trial in study.trials())


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_is_reported_as_busy(tmp_path, command):
    study = make(tmp_path / "study.db")
    study.close()
    with full_disk(), pytest.raises(StorageBusy, match=r"study\.db could not be used: "):
        COMMANDS[command](study)
    check_goes_on(tmp_path / "study.db")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_study_runs_even_if_the_full_disk_has_no_room_for_the_owners_note(tmp_path, command, monkeypatch):
    make(tmp_path / "study.db").close()

    def no_room(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", no_room)
    monkeypatch.setattr(os, "ftruncate", no_room)
    study = make(tmp_path / "study.db")
    COMMANDS[command](study)
    study.close()
    monkeypatch.undo()
    check_goes_on(tmp_path / "study.db")


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, StorageBusy), (errno.EROFS, StorageError)])
def test_a_lock_file_that_cannot_be_created_is_a_typed_error(tmp_path, number, kind, monkeypatch):
    opened = os.open

    def refuse(path, *arguments, **options):
        if str(path).endswith(".db.owner"):
            raise OSError(number, os.strerror(number))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StorageError, match=rf"db\.owner cannot be opened for writing: {os.strerror(number)}") as caught:
        make(tmp_path / "study.db")
    assert type(caught.value) is kind
    monkeypatch.undo()
    check_goes_on(tmp_path / "study.db")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("what", ["the lock", "the database", "the folder"])
def test_missing_permissions_are_a_storage_error(tmp_path, closed, command, what):
    folder = tmp_path / "inside"
    study = make(folder / "study.db")
    study.close()
    closed(folder / {"the lock": "study.db.owner", "the database": "study.db", "the folder": ""}[what])
    with pytest.raises(StorageError) as caught:
        COMMANDS[command](study)
    assert type(caught.value) is StorageError
    if what != "the lock":
        with pytest.raises(StorageError, match=r"study\.db"):
            study.trials()
    closed.open()
    check_goes_on(folder / "study.db")


def test_a_read_only_database_can_be_read_but_not_written(tmp_path, rights_bind):
    study = make(tmp_path / "study.db")
    study.close()
    (tmp_path / "study.db").chmod(0o400)
    with pytest.raises(StorageError, match="readonly") as caught:
        study.ask()
    assert type(caught.value) is StorageError
    assert study.trials() == []


def test_a_database_that_another_program_has_locked_is_busy(tmp_path, monkeypatch):
    monkeypatch.setattr("phyletic.storage.sqlite_connections._BUSY_SECONDS", 0.05)
    study = make(tmp_path / "study.db")
    study.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "study.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageBusy, match="locked"):
            study.ask()
    check_goes_on(tmp_path / "study.db")


def test_a_study_in_memory_without_a_temporary_folder_is_a_storage_error(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(StorageError, match=r"needs a temporary folder; .*missing.* cannot be made: No such file"):
        make(None)
