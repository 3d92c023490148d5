"""Training code that takes the source of trials for one trial is told what it gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import phyletic as ph
from phyletic.errors import InvalidArgument, NotATrial

LOOP = r"a source of trials to loop over:\n\n    def train\(trials\):\n        for trial in trials.attach\(build\):"
MISTAKES: list[Callable[[Any], object]] = [
    lambda trial: trial["lr"],
    lambda trial: trial.hyperparameters,
    lambda trial: trial.report(score=1.0),
    lambda trial: trial.apply({"lr": 0.1}),
    lambda trial: list(trial.range()),
    lambda trials: trials.attach(dict).state,
]


def make() -> ph.Study:
    return ph.Study(
        "study", space={"lr": ph.Float(0.1, 1.0)}, metric="score", mode="max", seed=0,
        algorithm=ph.PBT(2, 1), budget=ph.Budget(steps=1),
    )  # fmt: skip


@pytest.mark.parametrize("train", MISTAKES)
def test_what_only_a_trial_has_says_what_train_gets(train: Callable[[Any], object]) -> None:
    study = make()
    with pytest.raises(NotATrial, match=LOOP) as caught:
        study.run(train, workers=0, verbose=0)
    assert caught.traceback[-1].path.name == "test_not_a_trial.py"
    with pytest.raises(NotATrial, match=LOOP):
        train(study)
    assert study.trials() == []


def test_workers_end_the_run_with_the_same_error() -> None:
    with pytest.raises(NotATrial, match=LOOP):
        make().run(lambda trial: trial["lr"], workers=2, verbose=0)


def test_a_function_that_never_loops_is_shown_the_loop() -> None:
    with pytest.raises(InvalidArgument, match=LOOP):
        make().run(lambda trial: 1.0, workers=0, verbose=0)


def test_other_unknown_names_are_pythons_own_errors() -> None:
    study = make()
    with pytest.raises(AttributeError, match="'Study' object has no attribute 'tirals'") as caught:
        study.tirals  # type: ignore[attr-defined]  # noqa: B018
    assert not isinstance(caught.value, NotATrial)
    assert not hasattr(study, "report")
    assert not hasattr(study.source(), "__array__")
