"""Kill the workers' process trees when their owner is gone: a tiny process of its own, run by path.

The owner tells it through a pipe which process groups exist. The pipe ends with the owner, for whatever reason. The
reaper imports only the standard library, so that it starts in about ten milliseconds and stays small. It also
recognises a worker's processes by their environment, which children inherit even if they begin a session and a group of
their own.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Mapping

MARKER = "PHYLETIC_SESSION"
"""The environment variable with a worker's session, after those of the workers that it runs under."""

_PROCESSES = "/proc"


def members(groups: Mapping[int, str]) -> list[int]:
    """Return the living processes of some process groups, or with their sessions in the environment.

    Args:
        groups: Sessions by the number of their process group.

    Returns:
        Process numbers, without this process. Empty on systems without ``/proc`` (macOS).
    """
    sessions = {session.encode() for session in groups.values()}
    found = []
    with contextlib.suppress(OSError):
        for entry in os.listdir(_PROCESSES):  # noqa: PTH208 - a process that must start fast imports no pathlib
            if entry.isdigit() and int(entry) != os.getpid() and _belongs(entry, groups, sessions):
                found.append(int(entry))
    return found


def _belongs(entry: str, groups: Mapping[int, str], sessions: set[bytes]) -> bool:
    """Whether a process, given by its name in ``/proc``, is alive and in one of the groups or sessions.

    Args:
        entry: The process's name in ``/proc``, which is its number.
        groups: Sessions by the number of their process group.
        sessions: The same sessions, encoded.
    """
    try:
        # the name, in parentheses, may contain anything; state, parent and group follow it
        state, _, group, *_ = _read(f"{_PROCESSES}/{entry}/stat").rpartition(b")")[2].split()
        if state in (b"Z", b"X"):
            return False
        if int(group) in groups:
            return True
        environment = _read(f"{_PROCESSES}/{entry}/environ")
    except (OSError, ValueError):
        return False
    marker = MARKER.encode() + b"="
    marked = [line[len(marker) :].split() for line in environment.split(b"\0") if line.startswith(marker)]
    return bool(marked) and not sessions.isdisjoint(marked[0])


def _read(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123
        return file.read()


def kill_groups(groups: Mapping[int, str]) -> None:
    """Kill process groups and all processes of their sessions, and wait until none of them runs.

    After five seconds stop waiting: a process inside an uninterruptible system call may outlast them.

    Args:
        groups: Sessions by the number of their process group.
    """
    deadline = time.monotonic() + 5.0
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    while True:
        # repeat, because a process may fork between the listing and its end
        alive = members(groups)
        for process in alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        if not alive or time.monotonic() > deadline:
            return
        time.sleep(0.005)


def main(owner: int) -> None:
    """Follow the owner's messages on standard input, and kill its workers when it is gone.

    Args:
        owner: The owner's process, which is the parent of this process as long as it lives.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    groups: dict[int, str] = {}
    rest = b""
    while True:
        if not select.select([0], [], [], 1.0)[0]:
            # a child that the owner forked may hold the pipe open, so look at the parent once the pipe is empty
            if os.getppid() != owner:
                break
            continue
        chunk = os.read(0, 65536)
        if not chunk:
            break
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            word, group, session = line.decode().split()
            if word == "guard":
                groups[int(group)] = session
            else:
                groups.pop(int(group), None)
    kill_groups(groups)


if __name__ == "__main__":
    main(int(sys.argv[1]))
