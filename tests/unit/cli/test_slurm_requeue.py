"""Which jobs go back into the queue, by what Slurm 22.05 said of them; and a worker's way there.

tests/clusters/test_slurm.py does the same on a real Slurm.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from phyletic.cli.slurm_requeue import goes_on

RUNNING = "JobState=RUNNING Reason=None Dependency=(null) Requeue=1 Restarts=0"
CANCELLED = "JobState=COMPLETING Reason=None Requeue=1 Restarts=0 ExitCode=0:0 PreemptTime=None SuspendTime=None"
PREEMPTED = "JobState=COMPLETING Reason=None Requeue=1 Restarts=0 PreemptTime=2026-11-30T23:54:48 SuspendTime=None"
OUT_OF_TIME = "JobState=COMPLETING Reason=TimeLimit Requeue=1 Restarts=0 PreemptTime=None SuspendTime=None"
QUEUED_ALREADY = "JobState=COMPLETING Reason=None Requeue=1 Restarts=1 StartTime=Unknown EndTime=Unknown"

TRAIN = """
import time

def train(trials):
    for trial in trials.attach(lambda trial: {"steps": [0]}):
        for step in trial.range():
            trial.state.steps[0] += 1
            time.sleep(trial["pace"])
            open("began", "w").close()
        trial.report(score=trial["pace"])
"""
SCONTROL = """#!/bin/sh
echo "$@" >> calls
if [ "$1" = show ]; then cat described; fi
if [ "$1" = requeue ]; then kill -TERM $PPID; fi
"""


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        (RUNNING, True),
        (PREEMPTED, True),
        (OUT_OF_TIME, True),
        (CANCELLED, False),
        (QUEUED_ALREADY, False),
        ("", False),
    ],
)
def test_a_job_goes_on_unless_it_was_cancelled_or_is_queued_already(described: str, expected: bool) -> None:
    assert goes_on(described) is expected


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(TRAIN)
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(SCONTROL)
    scontrol.chmod(0o755)
    (tmp_path / "described").write_text(RUNNING)
    return tmp_path


class Worker:
    """A worker in a job, as far as its environment tells."""

    def __init__(self, folder: Path, url: str, *options: str) -> None:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SLURM_")},
            "PATH": f"{folder}:{os.environ['PATH']}",
            "SLURM_JOB_ID": "14",
            "SLURM_ARRAY_JOB_ID": "12",
            "SLURM_ARRAY_TASK_ID": "3",
        }
        command = [sys.executable, "-m", "phyletic", "worker", *options, url, "study", "train.py:train"]
        self.folder = folder
        self.process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)

    def wait_for(self, file: str) -> None:
        until = time.monotonic() + 30
        while not (self.folder / file).exists():
            assert time.monotonic() < until
            assert self.process.poll() is None
            time.sleep(0.02)

    def end(self) -> tuple[int, str]:
        _, said = self.process.communicate(timeout=30)
        return self.process.returncode, said

    @property
    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    pytest.importorskip("grpc")
    pytest.importorskip("starlette")
    import phyletic as ph
    from phyletic.service.server import serving

    with serving(f"sqlite:///{folder}/study.db") as server:
        ph.Study(
            "study", space={"pace": ph.Float(0.01, 0.02)}, metric="score", mode="max",
            algorithm=ph.PBT(population=2, interval=2000), budget=ph.Budget(steps=2000), storage=server.url, seed=0,
        )  # fmt: skip
        yield server.url


@pytest.mark.parametrize("workers", ["0", "1"])
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_worker_that_is_warned_hands_back_and_queues_its_job_again(
    folder: Path, url: str, number: int, workers: str
) -> None:
    from phyletic.study.study import Study

    worker = Worker(folder, url, "--requeue", "--workers", workers)
    worker.wait_for("began")
    worker.process.send_signal(number)
    status, said = worker.end()
    assert status == 128 + number, said  # the SIGTERM that a requeue sends changes nothing
    assert worker.calls == ["show job -o 12_3", "requeue 12_3"]
    assert "job 12_3 is in the queue again" in said
    assert Study("study", storage=url).trials()[0].state == "partial"


def test_a_worker_that_was_cancelled_leaves_its_job_alone(folder: Path, url: str) -> None:
    (folder / "described").write_text(CANCELLED)
    worker = Worker(folder, url, "--requeue")
    worker.wait_for("began")
    worker.process.terminate()
    status, said = worker.end()
    assert (status, worker.calls) == (143, ["show job -o 12_3"])
    assert "is not requeued here" in said


def test_a_worker_that_is_warned_before_its_first_trial_queues_its_job_again(folder: Path, url: str) -> None:
    (folder / "train.py").write_text(f"import time\nopen('began', 'w').close()\ntime.sleep(30)\n{TRAIN}")
    worker = Worker(folder, url, "--requeue")
    worker.wait_for("began")
    worker.process.send_signal(signal.SIGUSR1)
    status, said = worker.end()
    assert status == 138, said
    assert worker.calls == ["show job -o 12_3", "requeue 12_3"]


def test_without_requeue_a_worker_hands_back_at_usr1_and_calls_nothing(folder: Path, url: str) -> None:
    worker = Worker(folder, url)
    worker.wait_for("began")
    worker.process.send_signal(signal.SIGUSR1)
    status, said = worker.end()
    assert (status, worker.calls) == (138, []), said


def test_training_code_keeps_its_own_handler_of_usr1(folder: Path, url: str) -> None:
    own = "import signal\nsignal.signal(signal.SIGUSR1, lambda *_: open('own', 'w').close())\n"
    (folder / "train.py").write_text(own + TRAIN)
    worker = Worker(folder, url, "--requeue")
    worker.wait_for("began")
    worker.process.send_signal(signal.SIGUSR1)
    worker.wait_for("own")
    worker.process.terminate()
    assert worker.end()[0] == 143


def test_a_worker_that_fails_or_finishes_is_not_queued_again(folder: Path, url: str) -> None:
    from phyletic.records import Budget
    from phyletic.study.study import Study

    (folder / "train.py").write_text("def train(trials):\n    for trial in trials: raise ValueError('a bug')\n")
    assert Worker(folder, url, "--requeue").end()[0] == 1
    (folder / "train.py").write_text(TRAIN)
    Study("study", storage=url).set_budget(Budget(steps=3))
    worker = Worker(folder, url, "--requeue")
    status, said = worker.end()
    assert (status, worker.calls) == (0, []), said


def test_a_controller_that_does_not_answer_is_told_of(folder: Path, url: str) -> None:
    (folder / "scontrol").write_text("#!/bin/sh\necho 'Unable to contact slurm controller' >&2\nexit 1\n")
    worker = Worker(folder, url, "--requeue")
    worker.wait_for("began")
    worker.process.send_signal(signal.SIGUSR1)
    status, said = worker.end()
    assert status == 138
    assert "scontrol requeue 12_3: Unable to contact slurm controller" in said
