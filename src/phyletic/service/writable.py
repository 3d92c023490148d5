"""Whether a database takes writes again, tried with bytes that nobody needs."""

from __future__ import annotations

from phyletic import disk
from phyletic.errors import StorageBusy
from phyletic.storage.database import Database

_BYTES = 1 << 16


def check_writable(database: Database, purpose: str) -> None:
    """Raise StorageError unless the database could be written now.

    The bytes go into a file beside it, which is removed again: in the database they would be a change.

    Args:
        database: The database, which this process owns.
        purpose: Names the file, as for :meth:`Database.folder`.
    """
    path = database.folder(purpose)
    try:
        disk.unlink(path)
        try:
            disk.write_parts(disk.create_file(path, 0o600), [bytes(_BYTES)])
        finally:
            disk.unlink(path)
    except OSError as error:
        raise StorageBusy(f"the disk of the database takes no writes: {error.strerror}") from error
    # whether another program has locked it
    with database.transaction():
        pass
