"""Workers die at any moment; every trial is told exactly once, and the other workers go on."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

import phyletic as ph
from phyletic.coordinator.messages import Ask, Command, Heartbeat, Reply
from phyletic.failpoints import armed
from phyletic.records import TrialState
from phyletic.testing.example import facts
from phyletic.workers.fleet_protocol import Outcome, Patience
from phyletic.workers.run_options import RunOptions
from phyletic.workers.run_workers import run_workers

Execute = Callable[[Sequence[Command]], Sequence[Reply]]


def make_study(folder: Path, name: str = "toy", **changes: Any) -> ph.Study:
    settings: dict[str, Any] = {
        "space": {"lr": ph.Float(1e-3, 1e-1, log=True)},
        "metric": "score",
        "mode": "max",
        "algorithm": ph.PBT(population=3, interval=4, synchronous=True),
        "budget": ph.Budget(steps=12),
        "storage": folder / f"{name}.db",
        "seed": 0,
    }
    return ph.Study(name, **{**settings, **changes})


def build(trial: ph.LiveTrial) -> dict[str, Any]:
    return {"weights": [0.0]}


def train(trials: Any) -> None:
    for trial in trials.attach(build):
        for _ in trial.range():
            trial.state.weights[0] += trial["lr"]
        trial.report(score=trial.state.weights[0])


def wait_for(path: Path, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert path.exists()


@pytest.mark.parametrize("point", ["channel.send.after:2", "channel.receive.after:3"])
def test_a_run_whose_workers_are_killed_repeatedly_ends_like_an_undisturbed_run(tmp_path: Path, point: str) -> None:
    algorithm = ph.PBT(population=2, interval=4, synchronous=True)
    study = make_study(tmp_path, algorithm=algorithm, max_losses=100)
    undisturbed = make_study(tmp_path, "undisturbed", algorithm=algorithm)
    study.run(train, workers=2, environment={"PHYLETIC_FAILPOINT": point}, verbose=0)
    undisturbed.run(train, workers=0, verbose=0)
    assert facts(study) == facts(undisturbed)
    assert all(trial.failures == 0 for trial in study.trials())
    assert (study.logs / "worker-0.log").read_text().count("=== worker-0, pid") > 1


def test_a_killed_worker_is_named_with_its_signal_and_replaced(tmp_path: Path) -> None:
    def dying(trials: Any) -> None:
        for trial in trials.attach(build):
            if trial.number == 1 and trial.record.losses == 0:
                if os.fork() == 0:
                    time.sleep(600)  # a child that survives does not hide its parent's death
                os.kill(os.getpid(), signal.SIGSEGV)
            for _ in trial.range():
                trial.state.weights[0] += trial["lr"]
            trial.report(score=trial.state.weights[0])

    study = make_study(tmp_path)
    study.run(dying, workers=2, verbose=0)
    lost = study.trials()[1]
    assert (lost.losses, lost.failures, lost.state) == (1, 0, TrialState.COMPLETED)
    assert "was killed by signal 11 (SIGSEGV)" in (lost.error or "")
    assert str(study.logs) in (lost.error or "")
    assert psutil.Process().children(recursive=True) == []


def test_processes_that_a_dead_worker_started_are_killed_before_its_trial_is_retried(tmp_path: Path) -> None:
    def dying(trials: Any) -> None:
        for trial in trials.attach(build):
            if trial.number == 0 and trial.record.losses == 0:
                started = [
                    subprocess.Popen(["sleep", "600"]).pid,
                    subprocess.Popen(["sleep", "600"], start_new_session=True).pid,
                ]
                (tmp_path / "started").write_text(" ".join(map(str, started)))
                os.kill(os.getpid(), signal.SIGSEGV)
            if trial.number == 0:
                pids = [int(pid) for pid in (tmp_path / "started").read_text().split()]
                (tmp_path / "left").write_text(" ".join(str(pid) for pid in pids if runs(pid)))
            for _ in trial.range():
                trial.state.weights[0] += trial["lr"]
            trial.report(score=trial.state.weights[0])

    def runs(pid: int) -> bool:
        try:
            return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False

    study = make_study(tmp_path)
    study.run(dying, workers=1, verbose=0)
    left = [int(pid) for pid in (tmp_path / "left").read_text().split()]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []
    assert study.trials()[0].losses == 1


def test_a_trial_that_takes_too_long_is_killed_with_its_process_tree_and_retried(tmp_path: Path) -> None:
    def slow(trials: Any) -> None:
        for trial in trials.attach(build):
            for _ in trial.range():
                trial.state.weights[0] += trial["lr"]
            if trial.number == 0 and trial.record.losses == 0:
                child = os.fork()
                (tmp_path / "hanging").write_text(str(child or os.getpid()))
                time.sleep(600)
            trial.report(score=trial.state.weights[0])

    study = make_study(tmp_path)
    study.run(slow, workers=1, trial_timeout=0.5, verbose=0)
    late = study.trials()[0]
    assert (late.losses, late.state) == (1, TrialState.COMPLETED)
    assert "trial_timeout=0.5" in (late.error or "")
    child = int((tmp_path / "hanging").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


class Calls:
    """A channel that calls a function."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute

    def exchange(self, commands: Sequence[Command], timeout: float | None = None) -> tuple[Reply, ...]:
        return tuple(self._execute(commands))

    def wait(self, seconds: float) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass


