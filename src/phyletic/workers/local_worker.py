"""One incarnation of a local worker, as its owner sees it: its process, its socket, and what it is doing."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from phyletic.coordinator.messages import Command, Reply
from phyletic.errors import StudyFailed
from phyletic.records import Lease
from phyletic.workers.lifeline import Lifeline
from phyletic.workers.process_tree import kill_tree
from phyletic.workers.wire import FramedSocket

__all__ = ["LocalWorker", "Pending", "log_tail", "new_session", "start_worker"]

_REAP_SECONDS = 5.0


@dataclass
class Pending:
    """A worker's request, as far as it is answered; the worker waits until all of it is.

    Attributes:
        commands: What it said.
        replies: A reply for each; None where there is none yet (an Ask that there is no trial for).
    """

    commands: tuple[Command, ...]
    replies: list[Reply | None]


@dataclass(eq=False)
class LocalWorker:
    """A worker's process and what its owner knows of it.

    Attributes:
        name: The worker's name, the same for each incarnation.
        session: Identity of this one.
        process: Its process, which leads its process group.
        connection: Its socket.
        log: Where its output goes.
        pidfd: File descriptor that becomes readable at its death; None where the system has none.
        signals: File descriptor from which the numbers of signals that it got are read; None once that is closed.
        lease: The attempt it runs; None while it runs none.
        granted: When that was granted, in seconds of the monotonic clock.
        heard: When it last said something.
        asked: Whether it has ever asked for a trial.
        finished: When it was told that there is nothing to run any more; None before.
        pending: Its request that is not answered yet.
        killed: Whether its tree was killed.
        told_of: How often a person was told that it has not asked for a trial yet.
        asked_to_end: When it was asked to end (SIGTERM), in seconds of the monotonic clock; None while it was not.
        urged: Whether it was asked more than once.
    """

    name: str
    session: str
    process: subprocess.Popen[bytes]
    connection: FramedSocket
    log: Path
    pidfd: int | None
    signals: int | None = None
    lease: Lease | None = None
    granted: float = 0.0
    heard: float = field(default_factory=time.monotonic)
    asked: bool = False
    finished: float | None = None
    pending: Pending | None = None
    killed: bool = False
    told_of: int = 0
    asked_to_end: float | None = None
    urged: bool = False

    @property
    def pid(self) -> int:
        """Its process number."""
        return self.process.pid

    def died(self) -> bool:
        """Whether its process has ended; not reaped where that can be told without, so that its number stays its."""
        if self.process.returncode is not None:
            return True
        if hasattr(os, "waitid"):
            try:
                return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
            except ChildProcessError:
                pass  # someone else reaped it
        return self.process.poll() is not None

    def hear_signals(self) -> bool:
        """Notice that it was asked to end, whatever its code is doing; returns whether more can be heard."""
        if self.signals is None:
            return False
        try:
            said = os.read(self.signals, 4096)
        except BlockingIOError:
            return True
        for _ in range(said.count(signal.SIGTERM)):
            self.urged = self.asked_to_end is not None
            self.asked_to_end = self.asked_to_end or time.monotonic()
        return bool(said)

    def stopped(self) -> bool:
        """Whether its process is suspended (SIGSTOP)."""
        import psutil

        try:
            return bool(psutil.Process(self.pid).status() == psutil.STATUS_STOPPED)
        except psutil.Error:
            return False

    def kill(self) -> None:
        """Kill its process and all that it started, and reap it; once, since its number may be another's afterwards."""
        if self.killed:
            return
        self.killed = True
        kill_tree(self.pid, self.session)
        # one that hangs in a system call for good is left to the system: it runs no line of its code any more
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_REAP_SECONDS)

    def close(self) -> None:
        """Close what this process holds of it."""
        self.connection.close()
        for end in (self.pidfd, self.signals):
            if end is not None:
                os.close(end)
        self.pidfd = self.signals = None

    def epitaph(self) -> str:
        """Say how its process ended."""
        status = self.process.returncode
        if status is not None and status < 0:
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
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            connection, their_connection = socket.socketpair()
            ours.callback(connection.close)
            theirs.callback(their_connection.close)
            signals, their_signals = os.pipe()
            ours.callback(os.close, signals)
            theirs.callback(os.close, their_signals)
            os.set_blocking(signals, False)
            output = theirs.enter_context(log.open("ab", buffering=0))
            inherited = (their_connection.fileno(), lifeline.worker_end, their_signals)
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "phyletic.workers.process", *map(str, inherited), str(os.getpid()), name],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=inherited,
                env=dict(environment),
                start_new_session=True,
            )
            now = time.strftime("%Y-%m-%d %H:%M:%S")
            with contextlib.suppress(OSError):
                # the worker lives: that its log cannot be written is no reason to forget it
                output.write(f"=== {name}, pid {process.pid}, session {session}, {now} ===\n".encode())
            ours.pop_all()
    except OSError as error:
        raise StudyFailed(f"{name} could not be started: {error}") from error
    lifeline.guard(process.pid, session)
    return LocalWorker(name, session, process, FramedSocket(connection), log, _pidfd(process.pid), signals)


def _pidfd(pid: int) -> int | None:
    """Return a file descriptor that becomes readable at a process's death; None where the system has none."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def new_session() -> str:
    """Return a random identity of 32 hexadecimal digits."""
    return secrets.token_hex(16)


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
