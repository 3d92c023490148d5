"""The examples of the service do what they say: a study by curl, and Müller-Brown by a server and its workers."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("grpc")
pytest.importorskip("starlette")

import phyletic as ph
from phyletic.problems import mueller_brown
from phyletic.service.server import serving

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_curl_trains_a_whole_study(tmp_path: Path) -> None:
    with serving(f"sqlite:///{tmp_path}/curl.db", http_port=0) as server:
        script = ["sh", str(EXAMPLES / "service_curl.sh"), server.http_url]
        done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    study = ph.Study("curl", storage=tmp_path / "curl.db")
    trials = study.trials()
    assert len(trials) == 16
    assert any(trial.decision.kind == "exploit" for trial in trials)
    reached: dict[int | None, float] = {None: 0.0}
    for trial in trials:
        x = reached[trial.parent]
        for _ in range(5):
            x += float(trial.hyperparameters["lr"]) * (3 - x)  # type: ignore[arg-type]
        reached[trial.number] = x
        assert trial.score == pytest.approx(-((3 - x) ** 2), rel=1e-2, abs=1e-4)
    assert f"best score: {study.best.score:g}" in done.stdout


def test_forty_members_find_the_minimum_through_a_server(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "service_study.py", tmp_path)
    command = ["up", "service_study.py:study", "phyletic.problems.mueller_brown:train", "--workers", "3"]
    done = subprocess.run(
        [sys.executable, "-m", "phyletic", *command, "--grpc-port", "0", "--http-port", "0"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONWARNINGS": "error::ResourceWarning"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    worker = r"phyletic worker grpc://127.0.0.1:\d+ mueller-brown phyletic.problems.mueller_brown:train --workers 3"
    assert re.search(worker, done.stdout)
    assert f"the study is in {tmp_path}" in done.stdout
    study = ph.Study("mueller-brown", storage=tmp_path / "mueller-brown.db")
    assert study.finished
    assert len(study.trials()) == 1600
    assert mueller_brown.OPTIMUM <= (study.best.score or 0.0) <= -146
