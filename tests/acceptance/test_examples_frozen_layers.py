"""The example of frozen layers leaves them out of its checkpoints, and its page prints it as it is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import phyletic as ph

ROOT = Path(__file__).parents[2]


def test_frozen_layers_are_in_no_checkpoint(tmp_path):
    for library in ("torch", "sklearn"):
        pytest.importorskip(library)
    environment = {**os.environ, "STEPS": "80", "WORKERS": "0", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, ROOT / "examples/frozen_layers.py"], cwd=tmp_path, env=environment, check=True)
    study = ph.Study("frozen", storage=tmp_path / "frozen.db")
    frozen = 4 * (64 * 512 + 512 * 256)
    for trial in study.trials():
        if trial.checkpoint is not None and study.checkpoints.exists(trial.checkpoint.id):
            with study.checkpoints.open(trial.checkpoint) as opened:
                assert set(opened.entries) == {"head", "optimizer"}
            assert trial.checkpoint.size < frozen / 10
    assert study.best.score > 0.5


def test_the_page_has_the_heart_of_the_example():
    code = (ROOT / "examples/frozen_layers.py").read_text()
    heart = code[code.index("    def build(") : code.index("    for trial in")]
    assert heart.strip() in (ROOT / "docs/clusters.md").read_text()
