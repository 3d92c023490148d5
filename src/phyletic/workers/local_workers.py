"""Running a study's trials in processes of this machine."""

from __future__ import annotations

import contextlib
import os
import secrets
import selectors
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from phyletic.coordinator.channel import Channel
from phyletic.coordinator.messages import Join, Refused, Reply
from phyletic.errors import StorageError
from phyletic.workers.environment import visible_devices, worker_environment
from phyletic.workers.fleet import Fleet
from phyletic.workers.fleet_protocol import Broke, Died, End, Event, Outcome, Patience, Said
from phyletic.workers.interrupts import Interrupts
from phyletic.workers.local_worker import LocalWorker, log_tail, start_worker
from phyletic.workers.pickling import check_not_imported_again, main_module, pack, pack_text, search_path
from phyletic.workers.process_tree import Lifeline, creation_time
from phyletic.workers.run_fleet import FleetRun
from phyletic.workers.run_options import RunOptions
from phyletic.workers.wire import Answers, Broken, Setup

__all__ = ["LocalProcesses", "run_local_workers"]

_PIDFD = hasattr(os, "pidfd_open")


def run_local_workers(
    channel: Channel,
    train: Callable[..., object],
    options: RunOptions,
    *,
    space: Mapping[str, Any],
    checkpoints: str,
    logs: Path,
    announce: Callable[[str], None] | None = None,
    study: str = "",
    patience: Patience | None = None,
) -> Outcome:
    """Run a study's trials in processes of this machine, until there are none left.

    Args:
        channel: Reaches the coordinator.
        train: The training function; called in each worker with a source of trials.
        options: How many workers, and how they run.
        space: The search space's JSON form.
        checkpoints: Address of the blobs of checkpoints.
        logs: Folder for the workers' output, one file per worker.
        announce: Takes a line for the person at the terminal; standard error by default.
        study: The study's uuid, by which a request to stop finds this run.
        patience: How long workers have for what; the options' times by default.

    Returns:
        How it ended.

    Raises:
        InvalidArgument: ``train`` cannot be sent to another process.
        StorageError: The folder of the logs cannot be made.
        TrainingError: The training code broke the contract of the loop.
        StudyFailed: No worker could begin, and the message ends with what they wrote; or this is a process that
            multiprocessing spawned and that imports its program again.
    """
    patience = patience or Patience(trial=options.trial_timeout, hand_back=options.grace)
    check_not_imported_again()
    setup = _setup(train, options, space, checkpoints, patience)
    try:
        logs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"the folder of the workers' logs, {logs}, cannot be made: {error.strerror}") from error
    processes = LocalProcesses(setup, options, logs)
    with contextlib.closing(processes):
        fleet = Fleet(options.count, patience, time.monotonic())
        tell = announce or (lambda text: print(text, file=sys.stderr, flush=True))
        return FleetRun(channel, processes, fleet, announce=tell).run(Interrupts(study))


def _setup(
    train: Callable[..., object], options: RunOptions, space: Mapping[str, Any], checkpoints: str, patience: Patience
) -> Setup:
    """Return what each worker is told first; its name and session are filled in later."""
    name, file = main_module()
    python_path = os.environ.get("PYTHONPATH")
    return Setup(
        train=pack(train),
        worker="",
        session="",
        reload=options.reload,
        space=dict(space),
        checkpoints=pack_text(checkpoints),
        beat_seconds=patience.beat,
        path=tuple(map(pack_text, search_path())),
        arguments=tuple(map(pack_text, sys.argv)),
        main_name=name,
        main_file=None if file is None else pack_text(file),
        python_path=None if python_path is None else pack_text(python_path),
    )


