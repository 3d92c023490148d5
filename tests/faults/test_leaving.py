"""Machines, members and workers come and go: a study loses at most the interval that was running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import phyletic as ph
from phyletic.records import TrialState

SCRIPT = """
import os, pathlib, sys, time
import phyletic as ph

folder, workers, style = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]

def build(trial):
    return {"weights": [0.0]}

def train(trials):
    (folder / f"worker-{os.getpid()}").touch()
    for trial in trials.attach(build):
        (folder / f"began-{trial.number}").touch()
        weights, lr = trial.state.weights, trial["lr"]
        if style == "deaf":
            time.sleep(600)
        elif style == "fit":  # reports how far it came
            epochs = 0
            while epochs < trial.steps and not trial.should_stop:
                weights[0] += lr
                epochs += 1
                time.sleep(0.15)
            trial.report(score=weights[0], steps_done=max(1, epochs))
        elif style == "mute":  # obeys the request, but does not report how far it came
            for _ in range(trial.steps):
                if trial.should_stop:
                    break
                weights[0] += lr
                time.sleep(0.15)
            trial.report(score=weights[0])
        else:
            for step in trial.range():
                weights[0] += lr
                (folder / f"stepped-{trial.number}").touch()
                time.sleep(0.15)
                if style == "broken" and trial.should_stop:
                    raise RuntimeError("a process that it relied on is gone")
            if style == "broken" and trial.should_stop:
                raise RuntimeError("a process that it relied on is gone")
            trial.report(score=weights[0])

study = ph.Study("toy", space={"lr": ph.Float(1e-3, 1e-1, log=True)}, metric="score", mode="max", seed=0,
                 algorithm=ph.PBT(population=2, interval=20), budget=ph.Budget(steps=40), storage=folder / "toy.db")
