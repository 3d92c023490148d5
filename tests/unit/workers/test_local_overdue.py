"""Why a worker that lives is killed: it takes too long, does not end, or was suspended; silence alone is no reason."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from subprocess import Popen
from typing import Any, cast

import psutil
import pytest

from phyletic.records import Lease
from phyletic.workers.local_worker import LocalWorker
from phyletic.workers.supervision import Supervision, overdue

WATCH = Supervision(trial_timeout=50.0, exit_grace=30.0, stopped_after=10.0)
LEASE = Lease(trial=3, fence=1, token="1" * 32, session="2" * 32)


@pytest.fixture
def worker() -> Iterator[LocalWorker]:
    """A worker that was last heard at 100 s, whose process sleeps."""
    with Popen(["sleep", "600"]) as process:
        yield LocalWorker("worker-0", "0" * 32, process, cast(Any, None), Path("worker-0.log"), None, heard=100.0)
        process.kill()


def suspend(worker: LocalWorker) -> None:
    os.kill(worker.pid, signal.SIGSTOP)
    deadline = time.monotonic() + 20
    while psutil.Process(worker.pid).status() != psutil.STATUS_STOPPED and time.monotonic() < deadline:
        time.sleep(0.001)


def test_a_silent_worker_is_not_killed_unless_it_is_suspended(worker: LocalWorker) -> None:
    assert overdue(worker, WATCH, 1e6) is None
    suspend(worker)
    assert overdue(worker, WATCH, 110.0) is None
    assert "was suspended for more than 10 s" in (overdue(worker, WATCH, 110.5) or "")


def test_a_trial_has_its_time_from_its_grant_on(worker: LocalWorker) -> None:
    running = replace(worker, lease=LEASE, granted=1000.0)
    assert overdue(running, WATCH, 1050.0) is None
    assert "trial 3 took longer than trial_timeout=50 s" in (overdue(running, WATCH, 1050.5) or "")
    assert overdue(replace(running, lease=None), WATCH, 1050.5) is None


def test_a_worker_has_its_time_to_end_and_no_more(worker: LocalWorker) -> None:
    ending = replace(worker, finished=1000.0)
    assert overdue(ending, WATCH, 1030.0) is None
    assert "had not ended 30 s after its last trial" in (overdue(ending, WATCH, 1030.5) or "")