def run_with(
    study: ph.Study,
    execute: Execute,
    code: Callable[[Any], None],
    patience: Patience | None = None,
    announce: Callable[[str], None] | None = None,
    **options: Any,
) -> Outcome:
    study.source()
    try:
        return run_workers(
            Calls(execute),
            code,
            RunOptions(**options),
            patience=patience,
            announce=announce,
            space=study.identity.space,
            checkpoints=study.checkpoints.address,
            logs=study.logs,
        )
    finally:
        study.close()


def test_a_suspended_worker_is_reclaimed(tmp_path: Path) -> None:
    def suspended(trials: Any) -> None:
        for trial in trials.attach(build):
            for _ in trial.range():
                trial.state.weights[0] += trial["lr"]
            if trial.number == 0 and trial.record.losses == 0:
                os.kill(os.getpid(), signal.SIGSTOP)
            trial.report(score=trial.state.weights[0])

    study = make_study(tmp_path)
    outcome = run_with(study, study.owner.execute, suspended, workers=1, patience=Patience(suspended=0.3))
    assert outcome.lost == 1
    assert "was suspended" in (study.trials()[0].error or "")


def test_a_dead_workers_result_counts_but_its_request_for_a_trial_does_not(tmp_path: Path) -> None:
    study = make_study(tmp_path, algorithm=ph.PBT(population=2, interval=4), budget=ph.Budget(steps=4))

    def dying(trials: Any) -> None:
        passed = []

        def die_after_telling(point: str) -> None:
            passed.append(point)
            if passed.count("channel.send.after") == 2:
                os.kill(os.getpid(), signal.SIGKILL)

        first = os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-first" and not (tmp_path / "begun").exists()
        if first:
            with armed(die_after_telling):
                for trial in trials.attach(build):
                    (tmp_path / "begins").write_text(str(os.getpid()))
                    (tmp_path / "begins").rename(tmp_path / "begun")
                    wait_for(tmp_path / "busy")
                    for _ in trial.range():
                        trial.state.weights[0] += trial["lr"]
                    trial.report(score=trial.state.weights[0])
        else:
            wait_for(tmp_path / "begun")
            train(trials)

    def slow_execute(commands: Sequence[Command]) -> Sequence[Reply]:
        # the owner is busy with the second worker while the first one tells, asks and dies
        if (tmp_path / "begun").exists() and any(isinstance(command, Ask) for command in commands):
            (tmp_path / "busy").touch()
            wait_for_death(int((tmp_path / "begun").read_text()))
        return study.owner.execute(commands)

    outcome = run_with(study, slow_execute, dying, workers=2, devices=["GPU-first", "GPU-second"])
    assert outcome.lost == 1
    assert [(trial.state, trial.attempts, trial.losses) for trial in study.trials()] == [
        (TrialState.COMPLETED, 1, 0),
        (TrialState.COMPLETED, 1, 0),
    ]
    assert study.trials()[0].worker == "worker-0"


