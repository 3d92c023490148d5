"""Killing actors, nodes, drivers and the store's server at random moments loses nothing; the benchmark can do more."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray")
pytest.importorskip("obstore")

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "chaos.py"


@pytest.mark.skipif(
    not Path(sys.prefix, "moto", "bin", "moto_server").exists() and shutil.which("moto_server") is None,
    reason="moto_server is not installed: make test-ray",
)
def test_ten_kills_of_a_cluster_lose_nothing(tmp_path):
    options = ["--kills", "10", "--seed", "3", "--engine", "ray", "--store", "s3"]
    ended = subprocess.run(
        [sys.executable, str(BENCHMARK), *options, "--folder", str(tmp_path), "--json"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    figures = {row["what"].strip(): row["figure"] for row in json.loads(ended.stdout)["rows"]}
    assert figures["violations"] == 0
    assert figures["kills (SIGKILL)"] >= 10
    assert figures["actor"] >= 2
    assert figures["acknowledged results compared"] > 100
