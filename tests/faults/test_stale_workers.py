"""A worker whose trial was given to another loses only that trial, and goes on with the next one."""

import sys
import threading
import time

import cloudpickle
import pytest

from phyletic.coordinator.messages import Done, Fail, Granted
from phyletic.evolution import PBT
from phyletic.testing.example import example_study, facts, reference
from phyletic.testing.training import Journal, drawing

TAKEN = 7
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def holding(journal, taken, how):
    """Return training code whose first attempt at one trial continues after the owner took the trial away."""

    def during(trial):
        journal.note(trial=trial.number, attempt=trial.record.attempts)
        if trial.number != TAKEN or trial.record.attempts > 1:
            return
        deadline = time.monotonic() + 20
        while not taken.exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        trial.state.weights[:] = 1e9
        while how == "heartbeat" and not trial.should_stop and time.monotonic() < deadline:
            time.sleep(0.005)
        journal.note(trial=trial.number, stopped=trial.should_stop)

    return drawing(during)


def taking(study, then):
    """Watch a study's owner: take a trial from the first session that gets it, then call ``then``."""
    takers, lost = [], []

    def take(lease):
        lost.extend(study.owner.execute([Fail(lease=lease, error="another has it", cause="released")]))
        then()

    execute = study.owner.execute

    def watched(commands):
        replies = execute(commands)
        for reply in replies:
            if isinstance(reply, Granted) and reply.first.trial.number == TAKEN and not takers:
                takers.append(threading.Thread(target=take, args=(reply.first.lease,)))
                takers[0].start()
        return replies

    study.owner.execute = watched

    def over():
        study.owner.execute = execute
        takers[0].join()
        assert isinstance(lost[0], Done)

    return over


@pytest.mark.parametrize("how", ["heartbeat", "tell"])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_lost_lease_ends_its_trial_but_not_its_process(tmp_path, workers, how):
    journal, taken = Journal(tmp_path / "notes"), tmp_path / "taken"
    study = example_study(tmp_path / "study.db")
    over = taking(study, taken.touch)
    study.run(holding(journal, taken, how), workers=workers, verbose=0)
    over()
    notes = journal.notes()
    (stale,) = [note for note in notes if "stopped" in note]
    # in a separate process a heartbeat may come before the result
    if how == "heartbeat":
        assert stale["stopped"]
    # the same process gets the trial again, from its beginning, and all later trials
    assert notes[notes.index(stale) + 1]["attempt"] == 2
    assert {note["process"] for note in notes} == {stale["process"]}
    for place in range(workers):
        assert (study.logs / f"worker-{place}.log").read_text().count(f"=== worker-{place}, pid") == 1
    assert facts(study) == reference()
    assert [trial.attempts for trial in study.trials()] == [1 + (number == TAKEN) for number in range(20)]
    assert all(trial.failures == 0 and trial.losses == 0 for trial in study.trials())


@pytest.mark.parametrize("workers", [0, 1])
def test_no_trial_uses_the_state_that_a_stale_attempt_left_in_memory(tmp_path, workers):
    """Another session finishes the trial; the child starts from the checkpoint of that session."""
    journal, taken = Journal(tmp_path / "notes"), tmp_path / "taken"
    study = example_study(tmp_path / "study.db", algorithm=PBT(1, 1), steps=TAKEN + 3)

    def told_by_another():
        trial = study.ask()
        assert (trial.number, trial.record.attempts) == (TAKEN, 2)
        study.tell(trial, score=7.0, checkpoint={"weights": [7.0]})
        taken.touch()

    def train(trials):
        for trial in trials.attach(lambda trial: {"weights": [0.0]}):
            journal.note(trial=trial.number, weights=trial.state.weights[0], loaded=trial.loaded)
            if trial.number == TAKEN:
                deadline = time.monotonic() + 20
                while not taken.exists() and time.monotonic() < deadline:
                    time.sleep(0.005)
                trial.state.weights[0] = 1e9
            trial.report(score=trial["lr"])

    over = taking(study, told_by_another)
    study.run(train, workers=workers, verbose=0)
    over()
    child = [note for note in journal.notes() if note["trial"] == TAKEN + 1]
    assert [(note["weights"], note["loaded"]) for note in child] == [(7.0, True)]
    assert study.restore(TAKEN + 2)["weights"] == [7.0]
    assert study.trial(TAKEN).score == 7.0
