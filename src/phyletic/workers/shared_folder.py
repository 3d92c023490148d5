"""Whether a worker on another machine sees the folder of checkpoints that its owner uses."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from phyletic import disk
from phyletic.errors import StudyFailed


class SharedFolder(msgspec.Struct, frozen=True):
    """A folder that the owner has marked.

    Attributes:
        path: Its path on the owner's machine, which must lead to it on every machine.
        mark: The name of a file that the owner wrote into it.
    """

    path: str
    mark: str

    def check(self, host: str) -> None:
        """Raise StudyFailed unless this machine sees the same folder.

        Args:
            host: This machine's address, for the error.
        """
        if Path(self.path, self.mark).exists():
            return
        what = "is not the owner's" if Path(self.path).is_dir() else "does not exist"
        raise StudyFailed(
            f"the folder of checkpoints {self.path} {what} on node {host}: give a folder that all nodes share, such as "
            'Study(..., checkpoints="/shared/checkpoints"), or an object store, such as checkpoints="s3://bucket/study"'
        )


@contextmanager
def marked(address: str) -> Iterator[SharedFolder | None]:
    """Mark the folder of checkpoints for the block; give None if the checkpoints are not in a folder.

    Args:
        address: The address of the blobs of checkpoints.
    """
    path = address.removeprefix("volatile:")
    if not path.startswith("/"):
        yield None
        return
    mark = f".{secrets.token_hex(16)}.seen"
    disk.make_folder(path, durable=False)
    disk.write_parts(disk.create_file(f"{path}/{mark}"), [], durable=True)
    try:
        yield SharedFolder(path, mark)
    finally:
        disk.unlink(f"{path}/{mark}")
