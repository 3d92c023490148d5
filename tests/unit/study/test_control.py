"""Changing a study: its population, its budget, pausing, pinning, handing back and closing."""

import time
from pathlib import Path

import pytest

import phyletic as ph
from phyletic import errors
from phyletic.records import TrialState


def train(trials):
    for trial in trials.attach(lambda trial: {"weights": [0.0]}):
        trial.state.weights[0] += trial["lr"]
        trial.report(score=trial.state.weights[0])


def make(population=4, budget=None, synchronous=True, **options):
    return ph.Study(
        "study",
        space={"lr": ph.Float(0.1, 1.0)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(population, 1, synchronous=synchronous),
        budget=budget or ph.Budget(steps=4),
        seed=0,
        **options,
    )


@pytest.mark.parametrize("synchronous", [False, True])
def test_a_population_grows_and_shrinks(tmp_path, synchronous):
    study = make(4, synchronous=synchronous, storage=tmp_path / "a.db")
    train(study)
    study.resize(6)
    study.set_budget(ph.Budget(steps=6))
    train(study)
    ages = {}
    for trial in study.trials():
        ages[trial.member] = trial.end_step
    assert ages == dict.fromkeys(range(6), 6)
    study.resize(2)
    study.set_budget(ph.Budget(steps=8))
    train(study)
    assert {trial.member for trial in study.trials() if trial.end_step == 8} == {0, 1}
    kept = len(list(Path(study.checkpoints.location).glob("*.safetensors")))
    assert kept <= 2 * 2 + 1
    study.resize(3)
    study.set_budget(ph.Budget(steps=9))
    train(study)
    back = [trial for trial in study.trials() if trial.member == 2][-1]
    assert back.end_step == 9
    kinds = [event.payload for event in study.events() if event.kind == "control"]
    assert {"population": 6} in kinds
    assert {"population": 2} in kinds


def test_a_paused_study_grants_nothing():
    study = make()
    study.pause()
    assert isinstance(study.ask(), ph.Wait)
    study.resume()
    assert study.ask().number == 0


@pytest.mark.parametrize("population", [1, 3, 8])
@pytest.mark.parametrize("synchronous", [False, True])
def test_a_budget_of_25_trials_is_25_completed_trials(population, synchronous):
    study = make(population, ph.Budget(trials=25), synchronous)
    train(study)
    assert [trial.state for trial in study.trials()].count(TrialState.COMPLETED) == 25
    assert study.finished
    assert study.ask().reason == "25 trials are completed"
    study.set_budget(ph.Budget(trials=26))
    train(study)
    assert [trial.state for trial in study.trials()].count(TrialState.COMPLETED) == 26


def test_a_study_that_ends_with_a_generation_decides_the_next_only_after_a_raise():
    study = make(3, ph.Budget(trials=6))
    train(study)
    assert [trial.state for trial in study.trials()] == [TrialState.COMPLETED] * 6
    study.set_budget(ph.Budget(trials=7))
    train(study)
    assert [trial.generation for trial in study.trials()] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_no_more_trials_are_granted_than_the_budget_has_left():
    study = make(8, ph.Budget(trials=3), synchronous=False)
    answers = study.ask(count=5)
    assert [isinstance(answer, ph.Wait) for answer in answers] == [False, False, False, True, True]
    study.fail(answers[0], "lost")
    assert study.ask().number == 0


def test_the_last_trial_is_shortened_to_the_budget():
    study = ph.Study(
        "study", space={"lr": ph.Float(0, 1)}, metric="score", mode="max",
        algorithm=ph.PBT(2, 4, synchronous=True), budget=ph.Budget(steps=10), seed=0,
    )  # fmt: skip
    train(study)
    assert {trial.end_step for trial in study.trials()} == {4, 8, 10}


def test_a_target_ends_the_study():
    study = make(budget=ph.Budget(target=2.0))
    train(study)
    assert study.best.score >= 2.0
    assert "target" in study.ask().reason
    below = [trial for trial in study.trials() if trial.score is not None and trial.score < 2.0]
    assert len(below) == sum(trial.state is TrialState.COMPLETED for trial in study.trials()) - 1


def test_a_suspended_machine_and_a_clock_step_spend_no_budget(monkeypatch):
    study = make(budget=ph.Budget(seconds=3600))
    trial = study.ask()
    real = time.time
    monkeypatch.setattr(study.owner, "_clock", lambda: real() + 8 * 3600)
    study.tell(trial, score=1.0)
    assert study.status().active_seconds < 60
    assert isinstance(study.ask(), ph.LiveTrial)


def test_active_seconds_are_counted_and_end_the_study():
    def slow(trials):
        for trial in trials.attach(lambda trial: {"x": 0}):
            assert trial["lr"]
            time.sleep(0.02)
            trial.report(score=1.0)

    study = make(budget=ph.Budget(seconds=0.1))
    slow(study)
    assert study.status().active_seconds >= 0.1
    first = len(study.trials(states=[TrialState.COMPLETED]))
    assert first >= 2
    study.set_budget(ph.Budget(seconds=0.2))
    slow(study)
    assert len(study.trials(states=[TrialState.COMPLETED])) > first


def test_a_trial_handed_back_early_is_continued_without_a_decision(tmp_path):
    study = ph.Study(
        "study", space={"lr": ph.Float(0, 1)}, metric="score", mode="max", storage=tmp_path / "a.db",
        algorithm=ph.PBT(2, 10, synchronous=True), budget=ph.Budget(steps=20), seed=0,
    )  # fmt: skip
    trial = study.ask()
    told = study.tell(trial, checkpoint={"weights": [1.0]}, steps_done=4, partial=True)
    assert told.state is TrialState.PARTIAL
    assert told.score is None
    rest = study.ask(count=2)
    by_member = {one.member: one for one in rest}
    resumed = by_member[trial.member]
    assert (resumed.parent, resumed.start_step, resumed.steps) == (trial.number, 4, 6)
    assert dict(resumed.record.hyperparameters) == dict(trial.record.hyperparameters)
    assert resumed.record.decision.kind == "resume"
    assert study.status().trials == {"partial": 1, "running": 2}
    study.tell(rest[0], score=1.0)
    assert isinstance(study.ask(), ph.Wait)  # the generation is not complete yet
    study.tell(rest[1], score=2.0)
    assert study.ask().generation == 1


def test_a_pinned_checkpoint_is_kept_until_it_is_unpinned():
    study = make(2, ph.Budget(steps=1))
    train(study)
    worse = min(study.trials(), key=lambda trial: trial.score)
    study.pin(worse)
    study.set_budget(ph.Budget(steps=8))
    train(study)
    path = study.checkpoint_path(worse)
    assert path.exists()
    study.pin(worse, keep=False)
    assert not path.exists()
    with pytest.raises(errors.NotFound):
        study.checkpoint_path(worse)
    with pytest.raises(errors.NotFound):
        study.pin(worse)
    with pytest.raises(errors.NotFound, match="no trial 9999"):
        study.pin(9999)


def test_two_objects_for_one_study_in_a_process_share_its_ownership(tmp_path):
    first = make(storage=tmp_path / "a.db")
    held = first.ask()
    second = ph.Study("study", storage=tmp_path / "a.db")
    other = second.ask()
    assert other.number != held.number
    first.tell(held, score=1.0)
    second.tell(other, score=2.0)
    first.close()
    assert second.ask().number not in (held.number, other.number)


def test_closing_a_study_releases_its_trials(tmp_path):
    study = make(storage=tmp_path / "a.db")
    held = study.ask(worker="a")
    study.close()
    again = study.ask(worker="b")
    assert again.number == held.number
    with pytest.raises(errors.LeaseLost):
        study.tell(held, score=1.0)


def test_the_population_that_a_decision_saw_can_be_rebuilt(tmp_path):
    study = make(5, ph.Budget(steps=6), storage=tmp_path / "a.db")
    train(study)
    exploits = [trial for trial in study.trials() if trial.decision.kind == "exploit"]
    assert exploits
    for trial in exploits:
        seen = study.population_at(trial)
        assert [head.member for head in seen] == list(range(5))
        assert {head.generation for head in seen} == {trial.generation - 1}
        ranked = sorted(seen, key=lambda head: -head.score)
        assert ranked[trial.decision.donor_rank].number == trial.decision.donor
        assert ranked[trial.decision.rank].member == trial.member
        assert ranked[-1].score <= trial.decision.threshold <= ranked[0].score
