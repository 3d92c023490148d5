"""Trials as a data frame."""

from __future__ import annotations

import math

import pytest

import phyletic as ph

pd = pytest.importorskip("pandas")


def make() -> ph.Study:
    return ph.Study(
        "study",
        space={"lr": ph.Float(0.1, 1.0), "width": ph.Choice([2, 3])},
        metric=["score", "loss"],
        mode=["max", "min"],
        algorithm=ph.PBT(2, 1),
        seed=0,
    )


def test_a_study_without_trials_has_the_columns_that_its_trials_will_have() -> None:
    study = make()
    empty = study.trials_dataframe()
    assert (len(empty), empty.index.name) == (0, "number")
    assert empty["score"].max() is pd.NA or math.isnan(empty["score"].max())
    for _ in range(3):
        study.tell(study.ask(), score=1.0, loss=0.5)
    study.ask()
    frame = study.trials_dataframe()
    assert list(frame.columns) == list(empty.columns)
    assert {"hyperparameters.lr", "hyperparameters.width", "metrics.score", "metrics.loss"} <= set(frame.columns)
    numbers = [column for column in frame if frame[column].dtype.kind in "fiM" and "hyperparameters" not in column]
    assert {column: (frame[column].dtype, empty[column].dtype) for column in numbers} == {
        column: (frame[column].dtype,) * 2 for column in numbers
    }
    assert list(frame["metrics.loss"][:3]) == [0.5] * 3
    assert math.isnan(frame["score"][3])
    assert frame["end_step"][3] is pd.NA


def test_what_was_reported_beside_the_studys_metrics_has_columns_too() -> None:
    study = make()
    study.tell(study.ask(), {"score": 1.0, "loss": 0.5, "val/acc": math.inf})
    assert list(study.trials_dataframe().filter(like="metrics.")) == [
        "metrics.score",
        "metrics.loss",
        "metrics.val/acc",
    ]
    assert study.trials_dataframe()["metrics.val/acc"][0] == math.inf
