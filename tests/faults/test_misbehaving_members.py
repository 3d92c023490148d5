"""With two local workers: whatever a member or worker does, the others go on, and nothing hangs."""

import contextlib
import math
import os
import signal
import sys
import threading
import time
from pathlib import Path

import cloudpickle
import numpy as np
import psutil
import pytest

import phyletic as ph
from phyletic.coordinator.owner_channel import OwnerChannel
from phyletic.errors import StudyFailed
from phyletic.records import TrialState
from phyletic.testing.example import facts
from phyletic.workers.detached import detached_source

STEPS = 4
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # so that workers need not import this module


def make(folder, synchronous, **options):
    settings = {
        "space": {"lr": ph.Float(1e-3, 1.0, log=True)},
        "metric": "score",
        "mode": "max",
        "algorithm": ph.PBT(4, 1, synchronous=synchronous),
        "budget": ph.Budget(steps=STEPS),
        "storage": folder / "study.db",
        "seed": 2,
    }
    return ph.Study("study", **{**settings, **options})


def build(trial):
    return {"weights": np.zeros(3)}


def step(trial):
    """Train a trial as a well-behaved member does; return its score."""
    for _ in trial.range():
        trial.state.weights = trial.state.weights + trial["lr"] * np.random.standard_normal(3)
    return float(trial.state.weights.sum())


def train(trials):
    for trial in trials.attach(build):
        trial.report(score=step(trial))


def wait_for(path):
    """Wait until a file is there."""
    until(Path(path).exists)


def until(held, seconds=30.0):
    """Wait until a condition holds; fail only after a generous limit, as no test here measures time."""
    deadline = time.monotonic() + seconds
    while not held():
        if time.monotonic() > deadline:
            raise TimeoutError("it did not come")
        time.sleep(0.01)


def undisturbed(tmp_path, **options):
    (tmp_path / "undisturbed").mkdir()
    study = make(tmp_path / "undisturbed", True, **options)
    study.run(train, workers=0, verbose=0)
    return facts(study)


def check_ended(study):
    """Check that every member reached the end, no trial is open, and no process is left."""
    trials = study.trials()
    ended = {trial.member for trial in trials if trial.end_step == STEPS and trial.state is TrialState.COMPLETED}
    assert ended == {0, 1, 2, 3}
    assert not [trial for trial in trials if trial.state.open]
    assert psutil.Process().children(recursive=True) == []


@pytest.mark.parametrize("synchronous", [True, False])
def test_members_that_raise_hang_and_die_are_tried_again(tmp_path, synchronous):
    def misbehave(trials):
        for trial in trials.attach(build):
            first = trial.record.failures + trial.record.losses == 0
            score = step(trial)
            if first and trial.number == 1:
                trial.state.weights[:] = 1e9  # no later attempt may see this
                raise RuntimeError("the data could not be read")
            if first and trial.number == 2:
                time.sleep(600)
            if first and trial.number in (3, 6):
                os.kill(os.getpid(), signal.SIGKILL)  # as the system does when memory runs out
            trial.report(score=score)

    study = make(tmp_path, synchronous)
    study.run(misbehave, workers=2, trial_timeout=2.0, verbose=0)
    check_ended(study)
    trials = study.trials()
    assert trials[1].failures == 1
    assert "the data could not be read" in trials[1].error
    assert trials[2].losses >= 1
    assert "trial_timeout=2" in trials[2].error
    assert all(trials[number].losses >= 1 and "SIGKILL" in trials[number].error for number in (3, 6))
    assert {trial.state for trial in trials} == {TrialState.COMPLETED}
    if synchronous:
        assert facts(study) == undisturbed(tmp_path)


@pytest.mark.parametrize("synchronous", [True, False])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_scores_and_weights_that_are_not_finite_stay_with_their_member(tmp_path, synchronous, mode):
    bad = {0: math.nan, 1: math.inf, 2: -math.inf}

    def misbehave(trials):
        for trial in trials.attach(build):
            assert np.isfinite(trial.state.weights).all()  # no member continues from exploded weights
            score = step(trial)
            if trial.generation == 1 and trial.member in bad:
                trial.state.weights[:] = bad[trial.member]
                score = bad[trial.member]
            trial.report(score=score)

    study = make(tmp_path, synchronous, mode=mode)
    study.run(misbehave, workers=2, verbose=0)
    check_ended(study)
    trials = study.trials()
    poisoned = {trial.member: trial for trial in trials if not trial.finite}
    assert {member: repr(trial.score) for member, trial in poisoned.items()} == {
        member: repr(score) for member, score in bad.items()
    }
    numbers = {trial.number for trial in poisoned.values()}
    assert not [trial for trial in trials if trial.parent in numbers or trial.decision.donor in numbers]
    rescues = [trial.member for trial in trials if trial.decision.kind == "rescue"]
    assert sorted(rescues) == [0, 1, 2]
    assert study.best.number not in numbers
    assert math.isfinite(study.best.score)


