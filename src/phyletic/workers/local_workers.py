"""Run a study's trials in processes of this machine."""

from __future__ import annotations

import contextlib
import os
import secrets
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from phyletic.coordinator.channel import Channel
from phyletic.coordinator.messages import Join, Refused, Reply
from phyletic.errors import StorageError, StudyFailed
from phyletic.workers.fleet import Fleet
from phyletic.workers.fleet_protocol import Broke, Died, End, Event, Outcome, Patience, Said, Starting
from phyletic.workers.interrupts import Interrupts
from phyletic.workers.pickling import check_not_imported_again, pack, pack_program
from phyletic.workers.process_tree import Lifeline, creation_time, kill_tree
from phyletic.workers.run_fleet import FleetRun
from phyletic.workers.run_options import RunOptions, worker_environment
from phyletic.workers.wire import DISTRUSTED, TERMINATED, Answers, FramedSocket, Setup

_REAP_SECONDS = 5.0
_DYING_SECONDS = 0.02
"""Longest wait for events while a worker has closed its socket, because its death follows soon."""
_LOG_TAIL_BYTES, _LOG_TAIL_LINES = 20_000, 30


def run_local_workers(
    channel: Channel,
    train: Callable[..., object],
    options: RunOptions,
    *,
    space: Mapping[str, Any],
    checkpoints: str,
    logs: Path,
    announce: Callable[[str], None] | None = None,
    interrupts: Interrupts | None = None,
    check: Callable[[], None] = lambda: None,
    watch: Callable[[Starting | None], None] = lambda starting: None,
    patience: Patience | None = None,
) -> Outcome:
    """Run a study's trials in processes of this machine, until none are left.

    Args:
        channel: Reaches the coordinator.
        train: The training function. Each worker calls it with a source of trials.
        options: How many workers, and how they run.
        space: The search space's JSON form.
        checkpoints: Address of the blobs of checkpoints.
        logs: Folder for the workers' output, one file per worker.
        announce: Shows a line to the person at the terminal; prints it to standard error by default.
        interrupts: Requests to end the run; this function enters it.
        check: Called after each exchange with the coordinator; what it raises ends the run.
        watch: Called several times a second, with the workers that are starting; None once all are ready.
        patience: Times that the fleet grants its workers; the options' times by default.

    Returns:
        How the run ended.

    Raises:
        InvalidArgument: ``train`` cannot be sent to another process.
        StorageError: The folder of the logs cannot be made.
        TrainingError: The training code broke the contract of the loop.
        StudyFailed: No worker could begin, and the message ends with their output; or multiprocessing spawned this
            process, which imports its program again.
    """
    patience = patience or Patience(trial=options.trial_timeout, hand_back=options.grace)
    check_not_imported_again()
    setup = Setup(
        program=pack_program(),
        train=pack(train),
        worker="",
        session="",
        reload=options.reload,
        upload=options.upload,
        space=dict(space),
        checkpoints=os.fsencode(checkpoints),
        beat_seconds=patience.beat,
    )
    try:
        logs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"the folder of the workers' logs, {logs}, cannot be made: {error.strerror}") from error
    with contextlib.closing(_LocalProcesses(setup, options, logs)) as processes:
        fleet = Fleet(options.count, patience, time.monotonic())
        tell = announce or (lambda text: print(text, file=sys.stderr, flush=True))
        return FleetRun(channel, processes, fleet, announce=tell, check=check, watch=watch).run(
            interrupts or Interrupts()
        )


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


class _LocalProcesses:
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
                now = time.strftime("%Y-%m-%d %H:%M:%S")
                with contextlib.suppress(OSError):  # the worker lives even if its log cannot be written
                    output.write(f"=== {name}, pid {process.pid}, session {session}, {now} ===\n".encode())
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

    def output(self, place: int) -> str:
        """Name the log of a place."""
        return f"its output is in {self._log(place)}"

    def output_tail(self, place: int) -> str:
        """Return the end of a place's log, of its last incarnation; empty if it has no log."""
        log = self._log(place)
        try:
            with log.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
                text = file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""
        except OSError as error:
            return f"({log} could not be read: {error})"
        last = text[max(0, text.rfind(f"=== {log.stem}, pid")) :]
        return "\n".join(last.rstrip().splitlines()[-_LOG_TAIL_LINES:])

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
