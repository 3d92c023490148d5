"""A disk or database failure at any moment gives a typed error; the reopened study ends as if it never happened."""

import contextlib
import errno
import itertools
import os
import random
import resource
import shutil
import signal
import sqlite3
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import phyletic as ph
from phyletic.checkpoints.digest import digest_of_file
from phyletic.checkpoints.folder import check_folder
from phyletic.errors import CheckpointError, NotFound, PhyleticError, StorageBusy, StorageError
from phyletic.failpoints import armed
from phyletic.records import CheckpointState, TrialState
from phyletic.storage import queries, sqlite_database
from phyletic.storage.database import open_database
from phyletic.testing.example import facts


def build(trial):
    return {"weights": np.zeros(4)}


def train(trials):
    for trial in trials.attach(build):
        for _ in trial.range():
            trial.state.weights = trial.state.weights + trial["lr"] * np.random.standard_normal(4)
        trial.report(score=float(trial.state.weights.sum()))


def save(state, folder):
    np.save(folder / "weights.npy", state.weights)


def load(state, folder):
    state.weights = np.load(folder / "weights.npy")


def train_with_folders(trials):
    for trial in trials.attach(build, save=save, load=load):
        for _ in trial.range():
            trial.state.weights = trial.state.weights + trial["lr"] * np.random.standard_normal(4)
        trial.report(score=float(trial.state.weights.sum()))


TRAIN = {"packed": train, "folders": train_with_folders}


def make(folder, synchronous=True, steps=4, **options):
    settings = {
        "space": {"lr": ph.Float(1e-3, 1.0, log=True)},
        "metric": "score",
        "mode": "max",
        "algorithm": ph.PBT(3, 1, exploit=ph.Truncation(0.34), synchronous=synchronous),
        "budget": ph.Budget(steps=steps),
        "storage": folder / "study.db",
        "seed": 7,
    }
    return ph.Study("study", **{**settings, **options})


# --- the nth operation of each kind -----------------------------------------------------------------------------------

WHOLE = os.environ.get("PHYLETIC_ALL_FAULTS") == "1"
"""Whether to try all combinations; else a sample that covers each N and each choice for each kind."""

DISK_ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES)
KINDS = {
    "create": (*DISK_ERRORS, errno.EMFILE),
    "mkdir": DISK_ERRORS,
    "write": DISK_ERRORS,
    "fsync": DISK_ERRORS,
    "rename": DISK_ERRORS,
    "unlink": DISK_ERRORS,
}
ONCE, FOR_GOOD = 1, 10**9
LAST = 50


def disk_error(number):
    return lambda: OSError(number, os.strerror(number))


def database_error(code, text="it cannot be used"):
    """Return a function that makes an error as SQLite's driver raises it, with the name of SQLite's own code."""

    def make_error():
        error = sqlite3.OperationalError(text)
        error.sqlite_errorname = code
        return error

    return make_error


LOCKED = database_error("SQLITE_BUSY", "database is locked")


class Failing:
    """Raises at the nth operation of a kind, before or after it is performed.

    Args:
        kind: The prefix of its failpoints' names.
        nth: From 1.
        error: Makes the error to raise.
        times: How many operations in a row fail.
        when: ``"before"`` or ``"after"``.
    """

    def __init__(self, kind, nth, error, times=ONCE, when="before"):
        self.kind, self.left, self.error, self.times, self.when = kind, nth, error, times, when
        self.failed = 0

    def __call__(self, name):
        if name.startswith(self.kind) and name.endswith(self.when):
            self.left -= 1
            if self.left <= 0 and self.failed < self.times:
                self.failed += 1
                raise self.error()


class Undoing:
    """Changes the conditions around the database before the nth transaction, for one or more transactions.

    Args:
        nth: From 1.
        times: How many transactions in a row meet the change.
        change: Makes the change; returns a function that undoes it.
    """

    def __init__(self, nth, times, change):
        self.left, self.times, self.change = nth, times, change
        self.failed, self.undo = 0, None

    def __call__(self, name):
        if name != "storage.begin.before":
            return
        self.left -= 1
        if self.left <= 0 and self.failed < self.times:
            self.failed += 1
            if self.undo is None:
                self.undo = self.change()
        else:
            self.end()

    def end(self):
        if self.undo is not None:
            self.undo()
            self.undo = None


