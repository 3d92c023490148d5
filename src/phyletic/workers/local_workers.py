"""Workers that are processes of this machine: start, poll, send and kill."""

from __future__ import annotations

import contextlib
import secrets
import selectors
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from phyletic.coordinator.messages import Join, Refused, Reply
from phyletic.errors import StudyFailed
from phyletic.workers.fleet_protocol import Broke, Died, End, Event, Said
from phyletic.workers.process_tree import Lifeline, creation_time, kill_tree
from phyletic.workers.run_options import RunOptions, worker_environment
from phyletic.workers.wire import DISTRUSTED, TERMINATED, Answers, FramedSocket, Setup
from phyletic.workers.worker_log import log_header, output_tail

_REAP_SECONDS = 5.0
_DYING_SECONDS = 0.02
"""Longest wait for events while a worker has closed its socket, because its death follows soon."""


@dataclass(eq=False)
class _LocalWorker:
    """One incarnation of a local worker: its process, its socket and its log.

    Attributes:
        name: The worker's name, the same for each incarnation.
        session: Identity of this one.
        process: Its process, which leads its process group.
        connection: Its socket.
        log: The file with its output.
        killed: Whether :meth:`kill` was called.
        misdeed: What the worker did to be killed; empty if nothing.
    """

    name: str
    session: str
    process: subprocess.Popen[bytes]
    connection: FramedSocket
    log: Path
    killed: bool = False
    misdeed: str = ""

    def kill(self, misdeed: str = "") -> None:
        """Kill its process with all that it started, and reap it; do so once, because its number may be used again.

        Args:
            misdeed: What the worker did, for its epitaph.
        """
        if self.killed:
            return
        self.killed, self.misdeed = True, misdeed
        kill_tree(self.process.pid, self.session)
        # a process that hangs in a system call runs no more of its code: the system reaps it later
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_REAP_SECONDS)

    def end(self) -> End:
        """Return how its process ended."""
        status = self.process.returncode
        if self.misdeed:
            how = f"{self.misdeed} and was killed"
        elif status is not None and status < 0:
            name = signal.Signals(-status).name if -status in set(signal.Signals) else "unknown"
            how = f"was killed by signal {-status} ({name})"
            if -status == signal.SIGKILL:
                how += ", by a person or because memory ran out"
        else:
            how = f"ended with status {status}"
        kinds: dict[int | None, Literal["well", "asked", "distrusted"]] = {
            0: "well",
            TERMINATED: "asked",
            -signal.SIGTERM: "asked",
            DISTRUSTED: "distrusted",
        }
        epitaph = f"{self.name} (pid {self.process.pid}) {how}; its output is in {self.log}"
        return End(epitaph=epitaph, kind=kinds.get(status, "badly"))


class LocalProcesses:
    """Workers in processes of this machine; implements :class:`phyletic.workers.fleet_protocol.Processes`.

    Args:
        setup: The first message to each worker, without its name and session.
        options: The workers' devices, threads and environment.
        logs: Folder for their output.
    """

    def __init__(self, setup: Setup, options: RunOptions, logs: Path) -> None:
        self._setup = setup
        self._options = options
        self._logs = logs
        self._workers: dict[int, _LocalWorker] = {}
        self._lifeline = Lifeline()

    def start(self, place: int) -> Join:
        """Start a worker's process; see :meth:`Processes.start`."""
        name, session, log = f"worker-{place}", secrets.token_hex(16), self._log(place)
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
                        env=worker_environment(self._options, place, session),
                        start_new_session=True,
                    )
                self._lifeline.guard(process.pid, session)
                with contextlib.suppress(OSError):  # the worker lives even if its log cannot be written
                    output.write(f"{log_header(name, process.pid, session)}\n".encode())
        except OSError as error:
            raise StudyFailed(f"{name} could not be started: {error}") from error
        self._workers[place] = _LocalWorker(name, session, process, FramedSocket(ours), log)
        return Join(session=session, worker=name, pid=process.pid, created=creation_time(process.pid))

    def begin(self, place: int) -> None:
        """Send a worker its setup."""
        worker = self._workers[place]
        worker.connection.send(msgspec.structs.replace(self._setup, worker=worker.name, session=worker.session))

    def poll(self, seconds: float) -> list[Event]:
        """Wait for messages, deaths or some seconds; see :meth:`Processes.poll`."""
        with selectors.DefaultSelector() as selector:
            for place, worker in self._workers.items():
                if worker.connection.ended:
                    seconds = _DYING_SECONDS
                else:
                    sending = selectors.EVENT_WRITE if worker.connection.sending else 0
                    selector.register(worker.connection, selectors.EVENT_READ | sending, place)
            ready = [key.data for key, _ in selector.select(seconds)]
        events: list[Event] = []
        for place in ready:
            self._workers[place].connection.flush()
            events += self._read(place, self._workers[place])
        return events + [Died(place) for place, worker in self._workers.items() if worker.process.poll() is not None]

    def send(self, place: int, replies: tuple[Reply, ...]) -> None:
        """Send as much as the socket takes now; :meth:`poll` sends the rest."""
        self._workers[place].connection.send(Answers(replies))

    def kill(self, place: int) -> tuple[list[Event], End]:
        """Kill a worker with its tree, and read its last messages; see :meth:`Processes.kill`."""
        worker = self._workers.pop(place)
        worker.kill()
        self._lifeline.release(worker.process.pid)
        events = self._read(place, worker)
        worker.connection.close()
        return events, worker.end()

    def is_suspended(self, place: int) -> bool:
        """Whether a worker's process is suspended (SIGSTOP)."""
        import psutil

        try:
            return bool(psutil.Process(self._workers[place].process.pid).status() == psutil.STATUS_STOPPED)
        except psutil.Error:
            return False

    def beginning(self, place: int) -> str:
        """Say what a worker may be doing before its first ask, and name its log."""
        return f"it still imports, loads its data, or hangs; its output is in {self._log(place)}"

    def output_tail(self, place: int) -> str:
        """Return the end of a place's log, of its last incarnation; empty if it has no log."""
        return output_tail(self._log(place))

    def close(self) -> None:
        """Kill the workers that are left, and close the lifeline."""
        for place in list(self._workers):
            self.kill(place)
        self._lifeline.close()

    def _log(self, place: int) -> Path:
        return self._logs / f"worker-{place}.log"

    def _read(self, place: int, worker: _LocalWorker) -> list[Event]:
        """Return a worker's complete messages."""
        events: list[Event] = []
        try:
            for message in worker.connection.receive():
                if isinstance(message, Refused):
                    error = msgspec.structs.replace(message, message=f"{worker.name}: {message.message}")
                    events.append(Broke(place, error))
                else:
                    events.append(Said(place, message.commands))
        except msgspec.DecodeError as error:
            worker.kill(f"sent bytes that are not a message ({error})")
        return events
