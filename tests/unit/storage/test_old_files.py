"""Studies that earlier versions stored are read unchanged, go on, and survive a killed migration."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner

import phyletic as ph
from phyletic.records import TrialState
from phyletic.storage import migrations, open_database
from phyletic.storage.schema import HEAD

FIXTURES = Path(__file__).parents[2] / "fixtures"
VERSIONS = sorted(path.name for path in FIXTURES.glob("v*"))


def fixture_code() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_fixtures", FIXTURES / "make_fixtures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make = fixture_code()


@pytest.fixture(params=VERSIONS)
def old(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Return a copy of an old database, with its checkpoints beside it."""
    shutil.copytree(FIXTURES / request.param, tmp_path / "old")
    return tmp_path / "old" / "old.db"


def dumped(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((path.parent / "old.json").read_text())
    return document


def bring_up_to_date(path: Path) -> None:
    store = open_database(path)
    store.own()
    store.release()


def differences(was: Any, now: Any, where: str = "") -> list[str]:
    """Return where the document read now differs from the one written then; later versions may add fields."""
    if isinstance(was, dict) and isinstance(now, dict):
        missing = [f"{where}.{key} is gone" for key in was if key not in now]
        return missing + [
            line for key in was if key in now for line in differences(was[key], now[key], f"{where}.{key}")
        ]
    if isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        return [line for place in range(len(was)) for line in differences(was[place], now[place], f"{where}[{place}]")]
    return [] if was == now else [f"{where}: {was!r} was written, {now!r} is read"]


def revision_of(path: Path) -> str:
    """Return a database's revision without changing the file."""
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    finally:
        connection.close()
    return str(revision)


def test_every_released_schema_has_a_fixture() -> None:
    revisions = sorted(path.name.split("_")[0] for path in (migrations.SCRIPTS / "versions").glob("v*.py"))
    assert revisions[-1] == f"v{HEAD}"
    assert revisions == VERSIONS, "write the missing fixture: python tests/fixtures/make_fixtures.py"
    assert [f"v{revision_of(FIXTURES / version / 'old.db')}" for version in VERSIONS] == VERSIONS
    files = [file for version in VERSIONS for file in (FIXTURES / version).rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 200_000 * len(VERSIONS)


def test_a_database_from_before_the_first_release_is_refused_and_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    connection = sqlite3.connect(path)
    connection.executescript(
        "CREATE TABLE alembic_version (version_num TEXT); INSERT INTO alembic_version VALUES ('0001'); "
        "CREATE TABLE study (id INTEGER)"
    )
    connection.close()
    before = path.read_bytes()
    store = open_database(path)
    with pytest.raises(ph.errors.StorageError, match="made before the first release"):
        store.own()
    assert not store.owned
    with pytest.raises(ph.errors.StorageError, match="made before the first release"), store.read():
        pass
    assert path.read_bytes() == before


def test_an_old_database_is_read_as_it_was_written(old: Path) -> None:
    bring_up_to_date(old)
    assert differences(dumped(old), make.dump(old)) == []


def test_old_checkpoints_load_bit_for_bit(old: Path) -> None:
    bring_up_to_date(old)
    study = ph.Study("old", storage=old)
    said = dumped(old)["old"]
    assert said["states"]
    for number in map(int, said["states"]):
        state = study.restore(number)
        assert math.isnan(state["log"]["bad"])
        assert str(state["weights"].dtype) == "float32"
        fresh = make.build(type("Trial", (dict,), {"seed": 0})(width=len(state["weights"]) // 4))
        assert (study.restore(number, weights=fresh["weights"])["weights"] == state["weights"]).all()
    hand = ph.Study("by hand", storage=old)
    assert float((hand.checkpoint_path() / "value.txt").read_text()) == hand.best.score


def test_an_old_study_is_resumed_where_it_stopped(old: Path) -> None:
    said = {trial["number"]: trial for trial in dumped(old)["old"]["trials"]}
    study = ph.Study(
        "old", space=make.SPACE, algorithm=make.ALGORITHM, metric=["score", "seconds"], mode=["max", "min"],
        storage=old, seed=7, budget=ph.Budget(steps=30),
    )  # fmt: skip
    study.run(make.train, verbose=0)
    assert study.finished
    trials = {trial.number: trial for trial in study.trials()}
    for number, was in said.items():
        if was["state"] in ("completed", "partial"):
            assert differences(was, json.loads(json.dumps(make._plain(make.msgspec.to_builtins(trials[number]))))) == []
        else:
            assert trials[number].state is TrialState.COMPLETED
            assert trials[number].hyperparameters == was["hyperparameters"]
    # the trial that ran when the old owner died runs again, without a failure or a loss
    (running,) = [number for number, was in said.items() if was["state"] == "running"]
    assert (trials[running].attempts, trials[running].losses, trials[running].failures) == (2, 0, 0)
    (resumed,) = [trial for trial in trials.values() if trial.decision.kind == "resume"]
    assert (resumed.start_step, resumed.steps_done) == (17, 3)
    assert {
        trial.end_step for trial in trials.values() if trial.generation == max(t.generation for t in trials.values())
    } == {30}
    explored = [trial for trial in trials.values() if trial.number > max(said) and trial.decision.kind == "exploit"]
    assert explored
    for trial in explored:
        how = {change.path: change.how for change in trial.decision.changes}
        assert how["lr"].startswith("gentle@sha256:")
    # member 1's bad trial was pinned: its checkpoint is still there
    assert math.isnan(trials[5].score or 0.0)
    assert study.checkpoint_path(5).exists()
    study.pin(5, keep=False)
    with pytest.raises(ph.errors.NotFound):
        study.checkpoint_path(5)


def test_another_explore_function_of_the_same_name_is_a_mismatch(old: Path) -> None:
    bring_up_to_date(old)

    def gentle(values: dict[str, Any], rng: Any) -> dict[str, Any]:
        return {"lr": values["lr"]}

    with pytest.raises(ph.errors.StudyMismatch, match="explore"):
        ph.Study("old", storage=old, algorithm=dataclasses.replace(make.ALGORITHM, explore=gentle))


def test_the_command_line_shows_an_old_study(old: Path) -> None:
    from phyletic.cli import main

    bring_up_to_date(old)
    for command in (["studies"], ["show", "old"], ["best", "old"], ["schedule", "old"], ["show", "by hand"]):
        result = CliRunner().invoke(main, [*command, "--storage", str(old)])
        assert result.exit_code == 0, result.output


# --- a killed migration; only this test has a revision after the current one ---

REVISION = """
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "9998", "{head}", None, None


def upgrade():
    with op.batch_alter_table("trial", recreate="always") as table:  # copies the table
        table.add_column(sa.Column("priority", sa.Integer, nullable=False, server_default="1"))
    op.create_table("note", sa.Column("id", sa.Integer, primary_key=True), sa.Column("text", sa.Text))
    op.execute("INSERT INTO note (text) SELECT name FROM study")
"""

MIGRATING = """
import json, os, pathlib, signal, sys
import alembic.command
import sqlalchemy as sa
from phyletic.failpoints import armed
from phyletic.storage import migrations, schema, open_database

schema.HEAD = "9998"
migrations.SCRIPTS = pathlib.Path(sys.argv[1])
statements = 0

def migrate(path, nth, failpoint):
    @sa.event.listens_for(sa.Engine, "before_cursor_execute")
    def count(*ignored):
        global statements
        statements += 1
        if statements == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    def passed(name):
        if name == failpoint:
            os.kill(os.getpid(), signal.SIGKILL)

    with armed(passed):
        store = open_database(path)
        store.own()
        store.release()
    os._exit(statements)

for job in json.loads(sys.argv[2]):
    child = os.fork()
    if child == 0:
        try:
            migrate(*job)
        finally:
            os._exit(255)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations"
    shutil.copytree(migrations.SCRIPTS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "v9998_later.py").write_text(REVISION.format(head=HEAD))
    return folder


def migrate(scripts: Path, *jobs: tuple[Path, int, str]) -> list[int]:
    """Migrate files, each in a process that kills itself at its nth statement or at a failpoint.

    Returns:
        For each file the number of statements, or minus the signal that ended its process.
    """
    told = json.dumps([(str(path), nth, failpoint) for path, nth, failpoint in jobs])
    done = subprocess.run(
        [sys.executable, "-c", MIGRATING, str(scripts), told], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return [int(line) for line in done.stdout.split()]


def contents(path: Path) -> tuple[str, dict[str, str], list[tuple[Any, ...]]]:
    """Return the revision, the schema and the trials."""
    connection = sqlite3.connect(path)
    try:
        (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        tables = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
        columns = [row[1] for row in connection.execute("PRAGMA table_info(trial)") if row[1] != "priority"]
        trials = connection.execute(f"SELECT {', '.join(columns)} FROM trial ORDER BY study, number").fetchall()
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finally:
        connection.close()
    return revision, {name: re.sub(r"\s+", " ", sql) for name, sql in tables}, trials


def test_a_migration_killed_anywhere_leaves_the_old_schema_or_the_new(old: Path, scripts: Path, tmp_path: Path) -> None:
    before = contents(old)

    def copied(name: str) -> Path:
        return Path(shutil.copyfile(old, tmp_path / f"{name}.db"))

    (statements,) = migrate(scripts, (copied("whole"), 0, ""))
    revision, later, trials = contents(tmp_path / "whole.db")
    assert revision == "9998"
    assert {"note", "trial_by_score"} <= set(later)
    assert later != before[1]
    assert trials == before[2]

    killed = [(copied(f"at-{nth}"), nth, "") for nth in range(1, statements + 1)]
    killed += [(copied(name), 0, f"storage.{name}") for name in ("begin.before", "begin.after", "commit.before")]
    assert statements > 10
    assert migrate(scripts, *killed) == [-9] * len(killed)
    for path, *_ in killed:
        assert contents(path) == before, path
    committed = copied("commit.after")
    assert migrate(scripts, (committed, 0, "storage.commit.after")) == [-9]
    assert contents(committed) == ("9998", later, trials)

    # the next owner migrates them, or finds them migrated
    again = [path for path, *_ in killed[3:-1:3]]
    assert all(count > 10 for count in migrate(scripts, *((path, 0, "") for path in again)))
    for path in again:
        assert contents(path) == ("9998", later, trials)
    (few,) = migrate(scripts, (committed, 0, ""))
    assert 0 < few < 5
    assert contents(committed) == ("9998", later, trials)
