"""Hopeless trials end early, and their members are rescued."""

import math
import sys
import time

import cloudpickle
import pytest

import phyletic as ph
from phyletic import errors
from phyletic.coordinator.messages import HOPELESS, Ask, Granted, Heartbeat, Join, Tell
from phyletic.evolution.early_stop import TrialCurve
from phyletic.records import Evaluation
from phyletic.workers.live_trial import attempt_of

INTERVAL = 1000


def curve(number, values, start=0, running=False):
    points = tuple((start + 1 + place, value) for place, value in enumerate(values))
    return TrialCurve(trial=number, member=number, start_step=start, running=running, points=points)


OTHERS = [curve(1, [1.0, 1.0]), curve(2, [2.0, 2.0]), curve(3, [3.0, 3.0])]


@pytest.mark.parametrize(
    ("values", "stops"), [([0.5, 1.9], True), ([0.5, 2.0], False), ([0.5], False), ([3, 0], False)]
)
def test_the_median_rule_compares_the_best_value_with_the_median_of_averages(values, stops):
    for mode, sign in (("max", 1.0), ("min", -1.0)):
        others = [curve(o.trial, [sign * v for _, v in o.points]) for o in OTHERS]
        running = curve(9, [sign * value for value in values], running=True)
        assert ph.MedianStopping().hopeless(running, others, mode) is stops


def test_the_median_rule_compares_only_at_the_same_age():
    running = curve(9, [0.0, 0.0], start=10, running=True)
    assert not ph.MedianStopping().hopeless(running, OTHERS, "max")
    assert not ph.MedianStopping(least=4).hopeless(curve(9, [0.0, 0.0], running=True), OTHERS, "max")


def test_the_non_finite_rule_checks_every_metric():
    rule = ph.NonFiniteStopping()
    for value in (math.nan, math.inf, -math.inf, 1.0):
        shown = TrialCurve(
            trial=1, member=1, start_step=0, running=True, points=((1, 0.5),), latest={"score": 0.5, "loss": value}
        )
        assert rule.hopeless(shown, (), "max") is not math.isfinite(value)


def test_an_exploding_loss_ends_a_trial_before_its_score_is_known():
    study = study_with(ph.NonFiniteStopping())
    for trial in study.attach(lambda trial: {"x": 0.0}):
        bad = trial.number == 1
        for step in trial.range():
            trial.report(loss=math.inf if bad else 1.0, step=step)
            if not bad:
                break
            time.sleep(0.02)
        trial.report(score=float(trial["lr"]), steps_done=attempt_of(trial).steps_done if bad else trial.steps)
    assert study.trial(1).end_step < 1000
    stopped = [event.payload["trial"] for event in study.events() if event.kind == "trial stopped early"]
    assert stopped == [1]