class LocalProcesses:
    """Workers in processes of this machine; implements :class:`phyletic.workers.fleet_protocol.Processes`.

    Args:
        setup: What each worker is told first; its name and session are filled in.
        options: Their devices, threads and environment.
        logs: Folder for their output.
    """

    def __init__(self, setup: Setup, options: RunOptions, logs: Path) -> None:
        self._setup = setup
        self._options = options
        self._logs = logs
        self._workers: dict[int, LocalWorker] = {}
        self._lifeline = Lifeline()
        self._selector = selectors.DefaultSelector()

    def start(self, place: int) -> Join:
        """Start a worker's process; see :meth:`Processes.start`."""
        session, devices = secrets.token_hex(16), self._options.devices
        variables = worker_environment(
            session,
            devices=None if devices is None else visible_devices(devices, place),
            threads=self._options.threads,
            additions=self._options.environment,
        )
        worker = start_worker(
            f"worker-{place}", session, environment=variables, log=self._log(place), lifeline=self._lifeline
        )
        self._workers[place] = worker
        for end in (worker.connection.fileno(), worker.pidfd):
            if end is not None:
                self._selector.register(end, selectors.EVENT_READ, place)
        return Join(session=session, worker=worker.name, pid=worker.pid, created=creation_time(worker.pid))

    def begin(self, place: int) -> None:
        """Send a worker its setup."""
        worker = self._workers[place]
        worker.connection.send(msgspec.structs.replace(self._setup, worker=worker.name, session=worker.session))
        self._watch(worker)

    def poll(self, seconds: float) -> list[Event]:
        """Wait for messages, deaths or some seconds; see :meth:`Processes.poll`."""
        events: list[Event] = []
        # without pidfd a death is noticed by looking
        for place in {key.data: None for key, _ in self._selector.select(seconds if _PIDFD else 0.05)}:
            worker = self._workers[place]
            worker.connection.flush()
            events += self._read(place, worker)
            self._watch(worker)
        return events + [Died(place) for place, worker in self._workers.items() if worker.died()]

    def send(self, place: int, replies: tuple[Reply, ...]) -> None:
        """Send as much as the socket takes now; :meth:`poll` sends the rest."""
        worker = self._workers[place]
        worker.connection.send(Answers(replies))
        self._watch(worker)

    def kill(self, place: int) -> tuple[list[Event], End]:
        """Kill a worker with its tree, and read what it had said; see :meth:`Processes.kill`."""
        worker = self._workers.pop(place)
        worker.kill()
        self._lifeline.release(worker.pid)
        events = self._read(place, worker)
        for end in (worker.connection.fileno(), worker.pidfd):
            self._forget(end)
        worker.close()
        return events, End(epitaph=worker.epitaph(), kind=worker.end)

    def is_suspended(self, place: int) -> bool:
        """Whether a worker's process is stopped (SIGSTOP)."""
        return self._workers[place].is_suspended()

    def output(self, place: int) -> str:
        """Name the log of a place."""
        return f"its output is in {self._log(place)}"

    def output_tail(self, place: int) -> str:
        """Return the end of a place's log; empty if there is none."""
        log = self._log(place)
        return log_tail(log) if log.exists() else ""

    def close(self) -> None:
        """Close what watched over the workers, and end those that are left."""
        for place in list(self._workers):
            self.kill(place)
        self._selector.close()
        self._lifeline.close()

    def _log(self, place: int) -> Path:
        return self._logs / f"worker-{place}.log"

    def _read(self, place: int, worker: LocalWorker) -> list[Event]:
        """Return what a worker has sent."""
        events: list[Event] = []
        try:
            for message in worker.connection.receive():
                if isinstance(message, Broken):
                    error = Refused(error=message.error, message=f"{worker.name}: {message.message}")
                    events.append(Broke(place, error))
                else:
                    events.append(Said(place, message.commands))
        except msgspec.DecodeError as error:
            worker.kill(f"sent what is no message ({error})")
        return events

    def _watch(self, worker: LocalWorker) -> None:
        """Have the selector wait for what a worker's ends can do next."""
        connection = worker.connection
        if connection.ended:
            self._forget(connection.fileno())
        else:
            waiting = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.sending else 0)
            self._selector.modify(connection.fileno(), waiting, self._selector.get_key(connection.fileno()).data)

    def _forget(self, end: int | None) -> None:
        if end is not None and end in self._selector.get_map():
            self._selector.unregister(end)
