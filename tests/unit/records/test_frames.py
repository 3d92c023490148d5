"""Data frames of trials."""

from __future__ import annotations

import math

import pytest

import phyletic as ph
from phyletic.records.frames import trials_dataframe

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


def test_an_empty_frame_has_the_columns_and_types_of_a_full_one() -> None:
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


def test_other_reported_values_have_columns_too() -> None:
    study = make()
    study.tell(study.ask(), {"score": 1.0, "loss": 0.5, "val/acc": math.inf})
    assert list(study.trials_dataframe().filter(like="metrics.")) == [
        "metrics.score",
        "metrics.loss",
        "metrics.val/acc",
    ]
    assert study.trials_dataframe()["metrics.val/acc"][0] == math.inf


def test_a_lineage_is_text_that_begins_with_the_ancestors() -> None:
    study = ph.Study(
        "study",
        space={"lr": ph.Float(0.1, 1.0)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(4, 1, exploit=ph.Truncation(0.5)),
        budget=ph.Budget(steps=6),
        seed=0,
    )
    while isinstance(trial := study.ask(), ph.LiveTrial):
        study.tell(trial, score=trial["lr"])
    frame = study.trials_dataframe()
    for trial in study.trials():
        lineage = study.lineage(trial)
        assert frame.lineage[trial.number] == "".join(f"{ancestor.number}," for ancestor in lineage)
        assert frame.founder[trial.number] == lineage[0].number
    assert frame.donor.notna().any()
    descendants = frame[frame.lineage.str.startswith("1,")]
    assert list(descendants.index) == [one.number for one in study.trials() if study.lineage(one)[0].number == 1]
    assert set(descendants.founder) == {1}


def test_a_lineage_begins_after_the_last_missing_ancestor() -> None:
    study = make()
    for _ in range(6):
        study.tell(study.ask(), score=1.0, loss=0.5)
    some = [trial for trial in study.trials() if trial.generation > 0]
    frame = trials_dataframe(some, study.space)
    assert all(frame.lineage[trial.number].endswith(f"{trial.number},") for trial in some)
    assert {frame.founder[trial.number] for trial in some} <= {trial.number for trial in some}
