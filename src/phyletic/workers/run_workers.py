"""Run a study's trials in workers: processes of this machine, or Ray actors."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from phyletic.coordinator.channel import Channel
from phyletic.errors import StorageError
from phyletic.workers.fleet import Fleet
from phyletic.workers.fleet_protocol import Outcome, Patience, Processes, Starting
from phyletic.workers.interrupts import Interrupts
from phyletic.workers.local_workers import LocalProcesses
from phyletic.workers.pickling import check_not_imported_again, pack, pack_program
from phyletic.workers.run_fleet import FleetRun
from phyletic.workers.run_options import RunOptions
from phyletic.workers.shared_folder import marked
from phyletic.workers.wire import Setup


def run_workers(
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
    """Run a study's trials in workers, until none are left.

    Args:
        channel: Reaches the coordinator.
        train: The training function. Each worker calls it with a source of trials.
        options: How many workers, where, and how they run.
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
    with _processes(setup, options, checkpoints, logs) as processes:
        fleet = Fleet(options.count, patience, time.monotonic())
        tell = announce or (lambda text: print(text, file=sys.stderr, flush=True))
        return FleetRun(channel, processes, fleet, announce=tell, check=check, watch=watch).run(
            interrupts or Interrupts()
        )


@contextlib.contextmanager
def _processes(setup: Setup, options: RunOptions, checkpoints: str, logs: Path) -> Iterator[Processes]:
    """Give the workers' processes, and end those that are left when the block ends.

    Args:
        setup: What each worker needs to begin, without its name and session.
        options: Where the workers run.
        checkpoints: Address of the blobs of checkpoints.
        logs: Folder for their output.
    """
    if options.ray is None:
        with contextlib.closing(LocalProcesses(setup, options, logs)) as local:
            yield local
        return
    from phyletic.workers.ray_processes import RayProcesses

    with (
        marked(checkpoints) as shared,
        contextlib.closing(RayProcesses(setup, options.ray, options, logs, shared)) as actors,
    ):
        yield actors
