"""Storage when processes are killed, fork, or share one file."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from phyletic.errors import StorageError, StorageOwned
from phyletic.records import Budget, Decision, Metric, StudyControl, StudyIdentity, Trial, TrialState
from phyletic.storage import Database, open_database, queries
from phyletic.storage.changes import Changes, Counters, TrialUpdate
from phyletic.storage.writing import create_study, take_epoch, write

# A process that owns a file and writes one trial after another; it prints a line after each acknowledged write.
WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
import test_storage_processes as common
from phyletic.storage import open_database
store = open_database(sys.argv[2])
store.own()
study = common.begin(store)
print("begun", flush=True)
for sequence in range(int(sys.argv[3])):
    common.write_next(store, study, sequence)
    print(sequence + 1, flush=True)
sys.stdin.read()
"""

# A process that tries to own a file.
RIVAL = """
import sys
from phyletic.errors import StorageOwned
from phyletic.storage import open_database
store = open_database(sys.argv[1])
try:
    store.own()
except StorageOwned as error:
    print(error)
    sys.exit(3)
"""


def begin(store: Database) -> int:
    identity = StudyIdentity(
        uuid="0" * 32, name="digits", space={}, metrics=(Metric("accuracy", "max"),), algorithm={}, seed=0
    )
    with store.transaction() as connection:
        stored = create_study(connection, identity, StudyControl(budget=Budget(), population=1), 0.0)
        take_epoch(connection, stored.id, stored.counters.epoch)
    return stored.id


def write_next(store: Database, study: int, sequence: int) -> None:
    """Write a trial and the counters that include it."""
    trial = Trial(
        number=sequence,
        member=0,
        generation=sequence,
        parent=None,
        hyperparameters={"note": "x" * 300},
        start_step=0,
        steps=1,
        seed=0,
        state=TrialState.WAITING,
        decision=Decision(kind="birth"),
    )
    counters = Counters(next_trial=sequence + 1, sequence=sequence + 1, epoch=1)
    with store.transaction() as connection:
        write(connection, study, Changes(expected=sequence, counters=counters, inserted=[TrialUpdate(trial)]))


def check(store: Database) -> int:
    """Check that the stored trials match the stored sequence number; return that number."""
    with store.read() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
        stored = queries.load_study(connection, "digits")
        assert stored is not None
        numbers = [trial.number for trial in queries.trials(connection, stored.id)]
    assert numbers == list(range(stored.counters.sequence))
    assert stored.counters.next_trial == stored.counters.sequence
    return stored.counters.sequence


