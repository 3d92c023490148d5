"""However a loop over trials in this process ends, the study goes on when the code runs again."""

import gc
import subprocess
import sys
import threading

import pytest

import phyletic as ph
from phyletic import errors
from phyletic.failpoints import armed
from phyletic.records import TrialState


def build(trial):
    return {"weights": [0.0]}


def train(trials, body=None):
    for trial in trials.attach(build):
        for _ in trial.range():
            trial.state.weights[0] += trial["lr"]
        if body is not None:
            body(trial)
        trial.report(score=trial.state.weights[0])


def make(population=1, budget=None, algorithm=None, **options):
    return ph.Study(
        "study",
        space={"lr": ph.Float(0.1, 1.0)},
        metric="score",
        mode="max",
        algorithm=algorithm or ph.PBT(population, 2),
        budget=budget or ph.Budget(steps=6),
        seed=0,
        **options,
    )


def raising(*_):
    raise RuntimeError("no such luck")


def train_with_a_typo(trials):
    for trial in trials.attach(build):
        for _ in trial.range():
            trial.state.weights[0] += trial["lr"]
        trial.report(scores=trial.state.weights[0])


def in_time(function, *arguments):
    """Call a function that would wait for ever for an abandoned trial; fail after a time limit."""
    raised = []

    def call():
        try:
            function(*arguments)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    if raised:
        raise raised[0]


@pytest.mark.parametrize("storage", [None, "a.db"])
def test_a_trial_whose_result_was_refused_is_granted_again(tmp_path, storage):
    study = make(storage=None if storage is None else tmp_path / storage)
    with pytest.raises(errors.MetricMissing, match="'score'"):
        train_with_a_typo(study)
    assert study.trial(0).state is TrialState.WAITING
    in_time(train, study)
    assert [trial.end_step for trial in study.trials()] == [2, 4, 6]


def failing_to_build(trials):
    for _ in trials.attach(raising):
        pass


def failing_to_save(trials):
    for trial in trials.attach(build, save=raising, load=raising):
        trial.report(score=trial["lr"])


def failing_to_read(trials):
    for trial in trials.attach(build):
        trial.report(score=1.0)


def comprehending(trials):
    return [raising(trial) for trial in trials.attach(build)]


def generating(trials):
    return sum(raising(trial) for trial in trials.attach(build))


def passing_on(trials):
    def passed_on():
        yield from trials.attach(build)

    for trial in passed_on():
        raising(trial)


def naming(trials):
    loop = iter(trials.attach(build))
    for trial in loop:
        raising(trial)


IN_THE_LOOP = [train_with_a_typo, failing_to_build, failing_to_save, failing_to_read]
IN_THE_BODY = [comprehending, generating, passing_on, naming]


@pytest.mark.parametrize("way", [*IN_THE_LOOP, *IN_THE_BODY])
def test_a_kept_traceback_holds_no_trial(tmp_path, way):
    # a notebook keeps the last traceback while a cell runs again
    study = make(storage=tmp_path / "a.db")

    def twice():
        with pytest.raises((RuntimeError, errors.TrainingError)) as kept:
            way(study)
        assert way in IN_THE_BODY or not study.owner.begun
        train(study)
        assert kept.tb is not None

    in_time(twice)
    assert [trial.end_step for trial in study.trials()] == [2, 4, 6]
    assert not study.owner.begun


def test_a_dead_loop_that_is_collected_late_takes_nothing_from_the_next_loop(tmp_path):
    study = make(storage=tmp_path / "a.db")
    kept = []

    def train_keeping(trials):
        if not kept:
            try:
                comprehending(trials)
            except RuntimeError as error:
                kept.append(error)
                raise
        for trial in trials.attach(build):
            kept[:] = [None]
            trial.report(score=trial["lr"])

    first = study.ask()
    study.tell(first, score=first["lr"], checkpoint=build(first))
    study.run(train_keeping, workers=0, verbose=0)
    assert [(trial.end_step, trial.failures) for trial in study.trials()] == [(2, 0), (4, 1), (6, 0)]


