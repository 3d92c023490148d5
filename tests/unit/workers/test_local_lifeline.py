"""Each of the two mechanisms that end a worker with its owner works alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from phyletic.workers.process_tree import Lifeline
from phyletic.workers.reaper import MARKER

FORKING = """
import os, subprocess, sys, time
from phyletic.workers.process_tree import Lifeline
worker = subprocess.Popen(["sleep", "60"], start_new_session=True, env={**os.environ, sys.argv[1]: "a" * 32})
lifeline = Lifeline()
lifeline.guard(worker.pid, "a" * 32)
child = os.fork()
if child == 0:
    time.sleep(60)
print(worker.pid, child, flush=True)
os._exit(0)
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


def start_sleeper(session: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"], start_new_session=True, env={**os.environ, MARKER: session})


def reaper_of(lifeline: Lifeline) -> psutil.Process:
    found, deadline = list[psutil.Process](), time.monotonic() + 20
    while not found and time.monotonic() < deadline:
        # a new process may have no command line yet
        found = [child for child in psutil.Process().children() if "reaper" in str(child.cmdline())]
    (reaper,) = found
    return reaper


def test_the_reaper_kills_only_guarded_processes() -> None:
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


def test_a_lifeline_works_without_its_reaper() -> None:
    lifeline = Lifeline()
    reaper = reaper_of(lifeline)
    reaper.kill()
    reaper.wait(20)
    lifeline.guard(os.getpid(), "a" * 32)
    lifeline.release(os.getpid())
    lifeline.close()


def test_a_process_forked_from_the_owner_does_not_hold_the_lifeline() -> None:
    """The fork keeps the reaper's pipe open, but the reaper notices that its parent changed."""
    command = [sys.executable, "-c", FORKING, MARKER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        worker, child = map(int, owner.stdout.readline().split())
        try:
            assert wait_for_end(worker)
        finally:
            os.kill(child, signal.SIGKILL)


def wait_for_end(pid: int) -> bool:
    """Return whether a process that is not our child ends in time; kill it if not."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    return False


@pytest.mark.parametrize("gone", ["owner.close()", "owner.shutdown(socket.SHUT_WR)"])
def test_a_worker_whose_owner_is_gone_exits_before_its_code_can_do_anything(gone: str) -> None:
    code = SPEAKER.format(gone=gone)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", "")
