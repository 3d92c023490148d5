"""One incarnation of a local worker, as its owner has it: its process, its socket and its log."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from phyletic.errors import StudyFailed
from phyletic.workers.process_tree import Lifeline, kill_tree
from phyletic.workers.wire import DISTRUSTED, TERMINATED, FramedSocket

__all__ = ["LocalWorker", "log_tail", "start_worker"]

_REAP_SECONDS = 5.0


@dataclass(eq=False)
class LocalWorker:
    """A worker's process.

    Attributes:
        name: The worker's name, the same for each incarnation.
        session: Identity of this one.
        process: Its process, which leads its process group.
        connection: Its socket.
        log: The file of its output.
        pidfd: File descriptor that becomes readable at its death; None if the system has none.
    """

    name: str
    session: str
    process: subprocess.Popen[bytes]
    connection: FramedSocket
    log: Path
    pidfd: int | None = None
    _killed: bool = False
    _reason: str = ""

    @property
    def pid(self) -> int:
        """Its process number."""
        return self.process.pid

    def died(self) -> bool:
        """Whether its process has ended; if possible it is not reaped yet, so that its number stays its own."""
        if self.process.returncode is not None:
            return True
        if hasattr(os, "waitid"):
            try:
                return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
            except ChildProcessError:
                pass  # someone else reaped it
        return self.process.poll() is not None

    def is_suspended(self) -> bool:
        """Whether its process is suspended (SIGSTOP)."""
        import psutil

        try:
            return bool(psutil.Process(self.pid).status() == psutil.STATUS_STOPPED)
        except psutil.Error:
            return False

    def kill(self, reason: str = "") -> None:
        """Kill its process and all that it started, and reap it; once, since its number may be another's afterwards.

        Args:
            reason: What it did, for its epitaph.
        """
        if self._killed:
            return
        self._killed, self._reason = True, reason
        kill_tree(self.pid, self.session)
        # one that hangs in a system call for good is left to the system: it runs no line of its code any more
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_REAP_SECONDS)

    def close(self) -> None:
        """Close what this process holds of it."""
        self.connection.close()
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None

    @property
    def end(self) -> Literal["well", "asked", "distrusted", "badly"]:
        """How its process ended, once it did."""
        ways: dict[int | None, Literal["well", "asked", "distrusted"]] = {
            0: "well",
            TERMINATED: "asked",
            -signal.SIGTERM: "asked",
            DISTRUSTED: "distrusted",
        }
        return ways.get(self.process.returncode, "badly")

    def epitaph(self) -> str:
        """Say how its process ended."""
        status = self.process.returncode
        if self._reason:
            how = f"{self._reason} and was killed"
        elif status is not None and status < 0:
            name = signal.Signals(-status).name if -status in set(signal.Signals) else "unknown"
            how = f"was killed by signal {-status} ({name})"
            if -status == signal.SIGKILL:
                how += ", by a person or because memory ran out"
        else:
            how = f"ended with status {status}"
        return f"{self.name} (pid {self.pid}) {how}; its output is in {self.log}"


def start_worker(
    name: str, session: str, *, environment: Mapping[str, str], log: Path, lifeline: Lifeline
) -> LocalWorker:
    """Start a worker's process.

    Args:
        name: The worker's name.
        session: Identity of this incarnation.
        environment: All its environment variables.
        log: File that its output is appended to.
        lifeline: Keeps it from outliving this process.

    Raises:
        StudyFailed: The process could not be started.
    """
    try:
        with log.open("ab", buffering=0) as output:
            ours, theirs = socket.socketpair()
            with theirs:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "phyletic.workers.process", str(theirs.fileno()), name],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=[theirs.fileno()],
                    env=dict(environment),
                    start_new_session=True,
                )
            lifeline.guard(process.pid, session)
            now = time.strftime("%Y-%m-%d %H:%M:%S")
            with contextlib.suppress(OSError):
                # the worker lives even if its log cannot be written
                output.write(f"=== {name}, pid {process.pid}, session {session}, {now} ===\n".encode())
    except OSError as error:
        raise StudyFailed(f"{name} could not be started: {error}") from error
    return LocalWorker(name, session, process, FramedSocket(ours), log, _pidfd(process.pid))


def _pidfd(pid: int) -> int | None:
    """Return a file descriptor that becomes readable at a process's death; None if the system has none."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def log_tail(log: Path, lines: int = 30) -> str:
    """Return the end of a worker's output, of its last incarnation.

    Args:
        log: The file.
        lines: At most so many of its last lines.
    """
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 20_000))
            text = file.read().decode(errors="replace")
    except OSError as error:
        return f"({log} could not be read: {error})"
    last = text[text.rfind("=== " + log.stem + ", pid") :] if "=== " + log.stem + ", pid" in text else text
    return "\n".join(last.rstrip().splitlines()[-lines:])
