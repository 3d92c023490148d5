"""The schema of a database: made, recognised, or brought up to date.

A new database gets today's tables at once, and one up to date is recognised by one query; Alembic is imported only
where there is an older one to migrate.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection

from phyletic.errors import NotFound, StorageError
from phyletic.storage.tables import metadata

HEAD = "0003"
"""The latest revision under ``migrations/versions``; revisions are numbered upwards."""
_FIRST = "0003"
"""The first revision that this version can read; earlier ones were never released."""

# Written as Alembic itself writes it.
_VERSION_TABLE = (
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
    "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)


def refuse_foreign(connection: Connection, name: str) -> bool:
    """Return whether a database has today's schema; False where it is empty or older.

    Args:
        connection: Any connection to it.
        name: The database's name, for messages.

    Raises:
        StorageError: A later version of phyletic wrote the database, or one before the first release, or another
            program.
    """
    revision = _revision(connection)
    if revision is None:
        if sa.inspect(connection).get_table_names():
            raise StorageError(f"{name} is a database of another program: give another path")
        return False
    if "" < revision < _FIRST:
        raise StorageError(
            f"{name} was made before the first release of phyletic, whose studies this version cannot read: begin the "
            "study anew in another file, or read this one with the version that wrote it"
        )
    if revision > HEAD:
        raise StorageError(
            f"{name} was written by a later version of phyletic (schema {revision}, this one knows {HEAD}): "
            "upgrade phyletic (pip install --upgrade phyletic)"
        )
    return revision == HEAD


def prepare_schema(connection: Connection) -> None:
    """Make the tables in an empty database, or migrate an older one, in the transaction that the caller has begun."""
    if _revision(connection) is None:
        metadata.create_all(connection, checkfirst=False)
        connection.exec_driver_sql(_VERSION_TABLE)
        connection.exec_driver_sql(f"INSERT INTO alembic_version (version_num) VALUES ('{HEAD}')")
    else:
        from phyletic.storage.migrations import migrate

        migrate(connection)


def check_schema(connection: Connection, name: str) -> None:
    """Raise where a database cannot be read as it is.

    Args:
        connection: A connection that reads.
        name: The database's name, for messages.

    Raises:
        NotFound: It is empty.
        StorageError: It is of another version of phyletic, or of another program.
    """
    if refuse_foreign(connection, name):
        return
    revision = _revision(connection)
    if revision is None:
        raise NotFound(f"{name} holds no study yet")
    raise StorageError(
        f"{name} was written by an earlier version of phyletic (schema {revision or 'none'}, now {HEAD}): open the "
        "study once for writing, which brings it up to date"
    )


def _revision(connection: Connection) -> str | None:
    """Return the revision: "" where it is to be migrated from the very beginning, None without a version table."""
    try:
        row = connection.exec_driver_sql("SELECT version_num FROM alembic_version").first()
    except (sa.exc.OperationalError, sa.exc.ProgrammingError) as error:
        if "no such table" in str(error.orig):
            return None
        raise
    return "" if row is None else str(row[0])
