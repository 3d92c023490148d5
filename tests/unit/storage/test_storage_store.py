"""Opening, owning, reading and writing a database."""

from __future__ import annotations

import gc
import os
import sqlite3
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest

import phyletic as ph
from phyletic.errors import InvalidArgument, NotFound, StorageBusy, StorageError, StorageUnsupported
from phyletic.failpoints import armed
from phyletic.storage import open_database, queries
from phyletic.storage.changes import StaleState


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:///a.db", "a.db"),
        ("sqlite:///runs/a", "runs/a"),
        ("runs/../a.sqlite", "a.sqlite"),
        (Path("a.sqlite3"), "a.sqlite3"),
        ("sqlite:///with space%20é.db", "with space%20é.db"),
    ],
)
def test_a_url_or_path_names_a_file(url: Any, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_database(url)
    assert store.path == Path(os.path.realpath(file))
    assert list(tmp_path.iterdir()) == []
    store.own()
    assert Path(file).exists()
    with store.read() as connection:
        assert queries.studies(connection) == []
    store.release()


def test_an_absolute_url_names_a_file(tmp_path: Path) -> None:
    assert open_database(f"sqlite:///{tmp_path}/a.db").path == Path(os.path.realpath(tmp_path)) / "a.db"


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("postgresql://localhost/x", StorageUnsupported),
        ("redis://localhost", StorageUnsupported),
        ("sqlite:///", InvalidArgument),
        ("sqlite://a.db", InvalidArgument),
        ("sqlite:///a.db?mode=ro", InvalidArgument),
        ("a.txt", InvalidArgument),
        ("", InvalidArgument),
        (3, InvalidArgument),
    ],
)
def test_other_urls_are_refused_with_what_is_allowed(url: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="sqlite:///"):
        open_database(url)


def test_a_password_is_not_shown() -> None:
    with pytest.raises(StorageUnsupported) as caught:
        open_database("postgresql://me:secret@localhost/x")
    assert "secret" not in str(caught.value)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.db").mkdir()
    with pytest.raises(InvalidArgument, match="not a folder"):
        open_database(tmp_path / "a.db")


def test_a_file_has_one_store_in_a_process(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "a.db")
    store = open_database(tmp_path / "a.db")
    assert open_database(f"sqlite:///{tmp_path}/a.db") is store
    assert open_database(tmp_path / "link.db") is store
    assert open_database(tmp_path / "b.db") is not store
    assert open_database(None) is not open_database(None)


def test_an_unreferenced_store_releases_the_file(tmp_path: Path) -> None:
    store = open_database(tmp_path / "a.db")
    store.own()
    gone = weakref.ref(store)
    del store
    gc.collect()
    assert gone() is None
    again = open_database(tmp_path / "a.db")
    again.own()
    again.release()


def test_ownership_is_counted(tmp_path: Path) -> None:
    store = open_database(tmp_path / "a.db")
    assert not store.owned
    store.own()
    store.own()
    store.release()
    assert store.owned
    store.release()
    assert not store.owned
    with pytest.raises(StorageError, match="more often"):
        store.release()
    with store.transaction():
        assert store.owned
    assert not store.owned


def test_closing_leaves_one_file_and_the_lock(tmp_path: Path, begin: Any) -> None:
    store = open_database(tmp_path / "a.db")
    store.own()
    begin(store)
    store.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.db", "a.db.owner"]
    assert (tmp_path / "a.db.owner").read_bytes() == b""


def test_reading_a_missing_file_is_an_error_and_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"a\.db"), open_database(tmp_path / "a.db").read():
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_exception_rolls_a_transaction_back(studied: Any, trial: Any) -> None:
    def interrupted() -> None:
        with studied.store.transaction() as connection:
            connection.exec_driver_sql("DELETE FROM study")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with studied.store.read() as connection:
        assert len(queries.studies(connection)) == 1
    studied.write(inserted=[(trial(0), None)])


@pytest.mark.parametrize("name", ["begin.before", "begin.after", "commit.before", "commit.after"])
def test_the_store_works_after_a_failure_in_a_transaction(studied: Any, trial: Any, name: str) -> None:
    def fail(passed: str) -> None:
        if passed == f"storage.{name}":
            raise OSError("injected")

    with armed(fail), pytest.raises(OSError, match="injected"):
        studied.write(inserted=[(trial(0), None)])
    stored = name == "commit.after"
    assert len(studied.read(queries.trials)) == stored
    if stored:
        with pytest.raises(StaleState):
            studied.write(inserted=[(trial(1), None)])
    else:
        studied.write(inserted=[(trial(1), None)])
        assert len(studied.read(queries.trials)) == 1


def test_a_reader_sees_one_state_while_the_writer_goes_on(tmp_path: Path, begin: Any, trial: Any) -> None:
    store = open_database(tmp_path / "a.db")
    store.own()
    studied = begin(store)
    studied.write(inserted=[(trial(0), None)])
    with store.read() as connection:
        assert len(queries.trials(connection, studied.id)) == 1
        studied.write(inserted=[(trial(1), None)])
        assert len(queries.trials(connection, studied.id)) == 1
        with pytest.raises(Exception, match="readonly"):
            connection.exec_driver_sql("DELETE FROM trial")
    assert len(studied.read(queries.trials)) == 2
    store.close()


