"""Trials that are not worth finishing end early, and their members are rescued."""

import math
import time

import pytest

import phyletic as ph
from phyletic import errors
from phyletic.evolution.early_stop import TrialCurve


def curve(number, values, start=0, running=False):
    points = tuple((start + 1 + place, value) for place, value in enumerate(values))
    return TrialCurve(trial=number, member=number, start_step=start, running=running, points=points)


OTHERS = [curve(1, [1.0, 1.0]), curve(2, [2.0, 2.0]), curve(3, [3.0, 3.0])]


@pytest.mark.parametrize(
    ("values", "stops"), [([0.5, 1.9], True), ([0.5, 2.0], False), ([0.5], False), ([3, 0], False)]
)
def test_the_median_rule_compares_the_best_so_far_with_the_median_of_averages(values, stops):
    for mode, sign in (("max", 1.0), ("min", -1.0)):
        others = [curve(o.trial, [sign * v for _, v in o.points]) for o in OTHERS]
        running = curve(9, [sign * value for value in values], running=True)
        assert ph.MedianStopping().hopeless(running, others, mode) is stops


def test_the_median_rule_compares_at_the_same_age_only():
    running = curve(9, [0.0, 0.0], start=10, running=True)
    assert not ph.MedianStopping().hopeless(running, OTHERS, "max")
    assert not ph.MedianStopping(least=4).hopeless(curve(9, [0.0, 0.0], running=True), OTHERS, "max")


def study_with(rule):
    return ph.Study(
        "study",
        space={"lr": ph.Float(0.1, 1.0)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(3, 1000, early_stopping=rule),
        budget=ph.Budget(trials=6),
        seed=0,
    )


def code(trials):
    for trial in trials.attach(lambda trial: {"x": 0.0}):
        bad = trial.member == 1 and trial.generation == 0
        for step in trial.range():
            if not bad:
                break
            time.sleep(0.02)
            trial.report(score=math.nan, step=step)
        value = float(trial["lr"])
        trial.report(score=math.nan if bad else value, steps_done=trial.steps_done if bad else trial.steps)


def test_a_hopeless_trial_is_stopped_and_its_member_rescued():
    study = study_with(ph.NonFiniteStopping())
    code(study)
    trials = study.trials()
    stopped = next(trial for trial in trials if trial.member == 1)
    assert stopped.steps_done < 500
    rescue = next((trial for trial in trials if trial.member == 1 and trial.number > stopped.number), None)
    assert rescue is not None
    assert rescue.decision.kind == "rescue"
    assert rescue.decision.note == "its latest trial was stopped early"


def test_a_users_rule_is_asked_and_its_name_recorded():
    def never_good(curve, others):
        return True

    study = study_with(never_good)
    document = study.identity.algorithm["early_stopping"]
    assert "never_good" in document[0]["qualified_name"]
    assert document[0]["hash"].startswith("sha256:")
    code(study)
    assert next(trial for trial in study.trials() if trial.member == 1).steps_done < 500


def test_a_rule_that_is_none_is_refused():
    with pytest.raises(errors.InvalidArgument, match="early_stop"):
        ph.PBT(3, 5, early_stopping="median")