@pytest.mark.parametrize("of_each_owner", [1, 7, 50])
def test_a_study_ends_after_50_non_finite_scores_in_a_row_across_changes_of_owner(tmp_path, of_each_owner):
    study = make(tmp_path, False, algorithm=ph.PBT(2, 1), budget=ph.Budget(steps=1000))
    told = 0
    while isinstance(trial := study.ask(), ph.LiveTrial):
        # the 20th trial has a finite score, which resets the count
        study.tell(trial, score=0.5 if told == 19 else (math.nan, math.inf)[told % 2], checkpoint={"w": [0]})
        told += 1
        assert told <= 70, "it goes on for ever"
        if told % of_each_owner == 0 and told != 70:
            study.close()
            study = ph.Study("study", storage=tmp_path / "study.db")
    assert told == 70
    assert trial.failed
    assert "50 trials one after another ended without a finite score" in trial.reason
    # the study had stopped and a person opens it again, so the count is reset and the study goes on
    study.close()
    assert isinstance(ph.Study("study", storage=tmp_path / "study.db").ask(), ph.LiveTrial)


@pytest.mark.parametrize("synchronous", [True, False])
@pytest.mark.parametrize(("how", "said"), [("raises", "cursed"), ("dies", "SIGKILL")])
def test_a_member_that_always_fails_is_reported_and_the_others_reach_the_end(tmp_path, synchronous, how, said):
    def misbehave(trials):
        for trial in trials.attach(build):
            score = step(trial)
            if trial.member == 2 and how == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            if trial.member == 2:
                raise RuntimeError(f"member {trial.member} is cursed")
            trial.report(score=score)

    study = make(tmp_path, synchronous, max_failures=1, max_losses=1)
    with pytest.raises(StudyFailed, match=said) as caught:
        study.run(misbehave, workers=2, verbose=0)
    trials = study.trials()
    ended = {trial.member for trial in trials if trial.end_step == STEPS and trial.state is TrialState.COMPLETED}
    assert ended == {0, 1, 3}
    failed = {trial.member for trial in trials if trial.state is TrialState.FAILED}
    assert failed == {2}
    assert "of member 0" not in str(caught.value)


@pytest.mark.parametrize("synchronous", [True, False])
def test_when_all_fail_at_once_each_failure_is_reported(tmp_path, synchronous):
    def misbehave(trials):
        for trial in trials.attach(build):
            score = step(trial)
            if trial.generation > 0:
                raise ValueError(f"member {trial.member} lost its data")
            trial.report(score=score)

    study = make(tmp_path, synchronous, max_failures=2)
    with pytest.raises(StudyFailed) as caught:
        study.run(misbehave, workers=2, verbose=0)
    for member in range(4):
        assert f"member {member} lost its data" in str(caught.value)
    assert [trial.generation for trial in study.trials() if trial.state is TrialState.COMPLETED] == [0] * 4
    assert psutil.Process().children(recursive=True) == []
    # with fixed code the study goes on from there
    study.run(train, workers=0, verbose=0)
    check_ended(study)


@pytest.mark.parametrize("synchronous", [True, False])
@pytest.mark.parametrize("how", ["hang", "die"])
def test_when_all_hang_or_die_at_once_the_study_stops_and_says_how(tmp_path, synchronous, how):
    def misbehave(trials):
        for trial in trials.attach(build):
            score = step(trial)
            if how == "hang":
                time.sleep(600)
            if trial.generation > 0:
                (tmp_path / f"{trial.member} began").touch()
                for member in (0, 1):
                    wait_for(tmp_path / f"{member} began")
                os.kill(os.getpid(), signal.SIGKILL)
            trial.report(score=score)

    algorithm = ph.PBT(2, 1, synchronous=synchronous)
    study = make(tmp_path, synchronous, algorithm=algorithm, max_failures=1, max_losses=1)
    timeout = 1.0 if how == "hang" else None
    with pytest.raises(StudyFailed) as caught:
        study.run(misbehave, workers=2, trial_timeout=timeout, verbose=0)
    said = str(caught.value)
    failed = [trial for trial in study.trials() if trial.state is TrialState.FAILED]
    assert {trial.member for trial in failed} == {0, 1}
    for trial in failed:
        assert f"trial {trial.number} of member {trial.member} (attempt 1)" in said
        assert ("longer than trial_timeout=1 s" if how == "hang" else "SIGKILL") in trial.error
        assert trial.error in said
    completed = [trial.generation for trial in study.trials() if trial.state is TrialState.COMPLETED]
    assert completed == ([] if how == "hang" else [0, 0])
    assert psutil.Process().children(recursive=True) == []
    # with fixed code the study goes on from there
    study.run(train, workers=0, verbose=0)
    ended = {trial.member for trial in study.trials() if trial.end_step == STEPS}
    assert ended == {0, 1}


