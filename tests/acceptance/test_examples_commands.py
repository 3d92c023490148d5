"""The programs in sh and in C train a population, and what they load is what their parents saved."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import phyletic as ph

EXAMPLES = Path(__file__).parents[2] / "examples"
NEEDS_CC = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize("language", ["sh", pytest.param("c", marks=NEEDS_CC)])
def test_a_program_is_trained_as_it_is(tmp_path: Path, language: str, workers: str) -> None:
    environment = {**os.environ, "WORKERS": workers}
    script = EXAMPLES / f"command_{language}" / "study.py"
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    name = {"sh": "shell", "c": "c"}[language]
    study = ph.Study(name, storage=tmp_path / f"{name}.db")
    trials = study.trials()
    assert len(trials) == 16
    exploits = [trial for trial in trials if trial.decision.kind == "exploit"]
    assert exploits
    reached: dict[int | None, float] = {None: 0.0}
    for trial in trials:
        x = reached[trial.parent]
        for _ in range(5):
            x -= float(trial.hyperparameters["lr"]) * 2 * (x - 3)  # type: ignore[arg-type]
        reached[trial.number] = x
        # only with its parent's weights and its own learning rate, and an exploit's parent is the donor's trial
        assert trial.score == pytest.approx((x - 3) ** 2, rel=1e-9)
    assert all(trial.parent == trial.decision.donor for trial in exploits)
