"""End workers with all that they started: one by one, with their owner, and the survivors of an earlier owner."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterable

from phyletic.storage.changes import SessionRecord
from phyletic.workers import reaper

_CLOCK_TOLERANCE = 1.5
"""Seconds by which a creation time may change when someone sets the system's clock."""


def creation_time(pid: int) -> float | None:
    """Return when a process was created, in seconds since 1970; None if it does not exist."""
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def kill_tree(pid: int, session: str) -> None:
    """Kill a worker, its process group, its descendants and all processes with its session in their environment.

    The worker must lead its process group. It may have ended a moment ago, but no longer, because another process may
    get its number.

    Args:
        pid: The worker's process.
        session: Identity of the session it runs.
    """
    import psutil

    descendants = []
    with contextlib.suppress(psutil.Error):
        # read them while the worker lives: an orphan gets another parent
        descendants = psutil.Process(pid).children(recursive=True)
    reaper.kill_groups({pid: session})
    for process in descendants:
        with contextlib.suppress(psutil.Error):
            # psutil compares creation times, so this spares another process with the same number
            process.kill()


def kill_survivors(records: Iterable[SessionRecord]) -> None:
    """Kill the workers that an earlier owner left behind.

    Args:
        records: Sessions that did not end. Kill a process only if both its number and its creation time are as
            recorded, because another process may have got its number.
    """
    for record in records:
        if record.pid is not None and record.created is not None:
            created = creation_time(record.pid)
            if created is not None and abs(created - record.created) < _CLOCK_TOLERANCE:
                kill_tree(record.pid, record.session)


class Lifeline:
    """Keeps workers alive while it is open: its reaper, a process outside all groups, kills them at its end.

    A worker without an owner also ends by itself at its next message. The reaper ends the others: suspended workers,
    workers whose code holds the interpreter, and processes that workers started in groups of their own.
    """

    def __init__(self) -> None:
        self._reaper = subprocess.Popen(
            [sys.executable, "-I", "-S", reaper.__file__, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",
            start_new_session=True,
        )

    def guard(self, group: int, session: str) -> None:
        """Have the reaper kill a worker's process group, and all processes of its session, when this process ends."""
        self._tell(f"guard {group} {session}\n")

    def release(self, group: int) -> None:
        """Forget a process group: none of it is alive, so another may get its number."""
        self._tell(f"release {group} -\n")

    def close(self) -> None:
        """End the lifeline, and kill all that it still guards."""
        assert self._reaper.stdin is not None
        with contextlib.suppress(OSError):
            self._reaper.stdin.close()
        self._reaper.wait()

    def _tell(self, message: str) -> None:
        assert self._reaper.stdin is not None
        # if someone killed the reaper, workers still end by themselves
        with contextlib.suppress(BrokenPipeError):
            self._reaper.stdin.write(message.encode())