def locking(database):
    """Make another connection hold the write lock."""

    def change():
        other = sqlite3.connect(database, timeout=0, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        return other.close

    return change


def setting(database, pragma, value, before):
    """Set one of SQLite's own limits on the writing connection."""

    def change():
        driver = open_database(database)._writer.connection.driver_connection
        driver.execute(f"PRAGMA {pragma}={value}")

        def undo():
            with contextlib.suppress(sqlite3.ProgrammingError):  # the connection may be closed already
                driver.execute(f"PRAGMA {pragma}={before}")

        return undo

    return change


class Undisturbed:
    """The facts of undisturbed studies, and how often these pass each failpoint."""

    def __init__(self, folder):
        self.folder, self.known = folder, {}

    def __call__(self, layout, steps=4):
        if (layout, steps) not in self.known:
            passed = []
            study = make(self.folder / f"{layout}-{steps}", steps=steps)
            with armed(passed.append):
                study.run(TRAIN[layout], workers=0, verbose=0)
            self.known[layout, steps] = facts(study), Counter(passed)
        return self.known[layout, steps][0]

    def steps(self, layout, kind, nth):
        """Return the smallest budget with the nth operation of a kind and one more generation, or None."""
        for steps in range(1, 22):
            self(layout, steps)
            passed = self.known[layout, steps][1]
            if sum(passed[name] for name in passed if name.startswith(kind) and name.endswith("before")) >= nth:
                return steps + 1
        return None


@pytest.fixture(scope="module")
def undisturbed(quick):
    return Undisturbed(quick)


def run_failing(folder, failing, code, **options):
    """Create and run a study while operations fail; return the error that ended it, if any."""
    workers = options.pop("workers", 0)
    with armed(failing):
        try:
            study = make(folder, **options)  # outlives the failures, so that its finalizer meets none
            study.run(code, workers=workers, verbose=0)
        except PhyleticError as error:
            return error
    return None


def check_visible(folder, expected):
    """Check that nothing half-written is visible, even before a new owner cleans up."""
    assert not open_database(folder / "study.db").owned  # so another process could go on
    root = folder / "study.checkpoints"
    for path in root.iterdir() if root.exists() else ():
        if path.suffix == ".safetensors":
            load_file(path)  # raises if bytes are missing
        elif (path / "manifest.json").exists():
            check_folder(path, digest_of_file(path / "manifest.json"))
    try:
        study = ph.Study("study", storage=folder / "study.db")
    except NotFound:
        return
    assert all(fact in expected for fact in facts(study) if TrialState.COMPLETED in fact)


def check_files(study):
    """Check that every durable checkpoint is intact and the folder holds no others; leave the study open."""
    study.source()
    study.owner.begin()
    with open_database(study.storage).read() as connection:
        stored = queries.load_study(connection, study.name)
        rows = queries.checkpoints(connection, stored.id, [CheckpointState.DURABLE])
    for row in rows:
        study.checkpoints.verify(row.reference)
    root = Path(study.checkpoints.location)
    found = root.iterdir() if root.exists() else ()
    there = {path.name.partition(".")[0] for path in found}
    assert there == {row.id for row in rows}


def check_goes_on(folder, layout, steps, expected):
    """Check that the files are sound, and that the reopened study ends like an undisturbed one."""
    check_visible(folder, expected)
    with make(folder, steps=steps) as study:
        check_files(study)
        study.run(TRAIN[layout], workers=0, verbose=0)
        assert facts(study) == expected
        check_files(study)
    shutil.rmtree(folder)


def spread(nths, *choices):
    """Yield (nth, one value of each choice): all combinations for N = 1..50, or one for each given N."""
    combinations = list(itertools.product(*choices))
    if WHOLE:
        yield from ((nth, *chosen) for nth in range(1, LAST + 1) for chosen in combinations)
        return
    drawn = list(itertools.islice(itertools.cycle(combinations), len(nths)))
    random.Random(nths.start).shuffle(drawn)
    yield from ((nth, *chosen) for nth, chosen in zip(nths, drawn, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_the_nth_operation_on_the_disk_fails(quick, undisturbed, kind):
    met = Counter()
    nths = range(1 + list(KINDS).index(kind) % 3, LAST + 1, 3)
    for nth, error, layout, times in spread(nths, KINDS[kind], TRAIN, (ONCE, FOR_GOOD)):
        case = f"{kind} {nth} {errno.errorcode[error]} {layout} {times}"
        steps = undisturbed.steps(layout, f"disk.{kind}", nth)
        if steps is None:
            layout, steps = "folders", undisturbed.steps("folders", f"disk.{kind}", nth)
        failing = Failing(f"disk.{kind}", nth, disk_error(error), times)
        raised = run_failing(quick / case, failing, TRAIN[layout], steps=steps)
        assert failing.failed, case
        assert raised is None or type(raised) is CheckpointError, case
        assert raised is None or os.strerror(error) in str(raised), case
        check_goes_on(quick / case, layout, steps, undisturbed(layout, steps))
        met[raised is not None] += 1
    # a file that cannot be deleted does not stop training; a failed write is reported
    assert met[True] == 0 if kind == "unlink" else met[True] > met[False]
    assert kind not in ("create", "mkdir", "write") or met[False] == 0


def test_the_database_is_locked_at_the_nth_begin(quick, undisturbed, monkeypatch):
    monkeypatch.setattr("phyletic.storage.sqlite_connections._BUSY_SECONDS", 0.0)
    for nth, layout, times in spread(range(1, LAST + 1, 2), TRAIN, (ONCE, FOR_GOOD)):
        folder = quick / f"begin {nth} {layout} {times}"
        folder.mkdir()
        steps = undisturbed.steps(layout, "storage.begin", nth)
        failing = Undoing(nth, times, locking(folder / "study.db"))
        raised = run_failing(folder, failing, TRAIN[layout], steps=steps)
        failing.end()
        assert type(raised) is StorageBusy, folder
        assert "database is locked" in str(raised)
        check_goes_on(folder, layout, steps, undisturbed(layout, steps))


@pytest.fixture
def at_the_driver(monkeypatch):
    """Make the driver's own commit raise the error, so that the transaction stays open in the database."""
    pending, commit = [], sqlite_database.commit

    def failing_commit(connection):
        if pending:
            raise pending.pop()
        commit(connection)

    def put_off(failing):
        def handler(name):
            try:
                failing(name)
            except sqlite3.Error as error:
                pending.append(error)

        return handler

    monkeypatch.setattr(sqlite_database, "commit", failing_commit)
    return put_off


def test_the_database_is_locked_at_the_nth_commit(quick, undisturbed, at_the_driver):
    for nth, layout, times in spread(range(2, LAST + 1, 2), TRAIN, (ONCE, FOR_GOOD)):
        folder = quick / f"commit {nth} {layout} {times}"
        steps = undisturbed.steps(layout, "storage.commit", nth)
        failing = at_the_driver(Failing("storage.commit", nth, LOCKED, times))
        raised = run_failing(folder, failing, TRAIN[layout], steps=steps)
        assert type(raised) is StorageBusy, folder
        check_goes_on(folder, layout, steps, undisturbed(layout, steps))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("SQLITE_FULL", StorageBusy),
        ("SQLITE_IOERR_WRITE", StorageBusy),
        ("SQLITE_IOERR_FSYNC", StorageBusy),
        ("SQLITE_READONLY", StorageError),
        ("SQLITE_CANTOPEN", StorageError),
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("point", ["storage.begin", "storage.commit"])
def test_the_database_fails_in_other_ways(quick, undisturbed, point, when, code, kind):
    for nth, times in ((1, FOR_GOOD), (6, ONCE)):
        folder = quick / f"{point} {when} {nth} {code}"
        failing = Failing(point, nth, database_error(code), times, when)
        raised = run_failing(folder, failing, train)
        assert type(raised) is kind, folder
        check_goes_on(folder, "packed", 4, undisturbed("packed"))


@pytest.mark.parametrize(
    ("pragma", "value", "before", "kind", "text"),
    [
        ("max_page_count", 1, 2**30, StorageBusy, "database or disk is full"),
        ("query_only", "ON", "OFF", StorageError, "readonly database"),
    ],
)
@pytest.mark.parametrize("times", [ONCE, FOR_GOOD])
def test_the_database_itself_refuses_a_write(quick, undisturbed, pragma, value, before, kind, text, times):
    raised = []
    nths = range(2, LAST + 1, 8)
    for nth in nths:
        folder = quick / f"{pragma} {nth} {times}"
        steps = undisturbed.steps("packed", "storage.begin", nth)
        failing = Undoing(nth, times, setting(folder / "study.db", pragma, value, before))
        error = run_failing(folder, failing, train, steps=steps)
        if error is not None:
            assert type(error) is kind, folder
            assert text in str(error), folder
            raised.append(error)
        check_goes_on(folder, "packed", steps, undisturbed("packed", steps))
    if pragma == "query_only":
        assert len(raised) == len(nths)
    elif times == FOR_GOOD:  # a full database still has room in its pages for a while
        assert raised


@pytest.mark.parametrize("kind", KINDS)
def test_an_operation_reports_an_error_although_it_was_performed(quick, undisturbed, kind):
    for nth in (1, 2, 5):
        layout = "packed" if nth % 2 and kind != "mkdir" else "folders"
        folder = quick / f"{kind} done {nth}"
        failing = Failing(f"disk.{kind}", nth, disk_error(errno.EIO), when="after")
        raised = run_failing(folder, failing, TRAIN[layout])
        assert failing.failed, (kind, nth)
        assert raised is None or type(raised) is CheckpointError
        check_goes_on(folder, layout, 4, undisturbed(layout))


@pytest.mark.parametrize("kind", [*(f"disk.{kind}" for kind in KINDS), "storage.begin", "storage.commit"])
def test_an_asynchronous_study_goes_on_too(quick, kind):
    for nth, times in ((1, ONCE), (4, FOR_GOOD), (7, ONCE)):
        folder = quick / f"asynchronous {kind} {nth}"
        failing = Failing(kind, nth, disk_error(errno.ENOSPC) if kind.startswith("disk") else LOCKED, times)
        run_failing(folder, failing, train_with_folders, synchronous=False)
        assert failing.failed
        with make(folder, synchronous=False) as study:
            check_files(study)
            study.run(train_with_folders, workers=0, verbose=0)
            trials = study.trials()
            assert {trial.state for trial in trials} == {TrialState.COMPLETED}
            assert {trial.member for trial in trials if trial.end_step == 4} == {0, 1, 2}
            assert all(trial.failures == 0 and trial.losses == 0 for trial in trials)
            check_files(study)


@pytest.mark.parametrize(
    ("kind", "nth", "times", "layout"),
    [
        ("disk.write", 2, ONCE, "packed"),
        ("disk.fsync", 3, FOR_GOOD, "folders"),
        ("disk.rename", 1, FOR_GOOD, "packed"),
        ("disk.mkdir", 3, ONCE, "folders"),
    ],
)
def test_the_disk_fails_in_a_local_worker(quick, undisturbed, kind, nth, times, layout):
    folder = quick / f"worker {kind}"
    failing, code = Failing(kind, nth, disk_error(errno.ENOSPC), times), TRAIN[layout]

    def train_failing(trials):
        with armed(failing):
            code(trials)

    study = make(folder)
    with pytest.raises(CheckpointError, match=os.strerror(errno.ENOSPC)) as raised:
        study.run(train_failing, workers=2, verbose=0)
    assert type(raised.value) is CheckpointError
    # the full disk counts against no trial
    assert {(trial.failures, trial.losses) for trial in study.trials()} == {(0, 0)}
    assert TrialState.WAITING in {trial.state for trial in study.trials()}
    check_goes_on(folder, layout, 4, undisturbed(layout))


def test_a_save_that_fails_counts_against_no_trial(quick, undisturbed):
    folder, left = quick / "save", iter(range(5))

    def save_failing(state, folder):
        if next(left) == 4:
            raise OSError("500 requested and 0 written")  # numpy, on a full disk
        save(state, folder)

    def train_failing(trials):
        for trial in trials.attach(build, save=save_failing, load=load):
            for _ in trial.range():
                trial.state.weights = trial.state.weights + trial["lr"] * np.random.standard_normal(4)
            trial.report(score=float(trial.state.weights.sum()))

    study = make(folder)
    with pytest.raises(CheckpointError, match="500 requested and 0 written"):
        study.run(train_failing, workers=0, verbose=0)
    assert {(trial.failures, trial.losses) for trial in study.trials()} == {(0, 0)}
    check_goes_on(folder, "folders", 4, undisturbed("folders"))


@pytest.mark.parametrize(("kind", "nth", "times"), [("storage.begin", 9, FOR_GOOD), ("storage.commit", 12, ONCE)])
def test_the_database_fails_under_local_workers(quick, undisturbed, kind, nth, times):
    folder = quick / f"workers {kind}"
    raised = run_failing(folder, Failing(kind, nth, LOCKED, times), train, workers=2)
    assert type(raised) is StorageBusy
    assert {(trial.failures, trial.losses) for trial in make(folder).trials()} == {(0, 0)}
    check_goes_on(folder, "packed", 4, undisturbed("packed"))


def test_files_that_cannot_be_deleted_do_not_stop_training(tmp_path, undisturbed):
    make(tmp_path, steps=2).run(train, workers=0, verbose=0)
    there = set((tmp_path / "study.checkpoints").iterdir())
    assert run_failing(tmp_path, Failing("disk.unlink", 1, disk_error(errno.EIO), FOR_GOOD), train) is None
    assert there < set((tmp_path / "study.checkpoints").iterdir())
    study = make(tmp_path)
    assert facts(study) == undisturbed("packed")
    check_files(study)


@contextlib.contextmanager
def no_file_larger_than(size):
    """Make the system itself refuse writes, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


@pytest.mark.parametrize("grown", [0, 4096, 40_000, 120_000])
def test_writes_that_the_system_refuses(tmp_path, undisturbed, grown):
    make(tmp_path, steps=2).run(train, workers=0, verbose=0)
    study = make(tmp_path)
    with no_file_larger_than(grown), pytest.raises((StorageError, CheckpointError)):
        study.run(train, workers=0, verbose=0)
    assert not open_database(tmp_path / "study.db").owned
    check_files(study)
    study.run(train, workers=0, verbose=0)
    assert facts(study) == undisturbed("packed")


def test_a_told_result_that_could_not_be_written_can_be_told_again(tmp_path, at_the_driver):
    study = make(tmp_path)
    trial = study.ask()
    with armed(at_the_driver(Failing("storage.commit", 1, LOCKED))), pytest.raises(StorageBusy):
        study.tell(trial, score=1.0, checkpoint={"weights": [0.0]})
    for point, when in (("storage.begin", "before"), ("storage.commit", "before"), ("storage.commit", "after")):
        with armed(Failing(point, 1, LOCKED, when=when)), pytest.raises(StorageBusy):
            study.tell(trial, score=1.0, checkpoint={"weights": [0.0]})
    told = study.tell(trial, score=1.0, checkpoint={"weights": [0.0]})
    assert (told.score, told.attempts) == (1.0, 1)
    study.checkpoints.verify(told.checkpoint)
    assert study.status().trials["completed"] == 1


@pytest.mark.parametrize("held", [False, True])
def test_a_study_that_cannot_write_on_closing_still_releases_the_database(tmp_path, held):
    study = make(tmp_path)
    for _ in range(9):
        trial = study.ask()
        study.tell(trial, score=float(trial.number), checkpoint={"weights": [0.0]})
    waiting = study.ask() if held else None
    with armed(Failing("storage.begin", 1, LOCKED, FOR_GOOD)), pytest.raises(StorageBusy):
        study.close()
    assert not open_database(tmp_path / "study.db").owned
    again = make(tmp_path)
    trial = again.ask(worker="w")
    assert trial.number == 9
    assert waiting is None or waiting.number == trial.number
    assert (trial.record.failures, trial.record.losses) == (0, 0)
    again.close()
    check_files(again)


def test_a_temporarily_unreadable_checkpoint_is_neither_called_damaged_nor_deleted(tmp_path):
    study = make(tmp_path, steps=1)
    study.run(train, workers=0, verbose=0)
    (first, *_) = study.trials()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(name) for name in os.listdir("/dev/fd"))  # noqa: PTH208
    resource.setrlimit(resource.RLIMIT_NOFILE, (used, hard))
    held = []
    try:
        with contextlib.suppress(OSError):
            for _ in itertools.count():
                held.append(os.open("/dev/null", os.O_RDONLY))
        for use in (study.checkpoints.open, study.checkpoints.verify):
            with pytest.raises(CheckpointError) as caught:
                use(first.checkpoint)
            assert type(caught.value) is CheckpointError
            assert os.strerror(errno.EMFILE) in str(caught.value)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in held:
            os.close(descriptor)
    study.checkpoints.verify(first.checkpoint)