def wait_for_death(pid: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return
        except psutil.NoSuchProcess:
            return
        time.sleep(0.005)


def test_a_worker_asked_to_end_hands_its_trial_back_and_is_replaced(tmp_path: Path) -> None:
    def asked(trials: Any) -> None:
        for trial in trials.attach(build):
            for step in trial.range():
                trial.state.weights[0] += trial["lr"]
                if trial.number == 0 and step == 1:
                    os.kill(os.getpid(), signal.SIGTERM)
            trial.report(score=trial.state.weights[0])

    study = make_study(tmp_path)
    study.run(asked, workers=1, verbose=0)
    trials = study.trials()
    assert (trials[0].state, trials[0].steps_done) == (TrialState.PARTIAL, 2)
    assert all(trial.losses == 0 and trial.failures == 0 for trial in trials)
    resumed = next(trial for trial in trials if trial.parent == 0)
    assert (resumed.decision.kind, resumed.steps_done) == ("resume", 2)
    assert sum(trial.steps_done or 0 for trial in trials) == 36


@pytest.mark.parametrize("then", [signal.SIGTERM, signal.SIGKILL])
def test_a_worker_that_ignores_the_request_to_end_is_lost_only_if_it_is_killed(tmp_path: Path, then: int) -> None:
    def deaf(trials: Any) -> None:
        for trial in trials.attach(build):
            (tmp_path / f"begun-{trial.number}-{trial.record.attempts}").write_text(str(os.getpid()))
            if (trial.number, trial.record.attempts) == (1, 1):
                time.sleep(60)
            trial.state.weights[0] += trial["lr"]
            trial.report(score=trial.state.weights[0])

    def end() -> None:
        begun = tmp_path / "begun-1-1"
        wait_for(begun)
        time.sleep(0.2)
        pid = int(begun.read_text())
        os.kill(pid, signal.SIGTERM)
        time.sleep(0.1)
        os.kill(pid, then)

    study = make_study(tmp_path)
    machine = threading.Thread(target=end)
    machine.start()
    study.run(deaf, workers=1, verbose=0)
    machine.join()
    trials = study.trials()
    assert [trial.attempts for trial in trials[:3]] == [1, 2, 1]
    assert [trial.losses for trial in trials[:3]] == [0, int(then == signal.SIGKILL), 0]
    assert all(trial.failures == 0 for trial in trials)
    assert study.finished


def test_a_grant_on_its_way_to_a_worker_asked_to_end_counts_as_no_loss_or_failure(tmp_path: Path) -> None:
    def asked(trials: Any) -> None:
        passed = []

        def end_before_the_grant_is_seen(point: str) -> None:
            passed.append(point)
            if passed.count("channel.receive.after") == 2 and point == "channel.receive.after":
                (tmp_path / "asked").touch()
                os.kill(os.getpid(), signal.SIGTERM)

        if (tmp_path / "asked").exists():
            train(trials)
        else:
            with armed(end_before_the_grant_is_seen):
                train(trials)

    study = make_study(tmp_path)
    study.run(asked, workers=1, verbose=0)
    assert (tmp_path / "asked").exists()
    assert max(trial.attempts for trial in study.trials()) == 2
    assert all((trial.losses, trial.failures) == (0, 0) for trial in study.trials())


def test_a_waiting_worker_asked_to_end_does_so_at_once(tmp_path: Path) -> None:
    def waiting(trials: Any) -> None:
        (tmp_path / f"pid-{os.getpid()}").touch()
        for trial in trials.attach(build):
            (tmp_path / f"busy-{os.getpid()}").touch()
            for step in trial.range():
                trial.state.weights[0] += trial["lr"]
                if trial.generation == 0 and step == 0:
                    end_the_other()
            trial.report(score=trial.state.weights[0])

    def end_the_other() -> None:
        # with one member the other worker has nothing to do but wait
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            pids = {path.name[4:] for path in tmp_path.glob("pid-*")}
            idle = pids - {path.name[5:] for path in tmp_path.glob("busy-*")}
            if idle:
                break
            time.sleep(0.01)
        time.sleep(0.3)
        (other,) = idle
        os.kill(int(other), signal.SIGTERM)
        psutil.Process(int(other)).wait(20)
        (tmp_path / "ended").touch()

    study = make_study(tmp_path, algorithm=ph.PBT(population=1, interval=4), budget=ph.Budget(steps=4))
    study.run(waiting, workers=2, verbose=0)
    assert (tmp_path / "ended").exists()
    assert [trial.state for trial in study.trials()] == [TrialState.COMPLETED]
    assert study.trials()[0].losses == 0


@pytest.mark.parametrize(
    ("raised", "same"),
    [("RuntimeError('broken')", [True, False]), ("MemoryError()", [False]), ("RuntimeError('CUDA error: x')", [False])],
)
def test_a_process_is_not_trusted_after_errors_that_may_stay_in_it(
    tmp_path: Path, raised: str, same: list[bool]
) -> None:
    """Every attempt except the last raises; ``same`` says whether the next one runs in the same process."""

    def raising(trials: Any) -> None:
        for trial in trials.attach(build):
            with (tmp_path / "pids").open("a") as file:
                file.write(f"{os.getpid()}\n")
            if trial.record.failures < len(same):
                raise eval(raised)
            for _ in trial.range():
                trial.state.weights[0] += trial["lr"]
            trial.report(score=trial.state.weights[0])

    algorithm = ph.PBT(population=1, interval=4)
    study = make_study(tmp_path, algorithm=algorithm, budget=ph.Budget(steps=4), max_failures=5)
    outcome = run_with(study, study.owner.execute, raising, workers=1)
    pids = (tmp_path / "pids").read_text().split()
    assert [before == after for before, after in pairwise(pids)] == same
    assert outcome.lost == 0
    (trial,) = study.trials()
    assert (trial.state, trial.failures, trial.losses) == (TrialState.COMPLETED, len(same), 0)


def test_a_worker_sends_heartbeats_while_its_code_is_busy(tmp_path: Path) -> None:
    heard, asked = tmp_path / "heard", tmp_path / "asked"

    def busy(trials: Any) -> None:
        for trial in trials.attach(build):
            asked.touch()
            deadline = time.monotonic() + 5
            # the code makes no call on the trial meanwhile
            while not heard.exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            (tmp_path / ("before" if heard.exists() else "never")).touch()
            for _ in trial.range():
                trial.state.weights[0] += trial["lr"]
            trial.report(score=trial.state.weights[0])

    def listening(commands: Sequence[Command]) -> Sequence[Reply]:
        if asked.exists() and any(isinstance(command, Heartbeat) for command in commands):
            heard.touch()
        return study.owner.execute(commands)

    algorithm = ph.PBT(population=1, interval=4)
    study = make_study(tmp_path, algorithm=algorithm, budget=ph.Budget(steps=4))
    run_with(study, listening, busy, workers=1, patience=Patience(beat=0.05))
    assert (tmp_path / "before").exists()
    assert not (tmp_path / "never").exists()
