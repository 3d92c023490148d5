"""Ending workers with all that they started: one by one, with their owner, and the survivors of an earlier owner."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterable

from phyletic.storage.changes import SessionRecord
from phyletic.workers import reaper

__all__ = ["Lifeline", "creation_time", "kill_survivors", "kill_tree"]

_CLOCK_TOLERANCE = 1.5
"""Seconds by which the same creation time may read differently after the system's clock was set."""


def creation_time(pid: int) -> float | None:
    """Return when a process was created, in seconds since 1970; None if there is no such process.

    Args:
        pid: The process.
    """
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def kill_tree(pid: int, session: str) -> list[int]:
    """Kill a worker, its process group, its descendants and all that carries its session in the environment.

    The worker must lead its process group and must not be reaped yet, so that its number cannot be another's.

    Args:
        pid: The worker's process.
        session: Identity of the session it runs.

    Returns:
        The processes that are still alive, such as one in an uninterruptible system call.
    """
    import psutil

    descendants = []
    with contextlib.suppress(psutil.Error):
        # read while the worker lives: an orphan's parent is someone else
        descendants = psutil.Process(pid).children(recursive=True)
    left = reaper.kill_groups({pid: session})
    for process in descendants:
        with contextlib.suppress(psutil.Error):
            # compares creation times, so a number that was used again is not touched
            process.kill()
    return left


def kill_survivors(records: Iterable[SessionRecord]) -> list[int]:
    """Kill the workers that an earlier owner left behind.

    Args:
        records: Sessions that did not end. A process is killed only if both its number and its creation time are those
            that were recorded, since its number may belong to another process by now.

    Returns:
        The workers that were killed.
    """
    killed = []
    for record in records:
        if record.pid is None or record.created is None:
            continue
        created = creation_time(record.pid)
        if created is not None and abs(created - record.created) < _CLOCK_TOLERANCE:
            kill_tree(record.pid, record.session)
            killed.append(record.pid)
    return killed


class Lifeline:
    """Workers live as long as it is open: its reaper, a process outside all groups, kills them at its end.

    A worker whose owner is gone also ends by itself when it says something next. The reaper ends those that cannot:
    stopped ones, those whose code holds the interpreter, and what they started in groups of their own.
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
        """Have a worker's process group ended with this process.

        Args:
            group: The process group.
            session: What its processes carry in their environment.
        """
        self._tell(f"guard {group} {session}\n")

    def release(self, group: int) -> None:
        """Forget a process group: nothing of it is alive, so its number may be used again."""
        self._tell(f"release {group} -\n")

    def close(self) -> None:
        """End the lifeline, and with it whatever is still guarded."""
        assert self._reaper.stdin is not None
        with contextlib.suppress(OSError):
            self._reaper.stdin.close()
        self._reaper.wait()

    def _tell(self, message: str) -> None:
        assert self._reaper.stdin is not None
        # without a reaper, which somebody killed, workers still end by themselves
        with contextlib.suppress(BrokenPipeError):
            self._reaper.stdin.write(message.encode())
