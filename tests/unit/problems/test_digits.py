"""The digits problem: its data, and populations that train on it."""

from __future__ import annotations

import numpy as np
import pytest

import phyletic as ph
from phyletic.problems import digits, digits_torch

pytestmark = pytest.mark.filterwarnings("ignore")


def test_the_three_parts_share_no_image_and_have_all_digits_in_equal_shares():
    data = digits.load()
    parts = (data.train, data.validation, data.held_out)
    assert [len(part.labels) for part in parts] == [1077, 360, 360]
    assert len(np.unique(np.concatenate([part.images for part in parts]), axis=0)) == 1797
    for part in parts:
        assert 0.0 <= part.images.min() < part.images.max() <= 1.0
        shares = np.bincount(part.labels, minlength=10) / len(part.labels)
        assert np.allclose(shares, 0.1, atol=0.01)


def test_the_split_follows_its_seed():
    assert digits.load(1) is digits.load(1)
    assert not np.array_equal(digits.load(1).train.images, digits.load(0).train.images)


def test_the_shared_data_is_read_only():
    with pytest.raises(ValueError, match="read-only"):
        digits.load().train.images[0, 0] = 1.0


def run(problem, seed=0, *, population=8, interval=3, rounds=12):
    study = ph.Study(
        "digits",
        space=problem.SPACE,
        metric=["loss", "accuracy"],
        mode=["min", "max"],
        algorithm=ph.PBT(population=population, interval=interval, synchronous=True),
        budget=ph.Budget(steps=interval * rounds),
        seed=seed,
    )
    problem.train(study)
    return study


def test_a_trained_population_recognises_held_out_images():
    with run(digits) as study:
        best = study.best
        model = study.restore()["model"]
        assert digits.evaluate(model, digits.load().validation) == (best.metrics["accuracy"], best.metrics["loss"])
        assert digits.evaluate(model, digits.load().held_out)[0] >= 0.95
        assert set(best.applied) == set(digits.SPACE)


@pytest.mark.parametrize("problem", [digits, digits_torch])
def test_the_same_seed_gives_the_same_run(problem):
    scores = []
    for seed in (0, 0, 1):
        with run(problem, seed, population=3, interval=1, rounds=3) as study:
            scores.append([trial.score for trial in study.trials()])
    assert scores[0] == scores[1] != scores[2]


def test_the_torch_network_learns_too():
    with run(digits_torch, population=4, interval=2, rounds=4) as study:
        assert study.best.metrics["accuracy"] > 0.9
