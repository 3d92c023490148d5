"""An incarnation of a worker keeps what it holds; the next one under its name gets a grant of its own."""

import pytest

import phyletic as ph
from phyletic.errors import LeaseLost


def make(storage):
    return ph.Study(
        "study",
        space={"lr": ph.Float(0, 1)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(2, 5),
        budget=ph.Budget(steps=50),
        storage=storage,
        seed=0,
    )


def test_a_new_incarnation_under_a_name_gets_a_new_grant_and_the_old_one_can_say_nothing_more(tmp_path):
    study = make(tmp_path / "a.db")
    first = study.ask(worker="w")
    assert study.ask(worker="w").grant == first.grant
    for incarnation in (2, 3):
        study.close()
        # nothing is held by one that has left
        assert study.status().trials == {"waiting": 1}
        again = study.ask(worker="w")
        assert again.number == first.number
        assert again.grant.lease.fence == incarnation
        assert again.grant.lease.session != first.grant.lease.session
        assert study.ask(worker="w").grant == again.grant
        for late in (study.heartbeat, lambda trial: study.tell(trial, score=1.0)):
            with pytest.raises(LeaseLost):
                late(first)
    study.tell(again, score=2.0)
    assert study.trial(first.number).score == 2.0
    study.close()


def test_two_names_hold_a_trial_each(tmp_path):
    study = make(tmp_path / "a.db")
    one, other = study.ask(worker="one"), study.ask(worker="other")
    assert {one.number, other.number} == {0, 1}
    assert (study.ask(worker="one").grant, study.ask(worker="other").grant) == (one.grant, other.grant)
    study.close()
