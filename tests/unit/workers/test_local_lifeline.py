"""Each of the ways in which a worker ends with its owner holds alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from phyletic.workers.lifeline import Lifeline
from phyletic.workers.reaper import MARKER

WORKER = """
import sys, time
sys.platform = "other"  # without the system's own signal at a parent's death
from phyletic.workers.lifeline import end_with_owner
end_with_owner(int(sys.argv[1]), int(sys.argv[2]))
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def lifeline() -> Iterator[Lifeline]:
    lifeline = Lifeline()
    yield lifeline
    lifeline.close()


def start_worker(lifeline: Lifeline, owner: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(lifeline.worker_end), str(owner)],
        pass_fds=[lifeline.worker_end],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def start_sleeper(session: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "600"], start_new_session=True, env={**os.environ, MARKER: session})


def reaper_of(lifeline: Lifeline) -> psutil.Process:
    (found,) = [child for child in psutil.Process().children() if "reaper" in str(child.cmdline())]
    return found


def test_a_worker_ends_when_the_pipe_does() -> None:
    lifeline = Lifeline()
    with start_worker(lifeline, os.getpid()) as worker:
        lifeline.close()
        assert worker.wait(20) == -signal.SIGKILL


def test_a_worker_ends_when_its_parent_is_another_though_the_pipe_is_held(lifeline: Lifeline) -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", "pass"]) as other:
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(lifeline.worker_end), str(other.pid)],
            pass_fds=[lifeline.worker_end],
            start_new_session=True,
            stdout=subprocess.DEVNULL,
        )
        assert process.wait(20) == -signal.SIGKILL


def test_the_reaper_ends_what_is_guarded_and_nothing_else() -> None:
    lifeline = Lifeline()
    guarded, released = start_sleeper("a" * 32), start_sleeper("b" * 32)
    with guarded, released:
        lifeline.guard(guarded.pid, "a" * 32)
        lifeline.guard(released.pid, "b" * 32)
        lifeline.release(released.pid)
        reaper = reaper_of(lifeline)
        lifeline.close()
        assert guarded.wait(20) == -signal.SIGKILL
        assert released.poll() is None
        assert not reaper.is_running()
        released.kill()


def test_a_reaper_that_was_killed_is_replaced_and_told_everything() -> None:
    lifeline = Lifeline()
    first, second = start_sleeper("a" * 32), start_sleeper("b" * 32)
    with first, second:
        lifeline.guard(first.pid, "a" * 32)
        killed = reaper_of(lifeline)
        killed.kill()
        killed.wait(20)
        lifeline.guard(second.pid, "b" * 32)
        assert reaper_of(lifeline).pid != killed.pid
        lifeline.close()
        assert first.wait(20) == second.wait(20) == -signal.SIGKILL


def test_a_process_forked_from_the_owner_does_not_hold_the_lifeline() -> None:
    lifeline = Lifeline()
    read_end, write_end = os.pipe()
    with start_worker(lifeline, os.getpid()) as worker:
        child = os.fork()
        if child == 0:
            os.close(write_end)
            os.read(read_end, 1)
            os._exit(0)
        lifeline.close()
        assert worker.wait(20) == -signal.SIGKILL
        os.close(write_end)
        os.close(read_end)
        os.waitpid(child, 0)
