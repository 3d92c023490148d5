"""One study goes from this process to Ray, to a job of Slurm and back, with one lineage and steps that all add up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray")
pytest.importorskip("grpc")
pytest.importorskip("starlette")

from slurm_cluster import programs, slurm_cluster

import phyletic as ph
from phyletic.records import TrialState
from phyletic.service.server import serving

pytestmark = [pytest.mark.usefixtures("one_node"), pytest.mark.xdist_group("one node")]

TRAIN = """
def train(trials):
    for trial in trials.attach(lambda trial: {"steps": [0], "sum": [0.0]}):
        for step in trial.range():
            assert trial.state.steps[0] == step, "a step was lost or done twice"
            trial.state.steps[0] += 1
            trial.state.sum[0] += trial["lr"]
        trial.report(score=trial.state.sum[0])
"""


def study_up_to(steps: int, storage: str | Path) -> ph.Study:
    study = ph.Study(
        "study", space={"lr": ph.Float(0.1, 1.0)}, metric="score", mode="max",
        algorithm=ph.PBT(population=3, interval=2, synchronous=True), storage=storage, seed=0,
    )  # fmt: skip
    study.set_budget(ph.Budget(steps=steps))
    return study


def by_slurm_or_its_worker(url: str, token_file: Path, folder: Path) -> None:
    """Run the study in a job of Slurm; where there is none, by the command that the job's script runs."""
    command = [sys.executable, "-m", "phyletic"]
    if programs() is None:
        worker = [*command, "worker", url, "study", "train.py:train", "--quiet"]
        subprocess.run(worker, cwd=folder, check=True, env={**os.environ, "PHYLETIC_TOKEN_FILE": str(token_file)})
        return
    script = subprocess.run(
        [*command, "slurm", url, "study", "train.py:train", "--partition", "low", "--cpus", "1", "--time", "10",
         "--workers", "1", "--setup", f"export PATH={Path(sys.executable).parent}:$PATH"],
        capture_output=True, text=True, check=True, cwd=folder,
    ).stdout  # fmt: skip
    (folder / "job.sh").write_text(script)
    with slurm_cluster(folder / "slurm") as slurm:
        job = slurm.submit("job.sh", folder=folder, PHYLETIC_TOKEN_FILE=str(token_file), OMP_NUM_THREADS="1")
        slurm.wait(job, "COMPLETED")


def test_one_study_goes_from_here_to_ray_to_slurm_and_back(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAIN)
    namespace: dict[str, Any] = {}
    exec(TRAIN, namespace)
    train, storage = namespace["train"], tmp_path / "study.db"
    with study_up_to(4, storage) as study:
        assert study.run(train, workers=2, verbose=0) == "finished"
    with study_up_to(8, storage) as study:
        assert study.run(train, workers=ph.RayWorkers(2), verbose=0) == "finished"
    with study_up_to(12, storage) as study:
        pass
    with serving(f"sqlite:///{storage}") as server:
        by_slurm_or_its_worker(server.url, server.token_file, tmp_path)
    with study_up_to(16, storage) as study:
        assert study.run(train, workers=0, verbose=0) == "finished"
        trials = study.trials()
        assert all(trial.state is TrialState.COMPLETED and trial.attempts == 1 for trial in trials)
        # the steps of one lineage were trained in all four places
        lineage = study.lineage(study.best)
        assert [(trial.start_step, trial.end_step) for trial in lineage] == [
            (step, step + 2) for step in range(0, 16, 2)
        ]
        with study_up_to(16, tmp_path / "alone.db") as alone:
            alone.run(train, workers=0, verbose=0)
            assert [(one.hyperparameters, one.score, one.parent) for one in trials] == [
                (one.hyperparameters, one.score, one.parent) for one in alone.trials()
            ]
