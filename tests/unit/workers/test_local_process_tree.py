"""Killing a process tree kills all of it and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from phyletic.storage.changes import SessionRecord
from phyletic.workers import reaper
from phyletic.workers.process_tree import creation_time, kill_survivors, kill_tree
from phyletic.workers.reaper import MARKER, kill_groups, members

SESSION = "5" * 32

TREE = """
import os, signal, subprocess, sys, time
children = [
    subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"]),
    subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"], start_new_session=True),
    subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"], start_new_session=True, env={}),
]
forked = os.fork()
if forked == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(60)
print(*[child.pid for child in children], forked, flush=True)
time.sleep(60)
"""


@pytest.fixture
def start() -> Iterator[Callable[..., tuple[subprocess.Popen[str], list[int]]]]:
    with ExitStack() as stack:

        def start(session: str = SESSION) -> tuple[subprocess.Popen[str], list[int]]:
            process = subprocess.Popen(
                [sys.executable, "-S", "-c", TREE],
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
                env={**os.environ, MARKER: session},
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdout is not None
            pids = [int(word) for word in process.stdout.readline().split()]
            for pid in pids:
                stack.callback(_kill, pid)
            return process, pids

        yield start


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def running(pids: list[int]) -> list[int]:
    """Return the processes that still run after they had time to end."""
    deadline = time.monotonic() + 5
    while True:
        left = []
        for pid in pids:
            try:
                if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                    left.append(pid)
            except psutil.NoSuchProcess:
                pass
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.01)


def test_the_whole_tree_dies_including_children_in_other_groups_and_environments(start: Callable[..., object]) -> None:
    process, pids = start()  # type: ignore[misc]
    assert len(pids) == 4
    other, others = start("6" * 32)  # type: ignore[misc]
    kill_tree(process.pid, SESSION)
    assert running(pids) == []
    assert process.wait() == -signal.SIGKILL
    assert other.poll() is None
    assert [psutil.pid_exists(pid) for pid in others] == [True] * 4
    kill_tree(other.pid, "6" * 32)
    assert running(others) == []


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="environments are read from /proc")
def test_processes_that_a_dead_worker_left_are_found_by_its_session(start: Callable[..., object]) -> None:
    process, pids = start()  # type: ignore[misc]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    in_group, in_own_session, _, forked = pids
    kill_tree(process.pid, SESSION)
    assert running([in_group, in_own_session, forked]) == []


def test_survivors_are_killed_only_if_pid_and_creation_time_agree(start: Callable[..., object]) -> None:
    process, pids = start()  # type: ignore[misc]
    created = creation_time(process.pid)
    assert created is not None

    def record(pid: int | None, created: float | None) -> SessionRecord:
        return SessionRecord(session=SESSION, worker="worker-0", pid=pid, created=created)

    strangers = [record(process.pid, created - 60), record(process.pid, None), record(None, None)]
    kill_survivors([*strangers, record(2**22 + 1, created)])
    assert process.poll() is None
    kill_survivors([record(process.pid, created)])
    assert process.wait() == -signal.SIGKILL
    assert running(pids) == []


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="groups are read from /proc")
def test_a_process_is_found_by_its_group_even_if_it_emptied_its_environment() -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True, env={"PATH": os.environ["PATH"]}) as process:
        found, others = members({process.pid: "7" * 32}), members({2**22 + 1: "7" * 32})
        process.kill()
    assert (found, others) == ([process.pid], [])


def test_groups_are_killed_even_if_processes_cannot_be_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaper, "_PROCESSES", "/nowhere")
    with subprocess.Popen(["sleep", "20"], start_new_session=True) as process:
        kill_groups({process.pid: SESSION})
        assert process.wait() == -signal.SIGKILL
