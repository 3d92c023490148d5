"""A disk or a database that fails at any moment gives a typed error; reopened, the study ends as it would have."""

import contextlib
import errno
import itertools
import os
import resource
import shutil
import signal
import sqlite3

import numpy as np
import pytest

import phyletic as ph
from phyletic.errors import CheckpointError, PhyleticError, StorageBusy, StorageError
from phyletic.failpoints import armed
from phyletic.records import CheckpointState, TrialState
from phyletic.storage import reading
from phyletic.storage.store import open_store
from phyletic.testing.facts import facts


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


def passing_error(code):
    """What SQLite raises where the database is locked or the disk is full."""
    text = {"SQLITE_BUSY": "database is locked", "SQLITE_FULL": "database or disk is full"}[code]
    error = sqlite3.OperationalError(text)
    error.sqlite_errorname = code
    return error


class Failing:
    """Fails at the nth operation whose failpoint begins with a prefix, and at ``times`` of them in all."""

    def __init__(self, prefix, nth, times=1):
        self.prefix, self.left, self.times, self.failed_at = prefix, nth, times, []

    def error(self, name):
        return next(error for kind, error in ERRORS.items() if name.startswith(kind))

    def __call__(self, name):
        if name.startswith(self.prefix) and name != "coordinator.decided":
            self.left -= 1
            if self.left <= 0 < self.times:
                self.times -= 1
                self.failed_at.append(name)
                if name.startswith("storage"):
                    raise passing_error("SQLITE_BUSY" if "begin" in name else "SQLITE_FULL")
                raise OSError(self.error(name), os.strerror(self.error(name)))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    found = {}
    for states, code in TRAIN.items():
        study = make(tmp_path_factory.mktemp("undisturbed"))
        study.run(code, verbose=0)
        found[states] = facts(study)
    return found


def run_failing(folder, failing, code, synchronous=True):
    """Create and run a study in a failing world; returns the error that it ended with, if any."""
    with armed(failing):
        try:
            study = make(folder, synchronous)  # outlives the failing world, so that its finalizer runs in a sound one
            study.run(code, workers=0, verbose=0)
        except PhyleticError as error:
            return error
    return None


def check_files(study):
    """Every durable checkpoint is as it was published, and nothing else is there once the study was opened."""
    study.source()
    study.owner.begin()
    with open_store(study.storage).read() as connection:
        stored = reading.load_study(connection, study.name)
        rows = reading.checkpoints(connection, stored.id, [CheckpointState.DURABLE])
    for row in rows:
        study.checkpoints.verify(row.reference)
    root = study.checkpoints.root
    found = root.iterdir() if root.exists() else ()
    there = {path.name.partition(".")[0] for path in found if path.name != "staging"}
    assert there == {row.id for row in rows}
    if (root / "staging").exists():
        assert [path.suffix for path in (root / "staging").iterdir()] in ([], [".owner"])
    study.close()


ERRORS = {"disk.write": errno.ENOSPC, "disk.fsync": errno.EIO, "disk.rename": errno.EACCES, "disk.unlink": errno.EIO}


def try_nth(folder, nth, undisturbed, prefix=""):
    """Fail at the nth operation, reopen, and compare; returns what was passed when it failed, and the error."""
    folder.mkdir()
    states = ("packed", "folders")[nth % 2]
    failing = Failing(prefix, nth)
    raised = run_failing(folder, failing, TRAIN[states])
    if not failing.failed_at:
        return "", None
    (point,) = failing.failed_at
    if raised is not None:
        assert isinstance(raised, StorageBusy if point.startswith("storage") else CheckpointError)
        assert isinstance(raised, StorageBusy) or os.strerror(failing.error(point)) in str(raised)
    # nothing is held on to, so another process could go on
    assert not open_store(folder / "study.db").owned
    study = make(folder)
    check_files(study)
    study.run(TRAIN[states], workers=0, verbose=0)
    assert facts(study) == undisturbed[states], (nth, point, raised)
    check_files(study)
    return point, raised


