"""SIGSTOP halts the owner's process for longer than any deadline, then SIGCONT continues it; no trial is lost."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

import phyletic as ph
from phyletic.coordinator.messages import Command, Reply
from phyletic.errors import Unreachable
from phyletic.workers.detached import detached_source
from phyletic.workers.wire import Answers, Request, receive, send

TIMEOUT = 2.0
LEASE = 3.0

OWNER_OF_WORKERS = """
import os, pathlib, sys, time
import phyletic as ph

folder, synchronous, timeout = pathlib.Path(sys.argv[1]), sys.argv[2] == "synchronous", float(sys.argv[3])

def train(trials):
    for trial in trials.attach(lambda trial: {"weights": [0.0]}):
        (folder / f"began {trial.number} {os.getpid()}").touch()
        while not (folder / "continued").exists():
            time.sleep(0.01)
        trial.report(score=trial["lr"])

study = ph.Study("study", space={"lr": ph.Float(0, 1)}, metric="score", mode="max", seed=0,
                 algorithm=ph.PBT(2, 1, synchronous=synchronous), budget=ph.Budget(trials=4),
                 storage=folder / "study.db")
study.run(train, workers=2, verbose=2, trial_timeout=timeout)
"""

OWNER_OF_LEASES = """
import pathlib, socket, sys, threading, time
import phyletic as ph
from phyletic.coordinator.messages import Ask
from phyletic.workers.wire import Answers, FramedSocket

folder = pathlib.Path(sys.argv[1])

def serve(connection):
    # connects a worker on another machine to its owner: commands in, replies out
    framed = FramedSocket(connection)
    while not framed.ended:
        for request in framed.receive():
            framed.send(Answers(study.owner.execute(request.commands)))
        time.sleep(0.002)

def accept():
    while True:
        threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()

def counting(commands):
    replies = execute(commands)
    with (folder / "asked").open("ab") as file:
        file.write(b"x" * sum(isinstance(command, Ask) for command in commands))
    return replies

listening = socket.create_server(("127.0.0.1", 0))
study = ph.Study("study", space={"lr": ph.Float(0, 1)}, metric="score", mode="max", seed=0,
                 algorithm=ph.PBT(2, 1), budget=ph.Budget(steps=2), storage=folder / "study.db")
execute, study.owner.execute = study.owner.execute, counting
threading.Thread(target=accept, daemon=True).start()
(folder / "port").write_text(str(listening.getsockname()[1]))
while not (folder / "granted").exists():
    time.sleep(0.01)
for trial in study.attach(lambda trial: {"weights": [0.0]}):  # the owner trains every trial that it can get
    trial.report(score=trial["lr"])
time.sleep(60)
"""


@contextmanager
def owner(folder: Path, script: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    (folder / "owner.py").write_text(script)
    process = subprocess.Popen(
        [sys.executable, str(folder / "owner.py"), str(folder), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until(held: Callable[[], object]) -> None:
    deadline = time.monotonic() + 40
    while not held():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize(("synchronous", "workers_too"), [(False, False), (True, True)])
def test_local_workers_lose_nothing_while_their_owner_is_stopped(
    tmp_path: Path, synchronous: bool, workers_too: bool
) -> None:
    """The stop lasts twice as long as a trial may take. It hits the owner alone (Ctrl-Z) or all (a machine sleeps)."""
    mode = "synchronous" if synchronous else "asynchronous"
    with owner(tmp_path, OWNER_OF_WORKERS, mode, str(TIMEOUT)) as process:
        wait_until(lambda: len(list(tmp_path.glob("began*"))) == 2)
        workers = [int(path.name.split()[2]) for path in tmp_path.glob("began*")]
        stopped = [process.pid, *workers] if workers_too else [process.pid]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(2 * TIMEOUT)
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        time.sleep(0.5)  # the owner checks its workers before they send anything
        (tmp_path / "continued").touch()
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    trials = ph.Study("study", storage=tmp_path / "study.db").trials()
    assert [(trial.attempts, trial.losses, trial.failures) for trial in trials[:4]] == [(1, 0, 0)] * 4, said
    # no worker was replaced between two trials
    assert {path.name.split()[2] for path in tmp_path.glob("began*")} == set(map(str, workers))


class Link:
    """A link to the owner in another process that can be cut."""

    def __init__(self, port: int) -> None:
        self._connection = socket.create_connection(("127.0.0.1", port))
        self.speaking = threading.Lock()
        self.cut = threading.Event()

    def exchange(self, commands: Sequence[Command], timeout: float | None = None) -> tuple[Reply, ...]:
        with self.speaking:
            if self.cut.is_set():
                raise Unreachable("there is no route")
            send(self._connection, Request(tuple(commands)))
            answers = receive(self._connection)
        assert isinstance(answers, Answers)
        return answers.replies

    def wait(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.05))

    def close(self) -> None:
        self._connection.close()


def test_a_detached_session_in_another_process_loses_nothing_while_its_owner_is_stopped(tmp_path: Path) -> None:
    """The stop outlasts the lease; the continued owner asks for a trial itself before it hears the session."""
    with owner(tmp_path, OWNER_OF_LEASES) as process:
        wait_until(lambda: (tmp_path / "port").exists() and (tmp_path / "port").read_text())
        link = Link(int((tmp_path / "port").read_text()))
        study = ph.Study("study", storage=tmp_path / "study.db")
        source = detached_source(link, store=study.checkpoints, space=study.space, worker="far", lease_seconds=LEASE)
        with source as trials:
            for trial in trials.attach(lambda trial: {"weights": [0.0]}):
                if not (tmp_path / "granted").exists():
                    (tmp_path / "granted").touch()
                    first = trial.number
                    # until the owner has trained the other member and keeps asking for more
                    wait_until(lambda: {one.end_step for one in study.trials()} >= {None, 2})
                    stop(process, link, tmp_path / "asked")
                    assert not trial.should_stop
                trial.report(score=trial["lr"])
        link.close()
        assert process.poll() is None
    trials_ended = study.trials()
    assert [(trial.attempts, trial.losses, trial.failures) for trial in trials_ended] == [(1, 0, 0)] * 4
    assert study.trial(first).worker == "far"


def stop(process: subprocess.Popen[str], link: Link, asked: Path) -> None:
    """Stop the owner for longer than a lease; restore the link after it has asked for a trial itself."""
    link.cut.set()
    with link.speaking:  # no message is on its way
        process.send_signal(signal.SIGSTOP)
    time.sleep(1.5 * LEASE)
    before = asked.stat().st_size
    process.send_signal(signal.SIGCONT)
    wait_until(lambda: asked.stat().st_size >= before + 2)
    link.cut.clear()