def test_a_straggler_delays_no_member_of_an_asynchronous_study(tmp_path):
    def misbehave(trials):
        for trial in trials.attach(build):
            score = step(trial)
            if trial.member == 0 and trial.generation == 0:
                for member in (1, 2, 3):
                    wait_for(tmp_path / f"{member} ended")
            if trial.record.start_step + 1 == STEPS:
                (tmp_path / f"{trial.member} ended").touch()
            trial.report(score=score)

    study = make(tmp_path, False)
    study.run(misbehave, workers=2, verbose=0)
    check_ended(study)
    assert all(trial.failures == 0 and trial.losses == 0 for trial in study.trials())


def test_a_straggler_changes_nothing_in_a_synchronous_study(tmp_path):
    def misbehave(trials):
        for trial in trials.attach(build):
            score = step(trial)
            (tmp_path / f"{trial.number} ran").touch()
            if trial.member == 0 and trial.generation == 1:
                for number in (5, 6, 7):  # the rest of its generation
                    wait_for(tmp_path / f"{number} ran")
                time.sleep(0.3)
                assert not (tmp_path / "8 ran").exists()
            trial.report(score=score)

    study = make(tmp_path, True)
    study.run(misbehave, workers=2, verbose=0)
    check_ended(study)
    assert facts(study) == undisturbed(tmp_path)


@pytest.mark.parametrize("synchronous", [True, False])
def test_workers_that_are_killed_from_outside_are_replaced(tmp_path, synchronous):
    def slow(trials):
        (tmp_path / f"pid {os.getpid()}").touch()
        for trial in trials.attach(build):
            score = step(trial)
            time.sleep(0.05)
            trial.report(score=score)

    killed = set()

    def kill():
        while len(killed) < 4 and not (tmp_path / "over").exists():
            for path in tmp_path.glob("pid *"):
                if len(killed) < 4 and path.name not in killed:
                    killed.add(path.name)
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(path.name[4:]), signal.SIGKILL)
                    break
            time.sleep(0.1)

    study = make(tmp_path, synchronous, max_losses=100)
    killer = threading.Thread(target=kill)
    killer.start()
    try:
        study.run(slow, workers=2, verbose=0)
    finally:
        (tmp_path / "over").touch()
        killer.join()
    check_ended(study)
    assert len(killed) >= 2
    assert {trial.state for trial in study.trials()} == {TrialState.COMPLETED}
    assert sum(trial.losses for trial in study.trials()) >= 1
    if synchronous:
        assert facts(study) == undisturbed(tmp_path)


@pytest.mark.parametrize("synchronous", [True, False])
def test_workers_join_and_leave_while_the_study_runs(tmp_path, synchronous):
    """Local workers are asked to end and replaced; others join, and leave after a trial or in the middle of one."""
    budget = ph.Budget(steps=2 * STEPS)

    def staying(trials):
        (tmp_path / f"pid {os.getpid()}").touch()
        for trial in trials.attach(build):
            score = step(trial)
            if trial.generation in (2, 4, 6):
                wait_for(tmp_path / f"left {trial.generation // 2}")
            trial.report(score=score)

    study = make(tmp_path, synchronous, budget=budget)
    joined, asked = [], set()

    def join(leave_in_the_middle):
        link, store = OwnerChannel(study.owner), study.checkpoints
        with detached_source(link, store=store, space=study.space, worker="joined", lease_seconds=60.0) as trials:
            for trial in trials.attach(build):
                joined.append(trial.number)
                score = step(trial)
                last = len(joined) % 2 == 0
                if last and leave_in_the_middle:
                    break
                trials.draining = last
                trial.report(score=score)

    def come_and_go():
        for visit in (1, 2, 3):
            until(lambda: set(tmp_path.glob("pid *")) - asked)
            join(leave_in_the_middle=visit == 2)
            (tmp_path / f"left {visit}").touch()
            for path in set(tmp_path.glob("pid *")) - asked:
                asked.add(path)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(path.name[4:]), signal.SIGTERM)

    visitor = threading.Thread(target=come_and_go)
    visitor.start()
    try:
        study.run(staying, workers=2, verbose=0)
    finally:
        visitor.join()
    trials = study.trials()
    assert {trial.state for trial in trials} == {TrialState.COMPLETED}
    assert sorted(trial.member for trial in trials if trial.end_step == 2 * STEPS) == [0, 1, 2, 3]
    assert len(joined) == 6
    assert len(asked) >= 3
    assert sum(trial.worker == "joined" for trial in trials) >= 5
    assert trials[joined[3]].attempts > 1
    assert all((trial.failures, trial.losses) == (0, 0) for trial in trials)
    assert psutil.Process().children(recursive=True) == []
    if synchronous:
        assert facts(study) == undisturbed(tmp_path, budget=budget)
