"""Three problems: one needs a rate that rises and falls, one deceives short intervals, one has its own decay."""

from __future__ import annotations

import runpy
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from phyletic.plots.lines import best_lineage, hyperparameter_steps, steps_to_reach
from phyletic.problems import triangle

EXAMPLE = Path(__file__).parents[2] / "examples" / "schedules.py"


@pytest.fixture(scope="module")
def example():
    return runpy.run_path(str(EXAMPLE))


def needed(example, name, noise=0.0, seeds=range(8)):
    found = [
        steps_to_reach(example["solve"](name, seed, noise), example["ACCURACY"], triangle.SOLVED) for seed in seeds
    ]
    return [steps for steps in found if steps is not None]


def test_the_triangle_is_solved_by_pbt_and_by_no_part_of_it(example):
    solved = needed(example, "PBT")
    assert len(solved) == 8
    assert statistics.median(solved) < 800
    for part in ("exploit only", "explore only", "neither"):
        assert needed(example, part) == [], part


def test_no_constant_rate_solves_the_triangle(example):
    assert max(max(example["constant"](rate / 10_000, 0)) for rate in range(1, 201)) < 120


def test_with_rays_noise_exploiting_lucky_members_solves_the_triangle_too(example):
    assert len(needed(example, "PBT", triangle.NOISE)) == 8
    assert len(needed(example, "exploit only", triangle.NOISE)) == 8


def test_the_rate_found_for_the_triangle_rises_far_above_its_start_and_falls_again(example):
    _, rates = hyperparameter_steps(best_lineage(example["solve"]("PBT", 0), example["ACCURACY"]), "lr")
    peak = rates.index(max(rates))
    assert rates[0] == triangle.START["lr"]
    assert max(rates) > 30 * rates[0]
    assert min(rates[peak:]) < max(rates) / 3


def loss(example, interval, decay="no decay", seeds=3):
    return statistics.median(example["final_loss"](example["learn"](interval, seed, decay)) for seed in range(seeds))


def test_a_short_interval_is_deceived_and_a_medium_one_beats_every_constant(example):
    problem, last = example["PROBLEM"], example["LAST"]
    greedy, constant, falling = (
        problem.run(rates) for rates in (problem.greedy(last), problem.best_constant(last), problem.best_falling(last))
    )
    assert falling < constant < greedy
    short, between, long = (loss(example, interval) for interval in (2, 40, 400))
    assert constant < short < greedy
    assert falling < between < 0.8 * constant
    assert long == pytest.approx(constant, rel=0.1)


def test_pbt_lowers_the_rate_itself_keeps_a_good_decay_and_counters_a_decay_that_is_too_fast(example):
    def change(decay):
        lineage = best_lineage(example["learn"](40, 0, decay), example["LOSS"])
        return lineage[-1].hyperparameters["lr"] / lineage[0].hyperparameters["lr"]

    assert change("no decay") < 0.5
    assert 0.5 < change("linear to 0") < 1.5
    assert change("to 1 %") > 1.5


def test_a_good_decay_helps_with_a_long_interval_and_is_undone_by_a_short_one(example):
    assert loss(example, 80, "linear to 0") < 0.7 * loss(example, 80)
    assert loss(example, 2, "linear to 0") == pytest.approx(loss(example, 2), rel=0.1)


def test_the_example_writes_its_pictures(tmp_path):
    command = [sys.executable, str(EXAMPLE), "--output", "out", "--seeds", "1"]
    said = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert said.count("noisy quadratic, PBT") == 9
    for name in ("triangle", "deceptive", "decay"):
        with Image.open(tmp_path / "out" / f"schedules_{name}.png") as picture:
            assert picture.width > 500