@pytest.mark.parametrize("first", [1, 18, 35])
def test_the_nth_operation_fails_and_the_study_ends_as_one_never_interrupted(tmp_path, undisturbed, first):
    met = [try_nth(tmp_path / str(nth), nth, undisturbed) for nth in range(first, min(first + 17, 51))]
    assert all(point for point, _ in met)
    assert sum(raised is not None for _, raised in met) > len(met) / 2


@pytest.mark.parametrize("prefix", [*ERRORS, "storage.begin", "storage.commit"])
def test_a_later_operation_of_each_kind_fails(tmp_path, undisturbed, prefix):
    met = [try_nth(tmp_path / str(nth), nth, undisturbed, prefix) for nth in (3, 8, 14, 20)]
    assert sum(point.startswith(prefix) for point, _ in met) >= 2


@pytest.mark.parametrize("nth", [1, 2, 3, 5, 8, 13, 21, 34, 55])
def test_a_world_that_goes_on_failing_gives_a_typed_error_and_lets_go(tmp_path, undisturbed, nth):
    raised = run_failing(tmp_path, Failing("", nth, times=10**9), train)
    assert isinstance(raised, (CheckpointError, StorageBusy))
    assert not open_store(tmp_path / "study.db").owned
    study = make(tmp_path)
    check_files(study)
    study.run(train, workers=0, verbose=0)
    assert facts(study) == undisturbed["packed"]


@pytest.mark.parametrize("nth", range(3, 53, 7))
def test_an_asynchronous_study_goes_on_too(tmp_path, nth):
    run_failing(tmp_path, Failing("", nth), train, synchronous=False)
    study = make(tmp_path, synchronous=False)
    check_files(study)
    study.run(train, workers=0, verbose=0)
    trials = study.trials()
    assert {trial.state for trial in trials} == {TrialState.COMPLETED}
    assert {trial.member for trial in trials if trial.end_step == 4} == {0, 1, 2}
    assert all(trial.failures == 0 and trial.losses == 0 for trial in trials)
    check_files(study)


def test_what_cannot_be_removed_keeps_nobody_from_training(tmp_path, undisturbed):
    make(tmp_path, steps=2).run(train, workers=0, verbose=0)
    staging = tmp_path / "study.checkpoints" / "staging"
    left = staging / f"{'0' * 16}.{'a' * 32}.0"
    left.write_bytes(b"unfinished")
    assert run_failing(tmp_path, Failing("disk.unlink", 1, times=10**9), train) is None
    assert left.exists()
    study = make(tmp_path)
    assert facts(study) == undisturbed["packed"]
    check_files(study)


@contextlib.contextmanager
def no_file_larger_than(size):
    """The system itself refuses writes: what a full disk does, to whoever writes next."""
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
    assert not open_store(tmp_path / "study.db").owned
    check_files(study)
    study.run(train, workers=0, verbose=0)
    assert facts(study) == undisturbed["packed"]


def test_a_told_result_that_could_not_be_written_can_be_told_again(tmp_path):
    study = make(tmp_path)
    trial = study.ask()
    for point in ("storage.begin.before", "storage.commit.before", "storage.commit.after"):
        with armed(Failing(point, 1)), pytest.raises(StorageBusy):
            study.tell(trial, score=1.0, checkpoint={"weights": [0.0]})
    told = study.tell(trial, score=1.0, checkpoint={"weights": [0.0]})
    assert (told.score, told.attempts) == (1.0, 1)
    study.checkpoints.verify(told.checkpoint)
    assert study.status().trials["completed"] == 1


@pytest.mark.parametrize("held", [False, True])
def test_a_study_that_cannot_write_its_last_word_lets_go_all_the_same(tmp_path, held):
    study = make(tmp_path)
    for _ in range(9):
        trial = study.ask()
        study.tell(trial, score=float(trial.number), checkpoint={"weights": [0.0]})
    waiting = study.ask() if held else None
    with armed(Failing("storage.begin", 1, times=10**9)), pytest.raises(StorageBusy):
        study.close()
    assert not open_store(tmp_path / "study.db").owned
    again = make(tmp_path)
    trial = again.ask(worker="w")
    assert trial.number == 9
    assert waiting is None or waiting.number == trial.number
    assert (trial.record.failures, trial.record.losses) == (0, 0)
    again.close()
    check_files(again)


