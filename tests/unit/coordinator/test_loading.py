"""What a new owner reads is what the last one had in memory, at a cost that does not grow with the history."""

import pytest

import phyletic as ph
from phyletic.storage import queries


def make(storage, **options):
    return ph.Study(
        "study",
        space={"lr": ph.Float(0.1, 1.0)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(3, 2, **options),
        budget=ph.Budget(steps=1000),
        storage=storage,
        seed=0,
    )


@pytest.mark.parametrize(
    "options",
    [
        {"exploit": ph.TTest(window=5)},
        {"exploit": ph.TTest(window=40)},
        {"compare": "matched", "early_stopping": ph.NonFiniteStopping()},
    ],
    ids=["window", "long-window", "matched"],
)
def test_scores_and_history_are_read_back(tmp_path, options):
    study = make(tmp_path / "a.db", **options)
    for place in range(150):
        trial = study.ask()
        trial.report(score=trial["lr"] + place, step=trial.start_step)
        if place % 3 == 2:
            study.tell(trial, checkpoint={"w": [place]}, partial=True, steps_done=1)
        else:
            study.tell(trial, score=trial["lr"] - place, checkpoint={"w": [place]})
    held = study.owner.state
    study.close()
    again = study.owner.state
    assert again is not held
    assert {number: member.view for number, member in again.members.items()} == {
        number: member.view for number, member in held.members.items()
    }
    assert again.open == held.open
    assert again.curves == held.curves
    assert len(again.curves) == (64 if "early_stopping" in options else 0)
    study.close()


def test_a_part_of_a_lineage_is_read(tmp_path):
    study = make(tmp_path / "a.db")
    for _ in range(40):
        trial = study.ask()
        study.tell(trial, score=trial["lr"], checkpoint={"w": [0]})
    last = study.trials()[-1].number
    whole = study.lineage(last)
    assert len(whole) > 5
    with study._store.read() as connection:
        stored = queries.load_study(connection, study.name)
        for most in (1, 2, len(whole), len(whole) + 1):
            assert queries.lineage(connection, stored.id, last, most=most) == whole[-most:]
    study.close()