study.run(train, workers=workers, verbose=0, grace=float(sys.argv[4]), on_signal=sys.argv[5])
print("returned", flush=True)
"""


class Machine:
    """A process that runs a study, and the processes that it started."""

    def __init__(self, folder: Path, workers: int, style: str, grace: float, on_signal: str) -> None:
        self.folder = folder
        (folder / "script.py").write_text(SCRIPT)
        command = [sys.executable, str(folder / "script.py"), str(folder), str(workers), style, str(grace), on_signal]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )

    def wait_for(self, pattern: str, count: int) -> None:
        wait_until(lambda: len(list(self.folder.glob(pattern))) >= count, self.process)

    def workers(self) -> list[int]:
        return [int(path.name[7:]) for path in self.folder.glob("worker-*")]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self) -> str:
        return self.process.communicate(timeout=60)[0]

    def status(self) -> int:
        """Wait for its end, and return its exit status as a shell shows it."""
        assert "returned" not in self.wait()
        return self.process.returncode if self.process.returncode >= 0 else 128 - self.process.returncode


def wait_until(held: Callable[[], object], process: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + 40
    while not held():
        assert process is None or process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)


Start = Callable[..., Machine]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def start(workers: int, style: str, grace: float = 2.0, on_signal: str = "raise") -> Machine:
            machine = Machine(tmp_path, workers, style, grace, on_signal)
            stack.callback(lambda: (machine.process.kill(), machine.process.communicate()))
            return machine

        yield start


def build(trial: ph.LiveTrial) -> dict[str, list[float]]:
    return {"weights": [0.0]}


def train(trials: Any) -> None:
    for trial in trials.attach(build):
        for _ in trial.range():
            trial.state.weights[0] += trial["lr"]
        trial.report(score=trial.state.weights[0])


def finish(folder: Path) -> ph.Study:
    """Run the study to its end, and check that no interruption shows in its trials."""
    study = ph.Study("toy", storage=folder / "toy.db")
    study.run(train, workers=0, verbose=0)
    trials = {trial.number: trial for trial in study.trials()}
    assert study.finished
    assert {trial.state for trial in trials.values()} <= {TrialState.COMPLETED, TrialState.PARTIAL}
    assert all(trial.failures == 0 and trial.losses == 0 for trial in trials.values())
    for trial in trials.values():
        if trial.parent is not None:
            assert trial.start_step == trials[trial.parent].end_step
        if trial.decision.kind == "resume":
            partial = trials[trial.parent or 0]
            assert partial.state is TrialState.PARTIAL
            assert trial.hyperparameters == partial.hyperparameters
            assert (partial.steps_done or 0) + (trial.steps_done or 0) == partial.steps
            assert trial.member == partial.member
        if trial.state is TrialState.COMPLETED:
            # each trial of the lineage added its share to the weights exactly once
            lineage = study.lineage(trial.number)
            total = sum((one.steps_done or 0) * float(one.hyperparameters["lr"] or 0) for one in lineage)
            assert trial.score == pytest.approx(total)
    return study


def left(folder: Path) -> list[ph.Trial]:
    return [trial for trial in ph.Study("toy", storage=folder / "toy.db").trials() if trial.attempts > 0]


@pytest.mark.parametrize(("workers", "style"), [(0, "range"), (2, "range"), (0, "fit")])
def test_running_trials_are_handed_back_at_sigterm_and_continued(
    start: Start, tmp_path: Path, workers: int, style: str
) -> None:
    machine = start(workers, style)
    machine.wait_for("began-*", max(1, workers))
    time.sleep(0.6)
    machine.signal(signal.SIGTERM)
    assert machine.status() == 143
    trials = left(tmp_path)
    assert [trial.state for trial in trials] == [TrialState.PARTIAL] * max(1, workers)
    assert all(0 < (trial.steps_done or 0) < 20 and trial.checkpoint is not None for trial in trials)
    assert all(trial.score is None for trial in trials)
    study = finish(tmp_path)
    assert sum(trial.decision.kind == "resume" for trial in study.trials()) == max(1, workers)


@pytest.mark.parametrize(("workers", "style"), [(2, "deaf"), (0, "mute"), (2, "broken")])
def test_trials_not_handed_back_in_time_are_released_without_a_failure(
    start: Start, tmp_path: Path, workers: int, style: str
) -> None:
    machine = start(workers, style)
    machine.wait_for("began-*", max(1, workers))
    time.sleep(0.3)
    machine.signal(signal.SIGTERM)
    assert machine.status() == 143
    trials = left(tmp_path)
    expected = [(TrialState.WAITING, 0, 0)] * max(1, workers)
    assert [(trial.state, trial.failures, trial.losses) for trial in trials] == expected
    study = finish(tmp_path)
    assert [trial.decision.kind for trial in study.trials()].count("resume") == 0


def test_a_second_sigterm_ends_this_process_at_once(start: Start, tmp_path: Path) -> None:
    machine = start(0, "deaf")
    machine.wait_for("began-*", 1)
    machine.signal(signal.SIGTERM)
    time.sleep(0.3)
    machine.signal(signal.SIGTERM)
    assert "returned" not in machine.wait()
    assert machine.process.returncode == -signal.SIGTERM
    assert [trial.state for trial in left(tmp_path)] == [TrialState.RUNNING]
    finish(tmp_path)


def test_a_whole_machine_that_is_taken_away_hands_back_its_running_trials(start: Start, tmp_path: Path) -> None:
    # the system asks every process to end, the owner and its workers at the same time
    machine = start(2, "range")
    machine.wait_for("stepped-*", 2)
    for pid in machine.workers():
        os.kill(pid, signal.SIGTERM)
    machine.signal(signal.SIGTERM)
    assert machine.status() == 143
    assert [trial.state for trial in left(tmp_path)] == [TrialState.PARTIAL] * 2
    finish(tmp_path)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_machine_that_vanishes_without_warning_loses_only_the_running_interval(
    start: Start, tmp_path: Path, workers: int
) -> None:
    machine = start(workers, "range")
    machine.wait_for("stepped-*", max(1, workers))
    machine.signal(signal.SIGKILL)
    machine.wait()
    assert [trial.state for trial in left(tmp_path)] == [TrialState.RUNNING] * max(1, workers)
    finish(tmp_path)


def test_ctrl_c_once_in_this_process_finishes_the_trial_and_begins_no_other(start: Start, tmp_path: Path) -> None:
    machine = start(0, "range")
    machine.wait_for("stepped-*", 1)
    machine.signal(signal.SIGINT)
    assert machine.status() == 130
    assert [(trial.state, trial.steps_done) for trial in left(tmp_path)] == [(TrialState.COMPLETED, 20)]
    finish(tmp_path)


@pytest.mark.parametrize(
    ("number", "trials", "ending"),
    [
        (signal.SIGINT, 12, "interrupted"),
        (signal.SIGTERM, 12, "terminated"),
        (signal.SIGINT, 2, "finished"),  # it came during the last trial
    ],
)
def test_a_run_may_return_after_a_signal_and_say_why_it_ended(
    tmp_path: Path, number: int, trials: int, ending: str
) -> None:
    study = make(tmp_path)
    study.set_budget(ph.Budget(trials=trials))

    def signalled(trials: Any) -> None:
        for trial in trials.attach(build):
            if trial.number == 1:
                signal.raise_signal(number)
            for _ in trial.range():
                trial.state.weights[0] += trial["lr"]
            trial.report(score=trial.state.weights[0])

    assert study.run(signalled, workers=0, verbose=0, on_signal="return") == ending
    assert study.run(train, workers=0, verbose=0) == "finished"
    finish(tmp_path)


def test_ctrl_c_twice_in_this_process_stops_now(start: Start, tmp_path: Path) -> None:
    machine = start(0, "range")
    machine.wait_for("stepped-*", 1)
    machine.signal(signal.SIGINT)
    time.sleep(0.3)
    machine.signal(signal.SIGINT)
    assert "KeyboardInterrupt" in machine.wait()
    assert [(trial.state, trial.failures) for trial in left(tmp_path)] == [(TrialState.WAITING, 0)]
    finish(tmp_path)


def make(folder: Path, *, population: int = 4, steps: int = 12, synchronous: bool = False) -> ph.Study:
    return ph.Study(
        "toy",
        space={"lr": ph.Float(1e-3, 1e-1, log=True)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(population, 4, synchronous=synchronous),
        budget=ph.Budget(steps=steps),
        seed=0,
        storage=folder / "toy.db",
    )


@pytest.mark.parametrize("synchronous", [False, True])
def test_members_join_and_leave_while_the_study_runs(tmp_path: Path, synchronous: bool) -> None:
    study = make(tmp_path, population=3, steps=40, synchronous=synchronous)
    sizes = {2: 5, 8: 2, 14: 4}
    seen = []

    def resizing(trials: Any) -> None:
        for trial in trials.attach(build):
            seen.append(trial.member)
            for step in trial.range():
                trial.state.weights[0] += trial["lr"]
                if step == trial.start_step + 1 and len(seen) in sizes:
                    study.resize(sizes.pop(len(seen)))
            trial.report(score=trial.state.weights[0])

    study.run(resizing, workers=0, verbose=0)
    assert sizes == {}
    assert set(seen) == {0, 1, 2, 3, 4}
    ages = {trial.member: trial.end_step for trial in study.trials(states=[TrialState.COMPLETED])}
    assert {ages[member] for member in range(4)} == {40}
    assert (ages[4] or 0) < 40
    trials = study.trials()
    given_up = [trial for trial in trials if trial.state is TrialState.FAILED]
    assert all(trial.attempts == 0 and trial.member >= 2 for trial in given_up)
    assert all(trial.failures == 0 and trial.losses == 0 for trial in trials)


def test_workers_join_and_leave_while_the_study_runs(tmp_path: Path) -> None:
    study = make(tmp_path, population=4, steps=24)

    def work(leave_after: int | None) -> None:
        for done, trial in enumerate(study.attach(build)):
            for _ in trial.range():
                trial.state.weights[0] += trial["lr"]
                time.sleep(0.002)
            if done == leave_after:
                break  # the worker leaves in the middle of its trial
            trial.report(score=trial.state.weights[0])

    with study:
        study.source()
        lasting = threading.Thread(target=work, args=(None,))
        lasting.start()
        for leave_after in (0, 2, 1):
            joined = threading.Thread(target=work, args=(leave_after,))
            joined.start()
            joined.join()
        lasting.join()
    finished = finish(tmp_path)
    ages = {trial.member: trial.end_step for trial in finished.trials()}
    assert ages == dict.fromkeys(range(4), 24)
    assert max(trial.attempts for trial in finished.trials()) > 1


@pytest.mark.parametrize("counts", [(0, 2), (3, 1)])
def test_each_run_may_have_another_number_of_workers_and_a_higher_budget(tmp_path: Path, counts: list[int]) -> None:
    study = make(tmp_path, population=3, synchronous=True)
    for round_, workers in enumerate(counts, 1):
        study.set_budget(ph.Budget(steps=8 * round_))
        study.run(train, workers=workers, verbose=0)
        assert study.finished
        ages = {trial.member: trial.end_step for trial in study.trials()}
        assert ages == dict.fromkeys(range(3), 8 * round_)
    finish(tmp_path)
    assert sum(trial.newborn for trial in study.trials()) == 3
    alone = make(tmp_path / "alone", population=3, steps=8 * len(counts), synchronous=True)
    alone.run(train, workers=0, verbose=0)
    assert [(trial.score, trial.parent) for trial in alone.trials()] == [
        (trial.score, trial.parent) for trial in study.trials()
    ]


def test_a_handed_back_trial_beyond_a_lowered_budget_is_released(tmp_path: Path) -> None:
    study = make(tmp_path, population=1, steps=12)
    source = study.source(supervised=True)
    for trial in source.attach(build):
        for step in trial.range():
            trial.state.weights[0] += trial["lr"]
            if step == 2:
                study.set_budget(ph.Budget(steps=2))
                source.preempt()
        trial.report(score=trial.state.weights[0])
    study.close()
    (trial,) = left(tmp_path)
    assert (trial.state, trial.failures, trial.losses) == (TrialState.WAITING, 0, 0)
    study.set_budget(ph.Budget(steps=12))
    finish(tmp_path)


def test_a_trial_granted_at_the_moment_of_the_signal_is_given_back_untouched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make(tmp_path)
    source = study.source(supervised=True)

    execute = study.owner.execute

    def granting(commands: Any) -> Any:
        replies = execute(commands)
        # a signal arrives between the decision and its answer
        source.preempt()
        return replies

    monkeypatch.setattr(study.owner, "execute", granting)
    assert list(source.attach(build)) == []
    study.close()
    assert [(trial.state, trial.failures, trial.losses) for trial in left(tmp_path)] == [(TrialState.WAITING, 0, 0)]
    finish(tmp_path)