@contextlib.contextmanager
def python(script: str, *arguments: object, **environment: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def rival(path: Path) -> str:
    """Try to own a file in another process; return the text of the refusal, or "" if it succeeds."""
    done = subprocess.run([sys.executable, "-c", RIVAL, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 3), done.stderr
    assert (done.returncode == 3) == bool(done.stdout)
    return done.stdout


def in_a_fork(function: Callable[[], None]) -> None:
    """Run a function in a forked child; fail if it fails there."""
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            function()
        except BaseException:
            os.write(sending, traceback.format_exc().encode()[-60000:])
        finally:
            os._exit(0)
    os.close(sending)
    with os.fdopen(receiving) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    assert said == ""


@pytest.mark.parametrize("name", ["begin.before", "begin.after", "commit.before", "commit.after"])
def test_a_killed_writer_leaves_the_old_state_or_the_new(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.db"
    # creating the database passes the failpoint once, creating the study once, and each write once
    with python(
        WRITER, Path(__file__).parent, path, 100, PHYLETIC_FAILPOINT=f"storage.{name}:9", PYTHONDONTWRITEBYTECODE="1"
    ) as writer:
        said, _ = writer.communicate(timeout=60)
        assert writer.returncode == -9
    acknowledged = int(said.split()[-1])
    assert acknowledged == 6
    store = open_database(path)
    assert check(store) == acknowledged + (name == "commit.after")
    store.own()
    write_next(store, 1, check(store))
    store.release()
    check(store)


def test_a_writer_killed_anywhere_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with python(WRITER, Path(__file__).parent, path, 100_000) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            if line == "200\n":
                break
        store = open_database(path)
        seen = [check(store) for _ in range(20)]
        assert seen == sorted(seen)
        writer.kill()
        acknowledged = int(writer.communicate()[0].split()[-1])
    assert seen[0] >= 200
    assert acknowledged <= check(store) <= acknowledged + 1


def test_a_second_owner_is_told_who_the_first_is(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with python(WRITER, Path(__file__).parent, path, 3) as writer:
        assert writer.stdout is not None
        while writer.stdout.readline() != "3\n":
            pass
        store = open_database(path)
        with pytest.raises(StorageOwned, match=f"process {writer.pid} "):
            store.own()
        assert not store.owned
        with pytest.raises(StorageOwned), store.transaction():
            pass
        assert check(store) == 3
        writer.kill()
        writer.wait()
        # the lock ends with its process, without a wait
        store.own()
        write_next(store, 1, 3)
        store.release()


def test_the_file_stays_owned_when_this_process_closes_it_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    store = open_database(path)
    store.own()
    study = begin(store)
    path.read_bytes()
    assert f"process {os.getpid()} " in rival(path)
    # reading the lock file, as a copy of the folder does, drops the lock; the next write takes it again
    Path(f"{path}.owner").read_bytes()
    write_next(store, study, 0)
    assert f"process {os.getpid()} " in rival(path)
    store.release()
    assert rival(path) == ""


def test_a_writer_that_lost_its_lock_to_another_does_not_write(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    store = open_database(path)
    store.own()
    study = begin(store)
    Path(f"{path}.owner").read_bytes()
    script = (
        "import sys\nfrom phyletic.storage import open_database\n"
        "s = open_database(sys.argv[1])\ns.own()\nprint()\ninput()"
    )
    with python(script, path) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "\n"
        with pytest.raises(StorageOwned, match=f"process {other.pid} "):
            write_next(store, study, 0)
    write_next(store, study, 0)
    assert check(store) == 1
    store.close()


def test_a_store_is_not_used_across_a_fork(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    store = open_database(path)
    memory = open_database(None)
    folder = memory.folder("checkpoints").parent
    begin(memory)
    store.own()
    study = begin(store)

    def child() -> None:
        uses: list[Callable[[], Any]] = [
            store.own,
            store.release,
            store.close,
            lambda: store.read().__enter__(),
            lambda: store.transaction().__enter__(),
            lambda: memory.transaction().__enter__(),
            lambda: memory.close(),
        ]
        for use in uses:
            with pytest.raises(StorageError, match="forked"):
                use()
        # the file was open in the parent, so SQLite cannot open it here
        with pytest.raises(StorageError, match="fork"), open_database(path).read():
            pass
        # the child may own another file
        other = open_database(tmp_path / "b.db")
        other.own()
        other.release()

    in_a_fork(child)
    write_next(store, study, 0)
    assert f"process {os.getpid()} " in rival(path)
    assert folder.exists()
    store.close()
    memory.close()
    assert not folder.exists()


def test_a_forked_child_may_own_a_file_that_its_parent_released(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    store = open_database(path)
    store.own()
    study = begin(store)
    store.release()

    def child() -> None:
        with pytest.raises(StorageError, match="forked"):
            store.own()
        again = open_database(path)
        write_next(again, study, 0)

    in_a_fork(child)
    assert check(store) == 1


def test_a_forked_child_that_outlives_its_parent_does_not_keep_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    script = (
        "import os, sys, time\nfrom phyletic.storage import open_database\n"
        "store = open_database(sys.argv[1])\nstore.own()\n"
        "child = os.fork()\nif child == 0:\n    os.close(1)\n    time.sleep(30)\n    os._exit(0)\n"
        "print(child, flush=True)\nos.kill(os.getpid(), 9)\n"
    )
    with python(script, path) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.wait()
        try:
            store = open_database(path)
            store.own()
            begin(store)
            store.release()
        finally:
            os.kill(child, 9)


def test_a_forked_child_does_not_remove_its_parents_folder() -> None:
    script = (
        "import os, sys\nfrom phyletic.storage import open_database\nstore = open_database(None)\n"
        "folder = store.folder('checkpoints')\nfolder.mkdir()\n"
        "child = os.fork()\nif child == 0:\n    sys.exit(0)\n"
        "os.waitpid(child, 0)\nassert folder.exists()\nprint(folder)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not Path(done.stdout.strip()).parent.exists()


def test_a_full_disk_is_reported_and_leaves_the_old_state(tmp_path: Path) -> None:
    script = """
import resource, signal, sys
sys.path.insert(0, sys.argv[1])
import test_storage_processes as common
from pathlib import Path
from phyletic.errors import StorageBusy
from phyletic.storage import open_database
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = open_database(sys.argv[2])
store.own()
study = common.begin(store)
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
size = Path(sys.argv[2] + "-wal").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20000, hard))
written = failed = 0
while failed < 3:
    try:
        common.write_next(store, study, written)
        written += 1
        assert written < 1000
    except StorageBusy:
        failed += 1
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
assert common.check(store) == written
common.write_next(store, study, written)
store.release()
assert common.check(store) == written + 1
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(Path(__file__).parent), str(tmp_path / "a.db")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