def test_threads_write_one_after_another_and_readers_see_whole_writes(studied: Any, trial: Any) -> None:
    lock = threading.Lock()
    failures: list[BaseException] = []
    done = threading.Event()

    def write_some() -> None:
        try:
            for _ in range(30):
                with lock:
                    number = 2 * studied.counters.sequence
                    studied.write(inserted=[(trial(number), None), (trial(number + 1), None)])
        except BaseException as error:
            failures.append(error)

    def read_some() -> None:
        try:
            while not done.is_set():
                with studied.store.read() as connection:
                    stored = queries.load_study(connection, "digits")
                    found = queries.trials(connection, studied.id)
                assert stored is not None
                assert len(found) == 2 * stored.counters.sequence
        except BaseException as error:
            failures.append(error)

    writers = [threading.Thread(target=write_some) for _ in range(3)]
    readers = [threading.Thread(target=read_some) for _ in range(2)]
    for thread in [*writers, *readers]:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert failures == []
    assert len(studied.read(queries.trials)) == 180


def test_a_write_lock_held_by_another_program_is_reported(
    tmp_path: Path, begin: Any, trial: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phyletic.storage.sqlite_connections._BUSY_SECONDS", 0.05)
    store = open_database(tmp_path / "a.db")
    store.own()
    studied = begin(store)
    other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageBusy, match="locked"):
        studied.write(inserted=[(trial(0), None)])
    other.execute("ROLLBACK")
    other.close()
    studied.write(inserted=[(trial(0), None)])
    store.close()


def test_a_transaction_holds_the_write_lock_from_its_start(tmp_path: Path, begin: Any) -> None:
    store = open_database(tmp_path / "a.db")
    begin(store)
    other = sqlite3.connect(tmp_path / "a.db", isolation_level=None, timeout=0)
    with store.transaction(), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    other.close()


def test_the_store_works_after_a_commit_that_leaves_its_transaction_open(studied: Any, trial: Any) -> None:
    def violate() -> None:
        with studied.store.transaction() as connection:
            connection.exec_driver_sql("INSERT INTO child VALUES (1)")

    with studied.store.transaction() as connection:
        connection.exec_driver_sql("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
        connection.exec_driver_sql("CREATE TABLE child (id REFERENCES parent DEFERRABLE INITIALLY DEFERRED)")
        raw = connection.connection.driver_connection
    assert raw is not None
    raw.execute("PRAGMA foreign_keys = ON")
    with pytest.raises(StorageError, match="FOREIGN KEY"):
        violate()
    studied.write(inserted=[(trial(0), None)])
    assert len(studied.read(queries.trials)) == 1


def test_only_a_durable_commit_is_synced(tmp_path: Path, begin: Any) -> None:
    store = open_database(tmp_path / "a.db")
    store.own()
    begin(store)
    for durable, level in [(False, 1), (True, 2), (True, 2), (False, 1)]:
        with store.transaction(durable=durable) as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == level
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    store.close()


def test_a_closed_file_in_a_read_only_folder_can_be_read(
    tmp_path: Path, begin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_database(tmp_path / "a.db")
    store.own()
    begin(store)
    store.release()
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with store.read() as connection:
        assert len(queries.studies(connection)) == 1
        assert not (tmp_path / "a.db-shm").exists()


def test_folders_lie_beside_the_file(tmp_path: Path) -> None:
    root = Path(os.path.realpath(tmp_path))
    assert open_database(tmp_path / "x" / "digits.db").folder("checkpoints") == root / "x" / "digits.checkpoints"
    assert open_database(tmp_path / "digits.v2.db").folder("logs") == root / "digits.v2.logs"
    assert open_database(f"sqlite:///{tmp_path}/plain.v2").folder("logs") == root / "plain.v2.logs"


@pytest.mark.parametrize("how", ["close", "forget"])
def test_the_folder_of_a_store_in_memory_is_removed_with_it(how: str) -> None:
    store = open_database(None)
    folder = store.folder("checkpoints")
    assert store.folder("checkpoints") == folder
    assert store.folder("logs").parent == folder.parent
    folder.mkdir()
    (folder / "file").touch()
    if how == "close":
        store.close()
        with pytest.raises(StorageError, match="closed"), store.read():
            pass
    else:
        del store
        gc.collect()
    assert not folder.parent.exists()


def test_a_read_inside_a_transaction_in_memory_shares_its_connection(begin: Any) -> None:
    store = open_database(None)
    studied = begin(store)
    with store.transaction() as writer, store.read() as reader:
        assert reader is writer
        assert studied.stored.id == 1
    store.close()


def test_a_file_whose_writer_was_killed_before_its_first_commit_can_be_opened(tmp_path: Path) -> None:
    """Until a file is in WAL mode, a killed writer leaves a journal that only a writer can play back."""
    path = tmp_path / "a.db"
    study = ph.Study(
        "study", space={"lr": ph.Float(0, 1)}, metric="s", mode="max", algorithm=ph.PBT(2, 1), storage=path
    )
    study.close()
    script = (
        "import os, sqlite3, sys\n"
        "made = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "made.execute('PRAGMA journal_mode=DELETE')\nmade.execute('PRAGMA cache_size=1')\nmade.execute('BEGIN')\n"
        "for n in range(200):\n"
        "    made.execute('INSERT INTO event VALUES (1, ?, 0, ?, 0.0, NULL, ?)', (1000 + n, 'x' * 500, '{}'))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert Path(f"{path}-journal").exists()
    again = ph.Study("study", storage=path)
    assert isinstance(again.ask(), ph.LiveTrial)
    assert not [event for event in again.events() if event.kind.startswith("x")]
    again.close()
