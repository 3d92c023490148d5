"""A larger population needs fewer steps, each doubling gains less, and one member never exploits."""

from __future__ import annotations

import itertools
import runpy
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

EXAMPLE = Path(__file__).parents[2] / "examples" / "population_size.py"
SEEDS = range(20)


@pytest.fixture(scope="module")
def example():
    return runpy.run_path(str(EXAMPLE))


def test_the_steps_needed_fall_with_the_size_and_the_gains_taper(example):
    means = [statistics.mean(example["steps_needed"](size, SEEDS)) for size in example["SIZES"]]
    gains = [before - after for before, after in itertools.pairwise(means)]
    assert min(gains) > 0
    assert all(later < earlier for earlier, later in itertools.pairwise(gains))
    # 126 steps with h = (1, 1) from birth, in trials of 10
    assert 130 <= means[-1] < 140 < 150 < means[1] < means[0] / 2


def test_one_member_never_exploits_and_two_do(example):
    def exploits(size):
        return sum(trial.decision.kind == "exploit" for trial in example["run"](size, workers=0, steps=100)[0])

    assert exploits(1) == 0
    assert exploits(2) > 0


@pytest.mark.parametrize("size", [1, 2, 8])
def test_each_line_begins_at_birth_ends_at_the_target_and_marks_exploits(example, size):
    trials, reports = example["run"](size, workers=0, steps=1000)
    steps, values, exploits = example["until_target"](trials, reports)
    assert steps == tuple(range(int(steps[-1]) + 1))
    assert values["objective"][0] == pytest.approx(1.2 - 2 * 0.9**2)
    assert (values["theta0"][0], values["theta1"][0]) == (0.9, 0.9)
    assert values["objective"][-2] < 1.19 <= values["objective"][-1] < 1.195
    assert bool(exploits) == (size > 1)
    assert all(steps[place] % 10 == 0 for place in exploits)
    figure = example["draw"]({size: (trials, reports)}, {size: [200]})
    marks = [points for points in figure.axes[0].collections if len(points.get_offsets()) == len(exploits)]
    assert len(marks) == (size > 1)


def test_the_example_runs_with_local_workers_and_draws_its_picture(tmp_path):
    options = ["--output", "out", "--seeds", "2", "--sizes", "1", "4", "--steps", "40", "--workers", "2"]
    command = [sys.executable, str(EXAMPLE), *options]
    said = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert "  1 members: 0 exploits in the picture" in said
    with Image.open(tmp_path / "out" / "population_size.png") as picture:
        assert picture.width > 500