def test_a_loop_inside_another_and_the_outer_loop_both_end(tmp_path):
    study = make(storage=tmp_path / "a.db")

    def nested(trials):
        for outer in trials.attach(build):
            train(trials)
            outer.report(score=outer["lr"])

    in_time(nested, study)
    assert [(trial.end_step, trial.failures) for trial in study.trials()] == [(2, 0), (4, 0), (6, 0)]


@pytest.mark.parametrize("when", ["storage.commit.before", "storage.commit.after"])
def test_an_interrupted_exchange_leaves_no_trial_behind(tmp_path, when):
    study = make(population=2, storage=tmp_path / "a.db")
    passed = 0

    def interrupt(name):
        nonlocal passed
        passed += name == when
        if name == when and passed == 3:
            raise KeyboardInterrupt

    with armed(interrupt), pytest.raises(KeyboardInterrupt):
        train(study)
    assert not [trial for trial in study.trials() if trial.state is TrialState.RUNNING]
    in_time(train, study)
    assert [trial.end_step for trial in study.trials() if trial.state is TrialState.COMPLETED].count(6) == 2


@pytest.mark.parametrize("way", ["break", "exception", "interrupt"])
def test_a_loop_that_is_left_gives_its_trial_back_at_once(tmp_path, way):
    study = make(storage=tmp_path / "a.db")
    if way == "break":
        for _ in study.attach(build):
            break
    else:
        error = ValueError("no") if way == "exception" else KeyboardInterrupt()

        def body(trial):
            raise error

        with pytest.raises(type(error)):
            train(study, body)
    assert study.trial(0).state is TrialState.WAITING
    assert not study.owner.begun
    assert (study.trial(0).attempts, study.trial(0).failures) == (1, 0)
    train(study)
    assert study.best.end_step == 6


def test_the_end_of_a_loop_does_not_release_other_trials_of_the_study_object():
    study = make(population=2)
    asked = study.ask(worker="mine")
    for trial in study.attach(build):
        trial.report(score=trial["lr"])
        if trial.number == 2:
            break
    assert study.trial(asked.number).state is TrialState.RUNNING
    assert study.tell(asked, score=0.5).state is TrialState.COMPLETED
    study.close()
    assert not study.owner.begun


def test_a_loop_may_be_run_again_after_its_end():
    study = make()
    loop = study.attach(build)
    for trial in loop:
        trial.report(score=trial["lr"])
    study.set_budget(ph.Budget(steps=10))
    for trial in loop:
        trial.report(score=trial["lr"])
        break
    study.close()
    assert study.trial(3).state is TrialState.WAITING
    in_time(train, study)
    assert study.trials()[-1].end_step == 10


def test_a_trial_that_another_thread_left_is_given_back(tmp_path):
    study = make(storage=tmp_path / "a.db")

    def leave():
        for _ in study.attach(build):
            break

    in_time(leave)
    in_time(train, study)
    assert [(trial.end_step, trial.failures) for trial in study.trials()] == [(2, 0), (4, 0), (6, 0)]
    assert not study.owner.begun


def test_a_dropped_study_object_with_an_abandoned_loop_releases_its_ownership(tmp_path):
    def leave():
        study = make(storage=tmp_path / "a.db")
        for _ in study.attach(build):
            break
        return study.owner

    owner = leave()
    gc.collect()
    assert not owner.begun


def test_loops_of_two_study_objects_in_one_thread_share_its_session(tmp_path):
    """As in a notebook cell that runs again: a traceback still holds the old object, its loop and its trial."""
    first, second = make(storage=tmp_path / "a.db"), make(storage=tmp_path / "a.db")
    left = iter(first)
    assert next(left).number == 0
    in_this_thread = [trial.number for trial in second.trials()]
    train(second)
    assert in_this_thread == [0]
    assert [(trial.end_step, trial.failures) for trial in second.trials()] == [(2, 0), (4, 0), (6, 0)]
    assert list(left) == []


