"""Killing a worker with all that it started, and the survivors of an earlier owner."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Protocol

from phyletic.workers.reaper import kill_groups

__all__ = ["RecordedProcess", "creation_time", "kill_survivors", "kill_tree"]

_CLOCK_TOLERANCE = 1.5
"""Seconds by which the same creation time may read differently after the system's clock was set."""


class RecordedProcess(Protocol):
    """What an owner wrote down about a worker's process."""

    @property
    def session(self) -> str:
        """Identity of the session it ran."""

    @property
    def pid(self) -> int | None:
        """Its process; None where it was not a local one."""

    @property
    def created(self) -> float | None:
        """Its creation time, as :func:`creation_time` gave it."""


def creation_time(pid: int) -> float | None:
    """Return when a process was created, in seconds since 1970; None where there is none.

    Args:
        pid: The process.
    """
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def kill_tree(pid: int, session: str) -> list[int]:
    """Kill a worker, its process group, its descendants and whatever carries its session in the environment.

    The worker must lead its process group and must not be reaped yet, so that its number cannot be another's.

    Args:
        pid: The worker's process.
        session: Identity of the session it runs.

    Returns:
        The processes that outlasted it, such as one in an uninterruptible system call.
    """
    import psutil

    descendants = []
    with contextlib.suppress(psutil.Error):
        # read while the worker lives: an orphan's parent is someone else
        descendants = psutil.Process(pid).children(recursive=True)
    left = kill_groups({pid: session})
    for process in descendants:
        with contextlib.suppress(psutil.Error):
            # compares creation times, so a number that was used again is not touched
            process.kill()
    return left


def kill_survivors(records: Iterable[RecordedProcess]) -> list[int]:
    """Kill the workers that an earlier owner left behind.

    Args:
        records: Sessions that did not end. A process is killed only where its number and its creation time are those
            that were recorded: a number alone may be another's by now.

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
