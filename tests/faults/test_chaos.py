"""Killing workers and owners at random moments loses nothing; the benchmark can run 1,000 kills on demand."""

import json
import os
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "chaos.py"


WAYS = (
    "worker",
    "stopped worker",
    "owner",
    "stopped owner",
    "owner, stopped workers",
    "owner that trains",
    "stopped owner that trains",
)
STUDIES = tuple(
    f"{kind}, {workers} workers, {states}"
    for kind in ("asynchronous", "synchronous")
    for workers in ("2", "no")
    for states in ("folders", "packed")
)


def test_a_hundred_kills_lose_nothing(tmp_path):
    ended = subprocess.run(
        [sys.executable, str(BENCHMARK), "--kills", "100", "--seed", "1", "--folder", str(tmp_path), "--json"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    figures = {row["what"].strip(): row["figure"] for row in json.loads(ended.stdout)["rows"]}
    assert figures["violations"] == 0
    assert figures["kills (SIGKILL)"] >= 100
    # every way of killing and every kind of study occurred, and the kills hit the moments that matter
    assert not [name for name in (*WAYS, *STUDIES) if not figures.get(name)]
    assert figures["attempts that a kill ended"] > 10
    assert figures["unfinished checkpoints found and deleted"] > 0
    assert figures["acknowledged results compared"] > 100
