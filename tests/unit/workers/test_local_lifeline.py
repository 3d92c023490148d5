"""Each of the ways in which a worker ends with its owner holds alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
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
LEADER = """
import subprocess, sys, time
sys.platform = "other"
from phyletic.workers.lifeline import end_with_owner
end_with_owner(int(sys.argv[1]), int(sys.argv[2]))
print(subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL).pid, flush=True)
time.sleep(600)
"""
BUSY = """
import ctypes, sys
from phyletic.workers.lifeline import end_with_owner
end_with_owner(int(sys.argv[1]), int(sys.argv[2]))
system = ctypes.PyDLL(None)  # calls through which no other thread of this interpreter comes to run
sys.setswitchinterval(1000)
system.write(1, b"ready\\n", 6)
system.sleep(600)
"""
OWNER = """
import os, subprocess, sys
lifeline, held = os.pipe()
command = [sys.executable, "-c", sys.argv[1], str(lifeline), str(os.getpid())]
worker = subprocess.Popen(command, pass_fds=[lifeline], stdout=subprocess.PIPE, text=True, start_new_session=True)
print(worker.pid, worker.stdout.readline(), flush=True)
sys.stdin.read()
"""
SPEAKER = """
import socket, sys
from phyletic.coordinator.messages import Ask
from phyletic.workers.process import SocketChannel
worker, owner = socket.socketpair()
{gone}
try:
    SocketChannel(worker).exchange([Ask(session="0" * 32)])
finally:
    print("training code cleans up")
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
    return subprocess.Popen(["sleep", "60"], start_new_session=True, env={**os.environ, MARKER: session})


def reaper_of(lifeline: Lifeline) -> psutil.Process:
    found, deadline = list[psutil.Process](), time.monotonic() + 20
    while not found and time.monotonic() < deadline:
        # a process that has just been started may have no command line yet
        found = [child for child in psutil.Process().children() if "reaper" in str(child.cmdline())]
    (reaper,) = found
    return reaper


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


def wait_for_end(pid: int) -> bool:
    """Whether a process that is nobody's child here ends."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    return False


def test_a_worker_takes_its_group_with_it() -> None:
    lifeline = Lifeline()
    with subprocess.Popen(
        [sys.executable, "-c", LEADER, str(lifeline.worker_end), str(os.getpid())],
        pass_fds=[lifeline.worker_end],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as worker:
        assert worker.stdout is not None
        child = int(worker.stdout.readline())
        lifeline.close()
        assert worker.wait(20) == -signal.SIGKILL
        assert wait_for_end(child)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
def test_a_worker_none_of_whose_threads_can_run_ends_with_its_owner() -> None:
    with subprocess.Popen(
        [sys.executable, "-S", "-c", OWNER, BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        pid, ready = owner.stdout.readline().split()
        assert ready == "ready"
        owner.kill()
        assert wait_for_end(int(pid))


@pytest.mark.parametrize("gone", ["owner.close()", "owner.shutdown(socket.SHUT_WR)"])
def test_a_worker_that_speaks_to_nobody_ends_before_its_code_can_do_anything(gone: str) -> None:
    code = SPEAKER.format(gone=gone)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", "")
