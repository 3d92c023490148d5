"""On a real Slurm: a worker that is preempted hands back, is queued again and goes on; one that is cancelled stays so.

``SLURM_ROOT`` names a folder with Debian's unpacked packages if they are not installed; docs/clusters.md says how.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from slurm_cluster import SlurmCluster, programs, slurm_cluster

pytest.importorskip("grpc")
pytest.importorskip("starlette")

import phyletic as ph
from phyletic.records import TrialState
from phyletic.service.server import serving

pytestmark = pytest.mark.skipif(
    programs() is None, reason="needs slurmctld, slurmd and slurm-client, installed or unpacked into SLURM_ROOT"
)

TRAIN = """
import time

def train(trials):
    for trial in trials.attach(lambda trial: {"steps": [0]}):
        for step in trial.range():
            assert trial.state.steps[0] == step, "a step was lost or done twice"
            trial.state.steps[0] += 1
            time.sleep(trial["pace"])
        trial.report(score=trial["pace"])
"""
HIGH = "#!/bin/bash\nsleep 2\n"


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    with slurm_cluster(tmp_path_factory.mktemp("slurm") / "slurm") as cluster:
        yield cluster


@pytest.fixture
def work(slurm: SlurmCluster, tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "high.sh").write_text(HIGH)
    yield tmp_path
    slurm.cancel_all()


def submit(slurm: SlurmCluster, work: Path, url: str, token_file: Path, *options: str) -> str:
    """Submit what ``phyletic slurm`` prints, as a user does."""
    made = subprocess.run(
        [sys.executable, "-m", "phyletic", "slurm", url, "study", "train.py:train", "--partition", "low",
         "--cpus", "1", "--time", "10", "--setup", f"export PATH={Path(sys.executable).parent}:$PATH", *options],
        capture_output=True, text=True, check=True, cwd=work,
    )  # fmt: skip
    (work / "job.sh").write_text(made.stdout)
    return slurm.submit("job.sh", folder=work, PHYLETIC_TOKEN_FILE=str(token_file), OMP_NUM_THREADS="1")


def until(found: Callable[[], object], work: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not found():
        logs = "".join(path.read_text() for path in sorted(work.glob("study-*.log")))
        assert time.monotonic() < end, logs
        time.sleep(0.1)


def tasks(slurm: SlurmCluster, job: str) -> list[dict[str, str]]:
    lines = slurm.call("scontrol", "show", "job", "-o", job).splitlines()
    return [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines if line.strip()]


def make_study(url: str) -> ph.Study:
    return ph.Study(
        "study", space={"pace": ph.Float(0.02, 0.03)}, metric="score", mode="max",
        algorithm=ph.PBT(population=2, interval=200), budget=ph.Budget(steps=600), storage=url, seed=0,
    )  # fmt: skip


def running(study: ph.Study) -> int:
    return sum(trial.state is TrialState.RUNNING for trial in study.trials())


def test_preempted_workers_hand_back_are_queued_again_and_finish_the_study(slurm: SlurmCluster, work: Path) -> None:
    with serving(f"sqlite:///{work}/study.db") as server:
        study = make_study(server.url)
        job = submit(slurm, work, server.url, server.token_file, "--workers", "2")
        until(lambda: running(study) == 2, work)
        time.sleep(1)  # so that both trials have done some steps
        urgent = slurm.submit("--partition=high", "--cpus-per-task=2", "high.sh", folder=work)
        until(lambda: all(task["Restarts"] == "1" for task in tasks(slurm, job)), work)
        partial = [trial for trial in study.trials() if trial.state is TrialState.PARTIAL]
        assert len(partial) == 2
        assert all(trial.steps_done and 0 < trial.steps_done < 200 and trial.checkpoint for trial in partial)
        slurm.wait(urgent, "COMPLETED")
        # Slurm lets a requeued job wait for two minutes
        until(lambda: all(task["JobState"] == "PENDING" for task in tasks(slurm, job)), work)
        slurm.call("scontrol", "update", f"JobId={job}", "StartTime=now")  # of the whole array
        until(lambda: all(task["JobState"] == "COMPLETED" for task in tasks(slurm, job)), work, seconds=120)
        assert study.finished
        assert {trial.end_step for trial in study.trials()} >= {600}
        assert [(trial.failures, trial.losses) for trial in study.trials() if trial.failures or trial.losses] == []
        assert all((task["Restarts"], task["ExitCode"]) == ("1", "0:0") for task in tasks(slurm, job))
    for log in work.glob("study-*.log"):
        text = log.read_text()
        assert text.count("is in the queue again") == 1, text


def test_a_worker_that_is_cancelled_hands_back_and_stays_cancelled(slurm: SlurmCluster, work: Path) -> None:
    with serving(f"sqlite:///{work}/study.db") as server:
        study = make_study(server.url)
        job = submit(slurm, work, server.url, server.token_file)
        until(lambda: running(study) == 1, work)
        time.sleep(1)
        slurm.call("scancel", job)
        slurm.wait(job, "CANCELLED")
        assert study.trials()[0].state is TrialState.PARTIAL
        assert running(study) == 0
        time.sleep(2)
        assert tasks(slurm, job)[0]["JobState"] == "CANCELLED"
        assert tasks(slurm, job)[0]["Restarts"] == "0"


def test_a_worker_that_ends_with_an_error_is_not_queued_again(slurm: SlurmCluster, work: Path) -> None:
    (work / "train.py").write_text("def train(trials):\n    for trial in trials: raise ValueError('a bug')\n")
    with serving(f"sqlite:///{work}/study.db") as server:
        make_study(server.url)
        job = submit(slurm, work, server.url, server.token_file)
        ended = slurm.wait(job, "FAILED")
        assert (ended["Restarts"], ended["ExitCode"]) == ("0", "1:0")


def test_a_worker_that_is_warned_before_it_has_a_trial_is_queued_again(slurm: SlurmCluster, work: Path) -> None:
    (work / "train.py").write_text(f"import time\nopen('imported', 'w').close()\ntime.sleep(60)\n{TRAIN}")
    with serving(f"sqlite:///{work}/study.db") as server:
        study = make_study(server.url)
        job = submit(slurm, work, server.url, server.token_file)
        until((work / "imported").exists, work)
        slurm.call("scancel", "--batch", "--signal=USR1", job)
        until(lambda: tasks(slurm, job)[0]["Restarts"] == "1", work)
        assert len(study.trials()) == 0


def test_requeue_outside_of_a_job_is_refused(work: Path) -> None:
    outside = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    done = subprocess.run(
        [sys.executable, "-m", "phyletic", "worker", "--requeue", "grpc://127.0.0.1:9", "study", "train.py:train"],
        capture_output=True, text=True, cwd=work, env=outside,
    )  # fmt: skip
    assert done.returncode == 1
    assert "must be left out outside of a Slurm job" in done.stderr
