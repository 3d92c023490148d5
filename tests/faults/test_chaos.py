"""Workers and owners that are killed at random moments lose nothing; 1,000 kills are run on demand."""

import json
import os
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "chaos.py"


def test_a_hundred_kills_lose_nothing(tmp_path):
    ended = subprocess.run(
        [sys.executable, str(BENCHMARK), "--kills", "100", "--seed", "1", "--folder", str(tmp_path), "--json"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    figures = {row["what"]: row["figure"] for row in json.loads(ended.stdout)["rows"]}
    assert figures["violations"] == 0
    assert figures["kills (SIGKILL)"] >= 100
    # the kills met what they are meant to meet
    assert figures["attempts that a kill ended"] > 10
    assert figures["unfinished checkpoints found and swept"] > 0
    assert figures["acknowledged results compared"] > 100
