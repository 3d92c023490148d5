"""Forty members find the deepest minimum, and PBT rescues every lost member, even with wild births."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import phyletic as ph
from phyletic.problems import mueller_brown
from phyletic.problems.dry_run import dry_run

EXAMPLE = Path(__file__).parents[2] / "examples" / "mueller_brown.py"


@pytest.fixture(scope="module")
def example():
    return runpy.run_path(str(EXAMPLE))


def counted(example, reach, seed):
    return example["counts"](example["run_dry"](reach, example["MEMBERS"], example["ROUNDS"], seed))


def test_most_populations_find_the_deepest_minimum(example):
    best = [counted(example, 5.0, seed)[0] for seed in range(10)]
    assert min(best) >= mueller_brown.OPTIMUM
    assert sum(found <= -146 for found in best) >= 8


@pytest.mark.parametrize("reach", [20.0, 50.0])
def test_wild_births_end_with_no_dead_member(example, reach):
    for seed in range(5):
        _, lost, rescued, dead = counted(example, reach, seed)
        assert lost > 0
        assert rescued == lost
        assert dead == 0


def test_without_rescues_members_stay_dead(example):
    def run(algorithm):
        return dry_run(
            mueller_brown.train,
            space=mueller_brown.space(50.0),
            metric="potential",
            mode="min",
            algorithm=algorithm,
            steps=80,
        )

    *_, rescued, dead = example["counts"](run(ph.RandomSearch(40, 4, synchronous=True)))
    assert rescued == 0
    assert dead > 0
    *_, rescued, dead = example["counts"](run(example["algorithm"](40)))
    assert rescued > 0
    assert dead == 0


def test_the_example_writes_its_pictures(tmp_path):
    options = ["--output", "out", "--members", "8", "--rounds", "6", "--seeds", "1"]
    command = [sys.executable, str(EXAMPLE), *options]
    said = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert said.count("members dead at the end") == 3
    with Image.open(tmp_path / "out" / "mueller_brown.gif") as film:
        assert film.n_frames == 6
    with Image.open(tmp_path / "out" / "mueller_brown.png") as picture:
        assert picture.width > 400


def test_the_studys_best_is_the_deepest_minimum(example):
    trials = example["run"](example["MEMBERS"], 25, workers=0)
    best, *_, dead = example["counts"](trials)
    assert best <= -146
    assert dead == 0
