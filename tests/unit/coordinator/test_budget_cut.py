"""Lowering the budget of steps shortens waiting trials, and gives up those beyond it so that no member waits."""

import pytest

import phyletic as ph
from phyletic.records import TrialState

BOTH = pytest.mark.parametrize("synchronous", [False, True])


def make(folder, synchronous=False, algorithm=None):
    return ph.Study(
        "study",
        space={"lr": ph.Float(0, 1)},
        metric="score",
        mode="max",
        algorithm=algorithm or ph.RandomSearch(3, 10, synchronous=synchronous),
        budget=ph.Budget(steps=100),
        seed=0,
        storage=folder / "study.db",
    )


def ask_all(study, most=10):
    """Ask until no trial can run now; return the trials and the last answer."""
    trials = []
    while isinstance(answer := study.ask(), ph.LiveTrial):
        trials.append(answer)
        assert len(trials) <= most
    return trials, answer


def tell(study, trials, steps=None, score=1.0):
    for trial in trials:
        study.tell(trial, score=score, steps_done=steps or trial.steps, checkpoint={"w": [0]})


def give_back(study):
    """Return every held trial to the waiting ones."""
    study.close()


def check_stored(study):
    held = study.owner.state
    study.close()
    again = study.owner.state
    assert again is not held
    assert {number: opened.trial.steps for number, opened in again.open.items()} == {
        number: opened.trial.steps for number, opened in held.open.items()
    }
    assert again.members == held.members
    assert again.best == held.best


@BOTH
def test_waiting_trials_are_shortened_when_they_are_granted(tmp_path, synchronous):
    study = make(tmp_path, synchronous)
    tell(study, ask_all(study)[0])
    waiting, _ = ask_all(study)
    assert [(trial.start_step, trial.steps) for trial in waiting] == [(10, 10)] * 3
    give_back(study)
    study.set_budget(ph.Budget(steps=14))
    assert [trial.steps for trial in study.trials(states=[TrialState.WAITING])] == [10] * 3
    cut, _ = ask_all(study)
    assert [(trial.number, trial.start_step, trial.steps) for trial in cut] == [
        (trial.number, 10, 4) for trial in waiting
    ]
    check_stored(study)
    events = [event.payload for event in study.events() if event.kind == "trial cut"]
    assert events == [{"trial": trial.number, "member": trial.member, "steps": [10, 4]} for trial in waiting]
    tell(study, ask_all(study)[0])
    assert isinstance(study.ask(), ph.Finished)
    assert study.finished
    assert {trial.end_step for trial in study.trials() if trial.number in {one.number for one in cut}} == {14}


@BOTH
def test_trials_that_would_begin_beyond_the_budget_are_given_up_without_a_failure(tmp_path, synchronous):
    study = make(tmp_path, synchronous)
    tell(study, ask_all(study)[0])
    waiting, _ = ask_all(study)
    give_back(study)
    study.set_budget(ph.Budget(steps=10))
    assert isinstance(study.ask(), ph.Finished)
    left = study.trials()[3:]
    assert [(trial.state, trial.failures, trial.losses) for trial in left] == [(TrialState.FAILED, 0, 0)] * len(waiting)
    assert all("budget was lowered" in trial.error for trial in left)
    assert study.owner.state.counters.failures_in_a_row == 0
    check_stored(study)
    assert study.finished
    assert {event.payload["cause"] for event in study.events() if event.kind == "trial given up"} == {"budget"}
    # after the budget is raised again, each member continues from its last step
    study.set_budget(ph.Budget(steps=20))
    again, _ = ask_all(study)
    assert [(trial.member, trial.start_step, trial.steps) for trial in again] == [(m, 10, 10) for m in range(3)]
    assert {trial.record.decision.kind for trial in again} == {"continue"}
    study.close()


@BOTH
def test_no_generation_waits_for_a_trial_beyond_the_budget(tmp_path, synchronous):
    study = make(tmp_path, synchronous)
    first, _ = ask_all(study)
    tell(study, first[:1], steps=30)
    tell(study, first[1:])
    second, _ = ask_all(study)
    ahead = next(trial for trial in second if trial.start_step == 30)
    tell(study, [trial for trial in second if trial is not ahead])
    give_back(study)
    study.set_budget(ph.Budget(steps=25))
    third, answer = ask_all(study)
    assert isinstance(answer, ph.Wait)
    assert study.trial(ahead.number).state is TrialState.FAILED
    assert [(trial.member, trial.start_step, trial.steps) for trial in third] == [(1, 20, 5), (2, 20, 5)]
    check_stored(study)
    tell(study, ask_all(study)[0])
    assert isinstance(study.ask(), ph.Finished)
    study.close()


def test_a_trial_bounded_by_seconds_is_bounded_by_the_limit_too(tmp_path):
    study = ph.Study(
        "study",
        space={"lr": ph.Float(0, 1)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(1, interval_seconds=60.0),
        budget=ph.Budget(trials=100),
        seed=0,
        storage=tmp_path / "study.db",
    )
    trial = study.ask()
    assert trial.steps is None
    study.close()
    study.set_budget(ph.Budget(steps=7))
    assert study.ask().steps == 7
    study.close()


def test_a_member_whose_rescue_was_given_up_is_rescued_later(tmp_path):
    study = make(tmp_path, algorithm=ph.PBT(4, 10, synchronous=True))
    first, _ = ask_all(study)
    tell(study, first[:1], steps=30, score=9.0)
    tell(study, first[1:])
    second, _ = ask_all(study)
    bad = next(trial for trial in second if trial.member == 1)
    for _ in range(2):
        study.fail(bad, "it broke")
        bad = study.ask()
    study.fail(bad, "it broke")
    tell(study, [trial for trial in second if trial.member == 0], score=9.0)
    tell(study, [trial for trial in second if trial.member == 2], score=2.0)
    tell(study, [trial for trial in second if trial.member == 3])
    third, _ = ask_all(study)
    rescue = next(trial for trial in third if trial.member == 1)
    assert (rescue.record.decision.kind, rescue.start_step) == ("rescue", 40)
    give_back(study)
    study.set_budget(ph.Budget(steps=35))
    held, _ = ask_all(study)
    assert [trial.member for trial in held] == [2]
    check_stored(study)
    assert study.owner.state.member(1).view.failed
    tell(study, ask_all(study)[0])
    again = next(trial for trial in ask_all(study)[0] if trial.member == 1)
    assert again.record.decision.kind == "rescue"
    assert again.start_step + again.steps <= 35
    study.close()


def test_lowering_the_budget_during_a_run_ends_the_run(tmp_path):
    study = make(tmp_path, synchronous=True)
    seen = []

    def train(trials):
        for trial in trials.attach(lambda trial: {"w": [0.0]}):
            seen.append(trial.number)
            if trial.generation == 1 and trial.member == 0:
                study.set_budget(ph.Budget(steps=15))
            for _ in trial.range():
                trial.state.w[0] += trial["lr"]
            trial.report(score=trial.state.w[0])

    study.run(train, workers=0, verbose=0)
    assert study.finished
    # the running trial goes on to its end, the others are shortened
    assert [(trial.member, trial.end_step) for trial in study.trials()[3:]] == [(0, 20), (1, 15), (2, 15)]