WAYS = {
    "exit": "sys.exit(0)",
    "exit with a status": "sys.exit(5)",
    "raise": 'raise ValueError("in the child")',
    "go on": "pass",
    "return": "return",
}


@pytest.mark.parametrize(
    ("workers", "way"),
    [
        (None, "exit"),
        (None, "raise"),
        (None, "go on"),
        *((0, way) for way in WAYS),
        (1, "exit with a status"),
        (1, "raise"),
    ],
)
def test_a_process_that_training_code_forks_never_acts_for_its_parent(tmp_path, way, workers):
    (tmp_path / "script.py").write_text(f"""
import os, sys
import phyletic as ph

def train(trials):
    for trial in trials.attach(lambda trial: {{"weights": [trial["lr"]]}}):
        for _ in trial.range():
            pass
        child = os.fork()
        if child == 0:
            {WAYS[way]}
        status = None if child == 0 else os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with open({str(tmp_path / "statuses")!r}, "a") as file:
            print(trial.number, status, file=file)
        trial.report(score=trial["lr"])

study = ph.Study("study", space={{"lr": ph.Float(0.1, 1.0)}}, metric="score", mode="max", seed=0,
                 algorithm=ph.PBT(1, 1), budget=ph.Budget(steps=2), storage={str(tmp_path / "a.db")!r})
{"train(study)" if workers is None else f"study.run(train, workers={workers}, verbose=0)"}
print("went on")
study.close()
""")
    ran = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    study = ph.Study("study", storage=tmp_path / "a.db")
    assert study.finished
    assert [(trial.attempts, trial.failures, trial.losses) for trial in study.trials()] == [(1, 0, 0)] * 2
    said = "".join([ran.stderr, *(path.read_text() for path in tmp_path.glob("a.logs/*"))])
    if way in ("exit", "exit with a status"):
        assert "Error" not in said
    else:
        assert "Exception ignored" not in said
        assert ("in the child" if way == "raise" else "end it where its work ends") in said
    told = {line for line in (tmp_path / "statuses").read_text().splitlines() if not line.endswith("None")}
    status = {"exit": 0, "exit with a status": 5}.get(way, 1)
    assert told == {f"{number} {status}" for number in range(2)}


@pytest.mark.parametrize("way", ["asked", "looped", "both"])
def test_a_study_object_collected_during_a_decision_of_another_releases_its_trials_afterwards(tmp_path, way):
    collected = []

    def explore(values, rng):
        collected.append(gc.collect())
        return {"lr": 0.5}

    algorithm = ph.PBT(4, 2, explore=explore)
    study = make(algorithm=algorithm, storage=tmp_path / "a.db")
    gc.disable()
    try:
        other = make(algorithm=algorithm, storage=tmp_path / "a.db")
        dropped = [other]
        if way in ("asked", "both"):
            other.ask()
        if way in ("looped", "both"):
            dropped.append(iter(other))
            next(dropped[1])
        dropped.append(dropped)
        held = other.owner.state.running
        del dropped, other
        in_time(train, study)
    finally:
        gc.enable()
    assert collected
    assert study.finished
    assert sum(trial.attempts for trial in study.trials()) == len(study.trials()) + held
    assert not study.owner.begun


@pytest.mark.parametrize("when", ["coordinator.decided", "storage.commit.before", "storage.commit.after"])
def test_the_last_study_object_in_use_may_be_collected_during_a_change_by_another(tmp_path, when):
    study = make(storage=tmp_path / "a.db")
    collected = []

    def collect(name):
        if name == when:
            collected.append(gc.collect())

    gc.disable()
    try:
        dropped = [make(storage=tmp_path / "a.db")]
        dropped[0].ask()
        dropped.append(dropped)
        del dropped
        with armed(collect):
            study.set_budget(ph.Budget(steps=8))
    finally:
        gc.enable()
    assert collected
    assert not study.owner.begun
    assert study.control.budget.steps == 8
    assert study.trial(0).state is TrialState.WAITING
    train(study)
    assert study.best.end_step == 8