def test_a_checkpoint_that_cannot_be_read_now_is_not_called_damaged_and_not_deleted(tmp_path):
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


# --- an older copy of the database ------------------------------------------------------------------------------------


@pytest.mark.parametrize("synchronous", [True, False])
@pytest.mark.parametrize("states", TRAIN)
def test_an_older_copy_of_the_database_goes_on_from_what_is_there(tmp_path, synchronous, states):
    study = make(tmp_path, synchronous, steps=3)
    study.run(TRAIN[states], workers=0, verbose=0)
    shutil.copy(tmp_path / "study.db", tmp_path / "older.db")
    known = {trial.number: trial for trial in study.trials()}
    make(tmp_path, synchronous, steps=8).run(TRAIN[states], workers=0, verbose=0)
    shutil.copy(tmp_path / "older.db", tmp_path / "study.db")
    root = study.checkpoints.root
    newer = {path.name.partition(".")[0] for path in root.iterdir() if path.name != "staging"}
    again = make(tmp_path, synchronous, steps=6)
    again.run(TRAIN[states], workers=0, verbose=0)
    trials = {trial.number: trial for trial in again.trials()}
    # what it knew it still says, what is missing was found to be so, and every member reached the end
    assert {number: trials[number] for number in known} == known
    ended = [trial for trial in trials.values() if trial.state is TrialState.COMPLETED and trial.end_step == 6]
    assert {trial.member for trial in ended} == {0, 1, 2}
    failed = [trial for trial in trials.values() if trial.state is TrialState.FAILED]
    assert all("missing" in trial.error and trial.failures == 0 for trial in failed)
    assert {event.payload["cause"] for event in again.events() if event.kind == "trial given up"} <= {"damaged"}
    # bytes that this database never condemned are left alone
    condemned = {trial.checkpoint.id for trial in trials.values() if trial.checkpoint}
    left = {path.name.partition(".")[0] for path in root.iterdir()}
    assert newer - condemned <= left


def test_an_older_copy_loses_no_checkpoint_that_is_still_there(tmp_path):
    study = make(tmp_path, steps=3)
    study.run(train, workers=0, verbose=0)
    for trial in study.trials()[-3:]:
        study.pin(trial)
    study.close()
    shutil.copy(tmp_path / "study.db", tmp_path / "older.db")
    make(tmp_path, steps=8).run(train, workers=0, verbose=0)
    shutil.copy(tmp_path / "older.db", tmp_path / "study.db")
    again = make(tmp_path, steps=8)
    again.run(train, workers=0, verbose=0)
    # pinned in both, so the heads are there: nothing is damaged, and it ends as it would have
    whole = make(tmp_path / "whole", steps=8)
    whole.run(train, workers=0, verbose=0)
    assert facts(again) == facts(whole)


def test_two_databases_with_one_folder_delete_nothing_of_each_other(tmp_path):
    folder = tmp_path / "checkpoints"
    studies = [make(tmp_path / name, steps=3, checkpoints=folder, seed=seed) for seed, name in enumerate("ab")]
    for study in studies:
        study.run(train, workers=0, verbose=0)
    first = [trial.checkpoint for trial in studies[0].trials()[-3:]]
    staged = studies[0].checkpoints.staging("f" * 32)  # unfinished, of a process that lives
    for study in [make(tmp_path / name, steps=6, checkpoints=folder, seed=seed) for seed, name in [(1, "b"), (1, "b")]]:
        study.run(train, workers=0, verbose=0)
    for reference in first:
        studies[0].checkpoints.verify(reference)
    assert staged.is_dir()
    make(tmp_path / "a", steps=6, checkpoints=folder, seed=0).run(train, workers=0, verbose=0)
    for study in studies:
        trials = study.trials()
        assert {trial.state for trial in trials} == {TrialState.COMPLETED}
        for trial in trials[-3:]:
            study.checkpoints.verify(trial.checkpoint)
