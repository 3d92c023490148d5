"""The schema of a database: new, older, later, damaged or of another program."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from phyletic.errors import NotFound, StorageError
from phyletic.storage import open_database, queries
from phyletic.storage.migrations import migrate
from phyletic.storage.schema import HEAD
from phyletic.storage.sqlite_connections import connect_memory

OLDEST = "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"


def schema_of(connection: Any) -> dict[str, str]:
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    return {name: re.sub(r"\s+", " ", sql).replace("( ", "(").replace(" )", ")").strip() for name, sql in rows}


def sqlite_file(path: Path, script: str) -> Path:
    with sqlite3.connect(path) as connection:
        connection.executescript(script)
    connection.close()
    return path


def test_a_new_database_has_the_schema_of_the_migrations(tmp_path: Path) -> None:
    store = open_database(tmp_path / "new.db")
    store.own()
    store.release()
    with sqlite3.connect(tmp_path / "new.db") as fresh:
        made = schema_of(fresh)
        versions = fresh.execute("SELECT version_num FROM alembic_version").fetchall()
    fresh.close()
    migrated = connect_memory()
    with migrated.begin():
        migrate(migrated)
        raw: Any = migrated.connection.driver_connection
        assert schema_of(raw) == made
        assert raw.execute("SELECT version_num FROM alembic_version").fetchall() == versions == [(HEAD,)]
    migrated.close()


def test_an_older_database_is_migrated_when_owned_and_cannot_be_read_before(tmp_path: Path, begin: Any) -> None:
    path = sqlite_file(
        tmp_path / "old.db", "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"
    )
    store = open_database(path)
    with pytest.raises(StorageError, match="for writing"), store.read():
        pass
    studied = begin(store)
    with store.read() as connection:
        stored = queries.load_study(connection, "digits")
    assert stored is not None
    assert stored.identity == studied.stored.identity


def test_a_migration_that_fails_leaves_the_older_database(tmp_path: Path) -> None:
    path = sqlite_file(tmp_path / "old.db", f"{OLDEST}; CREATE TABLE event (x)")
    with pytest.raises(StorageError):
        open_database(path).own()
    with sqlite3.connect(path) as connection:
        assert set(schema_of(connection)) == {"alembic_version", "event"}
    connection.close()


def test_a_later_database_is_refused(tmp_path: Path) -> None:
    store = open_database(tmp_path / "later.db")
    store.own()
    store.release()
    sqlite_file(tmp_path / "later.db", "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StorageError, match=r"9999.*upgrade phyletic"):
        store.own()
    assert not store.owned
    with pytest.raises(StorageError, match=r"9999.*upgrade phyletic"), store.read():
        pass


def test_the_database_of_another_program_is_refused_and_unchanged(tmp_path: Path) -> None:
    path = sqlite_file(tmp_path / "other.db", "CREATE TABLE bookmarks (url TEXT)")
    before = path.read_bytes()
    store = open_database(path)
    with pytest.raises(StorageError, match="another program"):
        store.own()
    with pytest.raises(StorageError, match="another program"), store.read():
        pass
    assert path.read_bytes() == before


def test_a_file_that_is_not_a_database_is_refused_and_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "text.db"
    path.write_text("not a database" * 100)
    store = open_database(path)
    with pytest.raises(StorageError, match="not a database"):
        store.own()
    with pytest.raises(StorageError, match="not a database"), store.read():
        pass
    assert path.read_text() == "not a database" * 100


def test_an_empty_file_holds_no_study_and_can_be_owned(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()
    store = open_database(path)
    with pytest.raises(NotFound, match="no study"), store.read():
        pass
    store.own()
    with store.read() as connection:
        assert queries.studies(connection) == []
    store.release()


def test_the_next_revision_is_generated_from_changed_tables(tmp_path: Path, monkeypatch: Any) -> None:
    import shutil

    import sqlalchemy as sa

    from phyletic.errors import InvalidArgument
    from phyletic.storage import migrations, tables
    from phyletic.storage.migrations.new import next_revision

    with pytest.raises(InvalidArgument, match="other than those of revision"):
        next_revision("nothing")
    changed = sa.MetaData()
    for table in tables.metadata.tables.values():
        table.to_metadata(changed)
    changed.tables["trial"].append_column(sa.Column("priority", sa.Integer, nullable=False, server_default="1"))
    sa.Table("note", changed, sa.Column("id", sa.Integer, primary_key=True))
    monkeypatch.setattr(tables, "metadata", changed)
    shutil.copytree(migrations.SCRIPTS, tmp_path / "m", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(migrations, "SCRIPTS", tmp_path / "m")
    with pytest.raises(InvalidArgument, match="what is 'Trial priority'"):
        next_revision("Trial priority")
    path = next_revision("trial_priority")
    assert path.name == f"v{int(HEAD) + 1:04d}_trial_priority.py"
    migrated = connect_memory()
    with migrated.begin():
        migrate(migrated)
        raw: Any = migrated.connection.driver_connection
        after = schema_of(raw)
    migrated.close()
    made = connect_memory()
    with made.begin():
        changed.create_all(made)
        raw = made.connection.driver_connection
        fresh = schema_of(raw)
    made.close()
    assert set(after) - {"alembic_version"} == set(fresh)
    assert "priority" in after["trial"]
