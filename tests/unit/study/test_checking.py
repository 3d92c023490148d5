"""Study.check names state that is missing from checkpoints, and finds nothing in clean code."""

import random

import numpy as np
import pytest

import phyletic as ph
from phyletic import errors
from phyletic.testing.example import example_study
from phyletic.testing.training import drawing

SPACE = {"lr": ph.Float(1e-3, 1e-1, log=True)}


def study_of(**changes):
    return example_study(space=SPACE, **changes)


def test_check_finds_nothing_in_clean_code():
    assert example_study().check(drawing()) == []


def test_check_does_not_change_the_study(tmp_path):
    study = example_study(tmp_path / "study.db")
    study.check(drawing())
    assert study.trials() == []


def test_state_that_build_does_not_return_is_named_by_its_effects():
    def train(trials):
        momentum = np.zeros(2)
        for trial in trials.attach(lambda trial: {"weights": np.ones(2), "steps": 0}):
            for _ in trial.range():
                momentum = 0.9 * momentum + np.random.standard_normal(2)
                trial.state.weights += trial["lr"] * momentum
                trial.state.steps += 1
            trial.report(score=float(trial.state.weights.sum()), steps=trial.state.steps)

    assert study_of().check(train) == ["weights", "metrics/score"]


def test_a_leak_of_one_tensor_of_a_model_is_named():
    torch = pytest.importorskip("torch")

    class Counting(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)
            self.calls = 0  # neither a parameter nor a buffer: no checkpoint holds it
            self.register_buffer("total", torch.zeros(()))

        def forward(self, inputs):
            self.calls += 1
            self.total += self.calls
            return self.layer(inputs)

    def train(trials):
        for trial in trials.attach(lambda trial: {"model": Counting()}):
            for _ in trial.range():
                trial.state.model(torch.ones(1, 1))
            trial.report(score=trial["lr"])

    assert study_of().check(train) == ["model/total"]


def test_an_iterator_beside_the_state_is_found():
    def train(trials):
        batches = iter(range(10**6))
        for trial in trials.attach(lambda trial: {"seen": []}):
            for _ in trial.range():
                trial.state.seen.append(next(batches))
            trial.report(score=trial["lr"])

    assert study_of().check(train) == ["seen/2", "seen/3"]


def test_training_that_the_seed_does_not_determine_is_reported_differently():
    generator = random.Random()

    def train(trials):
        for trial in trials.attach(lambda trial: {"weights": [0.0]}):
            trial.state.weights[0] += trial["lr"] * generator.random()
            trial.report(score=trial.state.weights[0])

    found = study_of().check(train)
    assert found
    assert all("already after the first trial" in name for name in found)


def test_nan_scores_are_not_a_difference():
    def train(trials):
        for trial in trials.attach(lambda trial: {"weights": [trial["lr"]]}):
            trial["lr"]
            trial.report(score=float("nan"))

    assert study_of().check(train) == []


def test_an_interval_in_seconds_needs_steps():
    study = study_of(algorithm=ph.PBT(2, interval_seconds=0.1))
    with pytest.raises(errors.InvalidArgument, match="steps is None, but must be given"):
        study.check(drawing())
    assert study.check(drawing_without_width, steps=2) == []


def drawing_without_width(trials):
    for trial in trials.attach(lambda trial: {"weights": np.ones(2)}):
        for _ in trial.range():
            trial.state.weights += trial["lr"] * np.random.standard_normal(2)
        trial.report(score=float(trial.state.weights.sum()))
