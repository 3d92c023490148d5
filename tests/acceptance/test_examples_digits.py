"""The generational digits example prints the decisions that it should make, with each of the three libraries."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import phyletic as ph

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits_generations.py"
LINE = re.compile(
    r"generation (?P<generation>\d), trial +(?P<trial>\d+) of lineage (?P<lineage>[\d,]+) +(?P<what>.*): accuracy"
)


@pytest.mark.parametrize("library", ["sklearn", "torch", "keras"])
def test_the_best_four_go_on_and_the_fifth_is_a_perturbed_copy_of_the_best(library: str, tmp_path: Path) -> None:
    pytest.importorskip(library)
    # an empty Keras home, so that the example finds no downloaded MNIST
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "KERAS_HOME": str(tmp_path), "KERAS_BACKEND": "torch"}
    ended = subprocess.run(
        [sys.executable, EXAMPLE, library, "--output", str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    study = ph.Study(f"digits with {library}", storage=tmp_path / f"{library}.db")
    trials = study.trials()
    assert [trial.number for trial in trials] == list(range(25))
    lines = [match for line in ended.stdout.splitlines() if (match := LINE.match(line))]
    said = [[match for match in lines if match["generation"] == str(number + 1)] for number in range(5)]
    assert [len(generation) for generation in said] == [5] * 5
    assert all(match["what"].startswith("new, learning rate 0.00") for match in said[0])
    for number in range(1, 5):
        ranked = sorted(trials[5 * number - 5 : 5 * number], key=lambda trial: (-(trial.score or 0.0), trial.number))
        generation = [trials[int(match["trial"])] for match in said[number]]
        whats = [match["what"] for match in said[number]]
        assert [trial.parent for trial in generation[:4]] == [trial.number for trial in ranked[:4]]
        assert all(what.startswith("continue, ") for what in whats[:4])
        assert generation[4].member == ranked[4].member
        assert generation[4].parent == ranked[0].number
        before, after = (trial.hyperparameters["learning_rate"] for trial in (ranked[0], generation[4]))
        assert min(abs(after / before - 0.8), abs(after / before - 1.2)) < 1e-9
        assert whats[4] == f"perturbed copy of trial {ranked[0].number}, learning rate {before:.5f} to {after:.5f}"
    for match in lines:
        ancestors = [trial.number for trial in study.lineage(int(match["trial"]))]
        assert match["lineage"] == "".join(f"{number}," for number in ancestors)
    for trial in trials:
        assert 1e-6 <= trial.hyperparameters["learning_rate"] <= 1e-1
        # Keras holds the applied value in single precision
        assert trial.applied["learning_rate"] == pytest.approx(trial.hyperparameters["learning_rate"], rel=1e-6)
    best = study.best
    assert f"best: trial {best.number}, accuracy {best.score:.4f}" in ended.stdout
    assert f"its checkpoint: {study.checkpoint_path()}" in ended.stdout
    assert f"accuracy after loading it: {best.score:.4f}" in ended.stdout
    assert math.isfinite(best.score)
    assert best.score > 0.8
    assert (tmp_path / f"{library}.png").stat().st_size > 10_000