def study_with(rule, budget=ph.Budget(trials=6)):
    return ph.Study(
        "study",
        space={"lr": ph.Float(0.1, 1.0)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(3, INTERVAL, early_stopping=rule),
        budget=budget,
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
        trial.report(score=math.nan if bad else value, steps_done=attempt_of(trial).steps_done if bad else trial.steps)


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


def test_a_users_rule_is_used_and_recorded():
    def never_good(curve, others):
        return True

    study = study_with(never_good)
    document = study.identity.algorithm["early_stopping"]
    assert "never_good" in document[0]["qualified_name"]
    assert document[0]["hash"].startswith("sha256:")
    code(study)
    assert next(trial for trial in study.trials() if trial.member == 1).steps_done < 500


def test_an_object_that_is_not_a_rule_is_refused():
    with pytest.raises(errors.InvalidArgument, match="early_stop"):
        ph.PBT(3, 5, early_stopping="median")


def stored(folder, rule, population=2):
    return ph.Study(
        "study",
        space={"lr": ph.Float(0.1, 1.0)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(population, 10, early_stopping=rule),
        budget=ph.Budget(steps=1000),
        seed=0,
        storage=folder / "study.db",
    )


def not_member_1(curve, others):
    return curve.member == 1


@pytest.mark.parametrize("reopened", [False, True])
def test_a_member_stopped_early_is_rescued_even_by_the_next_owner(tmp_path, reopened):
    study = stored(tmp_path, not_member_1)
    for trial in study.ask(count=2):
        trial.report(score=0.5, step=2)
        goes_on = study.heartbeat(trial)
        assert goes_on is (trial.member == 0)
        study.tell(trial, score=0.5, steps_done=10 if goes_on else 3)
    (event,) = [event for event in study.events() if event.kind == "trial stopped early"]
    assert event.payload == {"trial": 1, "member": 1, "step": 3}
    if reopened:
        study.close()
        study = stored(tmp_path, not_member_1)
    decisions = {trial.member: trial.record.decision for trial in study.ask(count=2)}
    assert (decisions[1].kind, decisions[1].note) == ("rescue", "its latest trial was stopped early")
    assert decisions[0].kind == "continue"
    study.close()
    # after the rescue is decided, the mark is gone
    study = stored(tmp_path, not_member_1)
    assert not any(member.view.early_stopped for member in study.owner.state.population())
    study.close()


def test_a_lone_member_that_was_stopped_early_starts_afresh_and_says_why(tmp_path):
    study = stored(tmp_path, below_zero, population=1)
    (trial,) = study.ask(count=1)
    trial.report(score=-1.0, step=2)
    assert not study.heartbeat(trial)
    study.tell(trial, score=-1.0, steps_done=2)
    (after,) = study.ask(count=1)
    assert after.newborn
    assert after.record.decision.note == "its latest trial was stopped early; no donor: started afresh"
    study.close()


@pytest.mark.parametrize("reopened", [False, True])
def test_running_trials_are_compared_with_ended_ones_even_by_the_next_owner(tmp_path, reopened):
    rule = ph.MedianStopping(grace=1, least=1)
    study = stored(tmp_path, rule)
    good, bad = study.ask(worker="good"), study.ask(worker="bad")
    good.report(score=5.0, step=2)
    study.tell(good, score=5.0)
    again = bad
    if reopened:
        study.close()
        study = stored(tmp_path, rule)
        again = study.ask(worker="bad")
        assert again.number == bad.number
    again.report(score=1.0, step=2)
    assert not study.heartbeat(again)
    study.close()


def test_a_worker_tells_the_next_owner_that_its_trial_was_stopped_early(tmp_path):
    study = stored(tmp_path, not_member_1)
    session = "d" * 32
    said = []

    def say(*commands):
        replies = study.owner.execute(commands)
        said.extend(replies)
        return replies[-1].first if isinstance(replies[-1], Granted) else replies[-1]

    first = say(Join(session="a" * 32, worker="a"), Ask(session="a" * 32))
    grant = say(Join(session=session, worker="far", lease_seconds=1000.0), Ask(session=session))
    assert (first.trial.member, grant.trial.member) == (0, 1)
    report = (Evaluation(2, "score", 0.5, "progress"),)
    assert say(Heartbeat(lease=grant.lease, step=2, evaluations=report)).stop == HOPELESS
    study.close()
    study = stored(tmp_path, not_member_1)
    result = (*report, Evaluation(3, "score", 0.5))
    told = say(Tell(lease=grant.lease, evaluations=result, steps_done=3, hopeless=True))
    assert told.trial.steps_done == 3
    assert study.owner.state.member(1).view.early_stopped
    study.close()


def test_the_loop_tells_the_owner_which_trial_was_stopped_early(tmp_path):
    study = study_with(ph.NonFiniteStopping())
    told = {}
    execute = study.owner.execute

    def note(commands):
        told.update({command.lease.trial: command.hopeless for command in commands if isinstance(command, Tell)})
        return execute(commands)

    study.owner.execute = note
    code(study)
    stopped = next(trial for trial in study.trials() if trial.member == 1)
    assert [number for number, hopeless in told.items() if hopeless] == [stopped.number]


def below_zero(curve, others):
    return curve.points[-1][1] < 0.0


def test_a_hopeless_trial_stays_hopeless_whatever_it_reports_later(tmp_path):
    study = stored(tmp_path, below_zero)
    grant = study.owner.execute([Ask(session="a" * 32)])[0].first
    stops = []
    for step, value in ((1, 1.0), (2, -1.0), (3, 1.0), (4, None)):
        report = () if value is None else (Evaluation(step, "score", value, "progress"),)
        beat = Heartbeat(lease=grant.lease, step=step, first=step - 1, evaluations=report)
        stops += [reply.stop for reply in study.owner.execute([beat])]
    assert stops == ["", HOPELESS, HOPELESS, HOPELESS]
    study.owner.execute([Tell(lease=grant.lease, evaluations=(Evaluation(4, "score", 1.0),), steps_done=4)])
    assert study.owner.state.member(0).view.early_stopped
    study.close()


cloudpickle.register_pickle_by_value(sys.modules[__name__])  # so that workers need not import this module


def ever_below_zero(curve, others):
    return curve.running and min(value for _, value in curve.points) < 0.0


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("rule", "bad"),
    [
        (ph.NonFiniteStopping(), math.nan),
        (ph.MedianStopping(grace=1, least=1), -5.0),
        (ever_below_zero, -5.0),
    ],
    ids=["non-finite", "median", "user's"],
)
def test_a_stop_reaches_training_code_that_uses_range_or_should_stop(workers, rule, bad):
    """Members 1 and 2 are hopeless until their rescue; without the stop they would train for a long time."""

    def train(trials):
        for trial in trials.attach(lambda trial: {"x": 0.0}):
            trial["lr"]
            hopeless = trial.member > 0 and trial.generation == 0
            value = bad if hopeless else 1.0
            trial.report(score=value, step=trial.start_step + 1)
            done = trial.steps
            if hopeless and trial.member == 1:
                for _ in trial.range():
                    time.sleep(0.02)
                    trial.report(score=value, step=2)  # the same step as the trials that it is compared with
                done = attempt_of(trial).steps_done
            elif hopeless:
                done = 0
                while done < trial.steps and not trial.should_stop:
                    done += 1
                    time.sleep(0.02)
                    trial.report(score=value, step=2)
            trial.report(score=value, steps_done=done)

    study = study_with(rule, ph.Budget(steps=2 * INTERVAL))
    study.run(train, workers=workers, verbose=0)
    trials = study.trials(states=[ph.TrialState.COMPLETED])
    stopped = {trial.member: trial for trial in trials if trial.steps_done < INTERVAL}
    assert sorted(stopped) == [1, 2]
    assert all(trial.generation == 0 and trial.score is not None for trial in stopped.values())
    said = [event.payload["trial"] for event in study.events() if event.kind == "trial stopped early"]
    assert sorted(said) == sorted(trial.number for trial in stopped.values())
    for member, trial in stopped.items():
        after = next(one for one in trials if one.member == member and one.number > trial.number)
        assert after.decision.kind == "rescue"
        assert after.decision.note.startswith("its latest trial was stopped early")
    assert all(trial.failures == 0 and trial.losses == 0 for trial in trials)
    assert sorted(trial.member for trial in trials if trial.end_step == 2 * INTERVAL) == [0, 1, 2]
