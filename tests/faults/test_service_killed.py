"""A server, or a worker of it, is killed at any moment: a synchronous study has the trials of an uninterrupted run."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial

import pytest

pytest.importorskip("grpc")

from phyletic.remote.grpc_connection import GrpcConnection
from phyletic.remote.remote_owner import LONGEST_HOLD
from phyletic.study.study import Study
from phyletic.testing.example import example_study, facts, reference
from phyletic.testing.training import Journal, drawing, start_process


class KillableServer:
    """``phyletic serve`` in a process of its own, always on the same port."""

    def __init__(self, folder):
        self.storage = f"sqlite:///{folder}/study.db"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"grpc://127.0.0.1:{self.port}"
        self.process = None
        self.kills = 0

    def start(self, failpoint=""):
        environment = {**os.environ, "PHYLETIC_FAILPOINT": failpoint}
        command = [sys.executable, "-m", "phyletic", "serve", self.storage, "--grpc-port", str(self.port)]
        self.process = subprocess.Popen(
            [*command, "--http-port", "0"], env=environment, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout.readline().startswith("serving") or failpoint

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.kills += 1

    def terminate(self):
        self.process.terminate()
        return self.process.wait(20)


@pytest.fixture
def server(tmp_path):
    started = KillableServer(tmp_path)
    yield started
    if started.process is not None:
        started.process.kill()
        started.process.wait()


def test_a_server_killed_between_any_two_calls_changes_no_trial(server, monkeypatch):
    server.start()
    study = example_study(server.url, population=2)

    def killed_before(call):
        def calling(*given, **named):
            # the thread that renews leases calls at any time
            if threading.current_thread() is threading.main_thread():
                server.kill()
                server.start()
            return call(*given, **named)

        return calling

    monkeypatch.setattr(GrpcConnection, "exchange", killed_before(GrpcConnection.exchange))
    drawing()(study)
    monkeypatch.undo()
    assert server.kills >= 8
    assert facts(study) == reference(2)
    assert [trial.attempts for trial in study.trials()] == [1] * 8


@pytest.mark.parametrize("failpoint", ["storage.begin.after", "storage.commit.before", "storage.commit.after"])
@pytest.mark.parametrize("nth", [2, 5, 9])
def test_a_server_that_dies_within_a_decision_changes_no_trial(server, tmp_path, failpoint, nth):
    server.start()
    example_study(server.url, population=2)
    assert server.terminate() == 0
    server.start(f"{failpoint}:{nth}")
    ran = partial(_run, server.url)
    with start_process(ran, tmp_path) as client:
        assert server.process.wait(30) == -signal.SIGKILL
        server.start()
        output, _ = client.communicate(timeout=60)
    assert client.returncode == 0, output
    study = Study("study", storage=server.url)
    assert facts(study) == reference(2)
    assert all(trial.attempts == 1 for trial in study.trials())


def test_a_killed_worker_loses_its_trial_to_another_when_its_lease_has_passed(server, tmp_path):
    server.start()
    study = example_study(server.url)
    journal = Journal(tmp_path / "notes")

    def hang(trial):
        journal.note(trial=trial.number)
        if trial.number == 7 and trial.record.attempts == 1:
            time.sleep(600)

    with start_process(partial(_run, server.url, drawing(hang)), tmp_path) as worker:
        journal.wait_for(8)
        worker.kill()
    study.owner.keep_trying(lease_seconds=3.0)
    study.run(drawing(hang), workers=0, verbose=0)
    assert facts(study) == reference()
    assert [trial.losses for trial in study.trials()] == [int(number == 7) for number in range(20)]


def test_sigterm_hands_the_trial_back_and_ends_with_143(server, tmp_path):
    server.start()
    study = example_study(server.url)
    hold = tmp_path / "hold"
    hold.touch()
    journal = Journal(tmp_path / "notes")

    def hang(trial):
        journal.note(trial=trial.number)
        while trial.number == 7 and hold.exists() and not trial.should_stop:
            time.sleep(0.01)

    with start_process(partial(_run, server.url, drawing(hang)), tmp_path) as worker:
        journal.wait_for(8)
        worker.terminate()
        output, _ = worker.communicate(timeout=30)
    assert worker.returncode == 143, output
    hold.unlink()
    assert not study.finished
    study.run(drawing(hang), workers=0, verbose=0)
    assert facts(study) == reference()


def test_sigterm_ends_a_worker_that_waits_for_a_trial(server, tmp_path):
    server.start()
    study = example_study(server.url, population=1)
    trial = study.ask()
    with start_process(partial(_run, server.url), tmp_path) as worker:
        until = time.monotonic() + 20
        while len(study.database._connection.rows("study", -1).sessions) < 2:
            assert time.monotonic() < until
            time.sleep(0.05)
        # its ask is held now
        time.sleep(0.5)
        worker.terminate()
        began = time.monotonic()
        output, _ = worker.communicate(timeout=60)
    assert worker.returncode == 143, output
    assert time.monotonic() - began < LONGEST_HOLD, "it waited for its ask to end"
    assert study.tell(trial, score=1.0).attempts == 1


def test_a_server_ends_by_sigterm_with_status_0_and_answers_what_came_in(server):
    server.start()
    study = example_study(server.url)
    trial = study.ask()
    assert server.terminate() == 0
    server.start()
    with contextlib.closing(study):
        assert study.tell(trial, score=1.0).score == 1.0


def _run(url, train=None):
    # a shell that starts the tests in the background makes them ignore the signal
    signal.signal(signal.SIGINT, signal.default_int_handler)
    study = Study("study", storage=url)
    study.owner.keep_trying(lease_seconds=3.0)
    study.database.patience = 60.0
    study.run(train or drawing(), workers=0, verbose=0)
