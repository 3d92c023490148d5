"""Running a study's trials in processes of this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from phyletic.coordinator.messages import Command, Reply
from phyletic.errors import InvalidArgument, StorageError
from phyletic.workers.environment import check_devices, check_environment, visible_devices, worker_environment
from phyletic.workers.lifeline import Lifeline
from phyletic.workers.local_worker import LocalWorker, new_session, start_worker
from phyletic.workers.pickling import check_not_imported_again, main_module, pack, pack_text, search_path
from phyletic.workers.supervision import Outcome, Supervision
from phyletic.workers.supervisor import Supervisor
from phyletic.workers.wire import Setup

__all__ = ["Outcome", "Supervision", "run_local_workers"]


def run_local_workers(
    execute: Callable[[Sequence[Command]], Sequence[Reply]],
    train: Callable[..., object],
    *,
    workers: int,
    space: Mapping[str, Any],
    checkpoints: str,
    logs: Path,
    reload: str = "changed",
    devices: Sequence[object] | None = None,
    threads: int | None = 1,
    environment: Mapping[str, str] | None = None,
    supervision: Supervision | None = None,
    announce: Callable[[str], None] | None = None,
    study: str = "",
) -> Outcome:
    """Run a study's trials in processes of this machine, until there are none left.

    Args:
        execute: Decides commands in one transaction and gives a reply for each.
        train: The training function; called in each worker with a source of trials.
        workers: How many processes.
        space: The search space's JSON form.
        checkpoints: Address of the checkpoints.
        logs: Folder for the workers' output, one file per worker.
        reload: ``"changed"`` loads a state only where it is not in memory already, ``"always"`` for every trial.
        devices: What each worker sees of CUDA's devices: an entry per worker, a number, a name or a list of them; used
            in turn where there are fewer entries than workers. None changes nothing.
        threads: Threads of the numerical libraries in each worker; the same for any number of workers, since the order
            of a sum, and so its last bits, depend on it. None leaves the environment as it is.
        environment: Further environment variables of the workers.
        supervision: How workers are watched.
        announce: Takes a line for the person at the terminal; standard error by default.
        study: The study's uuid, by which a request to stop finds this run.

    Returns:
        How it ended.

    Raises:
        InvalidArgument: An argument is out of range, or ``train`` cannot be sent to another process.
        StorageError: The folder of the logs cannot be made.
        TrainingError: The training code broke the contract of the loop.
        StudyFailed: No worker could begin, and the message ends with what they wrote; or this is a process that
            multiprocessing spawned and that imports its program again.
    """
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise InvalidArgument("workers", workers, "a whole number of at least 1")
    check_environment(threads, environment)
    check_devices(devices, workers)
    check_not_imported_again()
    name, file = main_module()
    python_path = os.environ.get("PYTHONPATH")
    setup = Setup(
        train=pack(train),
        worker="",
        session="",
        reload=reload,
        space=dict(space),
        checkpoints=pack_text(checkpoints),
        beat_seconds=(supervision or Supervision()).beat_seconds,
        path=tuple(map(pack_text, search_path())),
        arguments=tuple(map(pack_text, sys.argv)),
        main_name=name,
        main_file=None if file is None else pack_text(file),
        python_path=None if python_path is None else pack_text(python_path),
    )
    try:
        logs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"the folder of the workers' logs, {logs}, cannot be made: {error.strerror}") from error

    def start(place: int, lifeline: Lifeline) -> LocalWorker:
        session, worker = new_session(), f"worker-{place}"
        variables = worker_environment(
            session,
            devices=None if devices is None else visible_devices(devices, place),
            threads=threads,
            additions=environment,
        )
        return start_worker(worker, session, environment=variables, log=logs / f"{worker}.log", lifeline=lifeline)

    supervisor = Supervisor(
        execute,
        start,
        setup,
        places=workers,
        supervision=supervision or Supervision(),
        announce=announce or (lambda text: print(text, file=sys.stderr, flush=True)),
        study=study,
    )
    return supervisor.run()
