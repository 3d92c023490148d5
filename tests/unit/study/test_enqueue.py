"""The next member that is decided gets the values that a user enqueued."""

import pytest

import phyletic as ph
from phyletic.errors import InvalidSpace

SPACE = {"lr": ph.Float(0.01, 0.1), "depth": ph.Int(1, 8), "width": ph.Choice([64, 128], fixed=True)}


def make(storage=None, synchronous=False, population=2):
    return ph.Study(
        "study", space=SPACE, metric="score", mode="max", seed=0, storage=storage,
        algorithm=ph.PBT(population, 1, synchronous=synchronous), budget=ph.Budget(steps=9),
    )  # fmt: skip


def tell(study, trial, score=1.0):
    study.tell(trial, score=score, checkpoint={"w": [0.0]})


def test_newborns_and_later_trials_get_enqueued_values_in_order(tmp_path):
    study = make(tmp_path / "a.db")
    study.enqueue({"lr": 0.05})
    study.enqueue({"depth": 3, "width": 128})
    first, second = study.ask(), study.ask()
    assert first["lr"] == 0.05
    assert (second["depth"], second["width"]) == (3, 128)
    assert first.record.decision.note == "enqueued"
    tell(study, first)
    tell(study, second)
    study.close()  # the queue outlives its owner
    study = make(tmp_path / "a.db")
    study.enqueue({"lr": 0.07})
    study.close()
    study = make(tmp_path / "a.db")
    third = study.ask()
    assert third["lr"] == 0.07
    assert third.parent is not None
    assert [(change.path, change.how) for change in third.record.decision.changes if change.path == "lr"] == [
        ("lr", "enqueued")
    ]
    assert study.control.enqueued == ()
    assert [event.payload["enqueued"] for event in study.events() if "enqueued" in event.payload] == [
        {"lr": 0.05},
        {"depth": 3, "width": 128},
        {"lr": 0.07},
    ]
    assert "lr" not in {change.path for change in study.ask().record.decision.changes if change.how == "enqueued"}


def test_a_fixed_value_that_the_weights_do_not_have_is_a_new_birth():
    study = make(population=1)
    trial = study.ask()
    tell(study, trial)
    study.enqueue({"width": 128 if trial["width"] == 64 else 64})
    born = study.ask()
    assert (born.parent, born.start_step) == (None, 0)
    assert born["width"] != trial["width"]
    decision = born.record.decision
    assert (decision.kind, decision.donor, decision.inherited, decision.changes) == ("birth", None, "", ())
    assert decision.note == "born anew with enqueued values"


def test_a_generation_takes_them_in_the_order_of_its_members():
    study = make(synchronous=True)
    for lr in (0.02, 0.03):
        study.enqueue({"lr": lr})
    assert [trial["lr"] for trial in study.ask(count=2)] == [0.02, 0.03]


@pytest.mark.parametrize(
    ("values", "said"),
    [({"rate": 1.0}, "rate"), ({"lr": 7.0}, r"lr.*7\.0"), ({"width": 65}, "width"), ({}, "values"), ([1], "values")],
)
def test_values_outside_of_the_space_are_named_and_nothing_is_enqueued(values, said):
    study = make()
    with pytest.raises(InvalidSpace.__mro__[1], match=said):
        study.enqueue(values)
    assert study.control.enqueued == ()
