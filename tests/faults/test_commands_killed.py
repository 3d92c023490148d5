"""Signals reach a command, and nothing of it outlives the worker or the owner that runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import phyletic as ph
from phyletic.records import TrialState

PROGRAM = """
import json, os, signal, sys, time
from pathlib import Path

job, here = json.loads(Path(os.environ["PHYLETIC_JOB"]).read_text()), Path(sys.argv[1])
stop = []
if sys.argv[2] == "heeds":
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
elif sys.argv[2] == "ignores":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

w = float((Path(job["load_from"]) / "w").read_text()) if job["load_from"] else 0.0
step, end = job["start_step"], job["start_step"] + job["steps"]
while step < end and not stop:
    w += job["hyperparameters"]["lr"]
    step += 1
    with open(job["report"], "a") as file:
        file.write(json.dumps({"score": w, "step": step}) + "\\n")
    if step == 2:
        (here / "pids").open("a").write(f"{os.getpid()} ")
        while (here / "slow").exists() and not stop:
            time.sleep(0.02)
(Path(job["save_to"]) / "w").write_text(repr(w))
sys.exit(75 if step < end else 0)
"""

OWNER = """
import sys
import phyletic as ph
from pathlib import Path

folder = Path(sys.argv[1])
command = [sys.executable, "-I", "-S", str(folder / "program.py"), str(folder), sys.argv[3]]
study = ph.Study("study", storage=folder / "study.db")
study.run(command=command, workers=int(sys.argv[2]), verbose=0, grace=float(sys.argv[4]))
print("returned", flush=True)
"""


class Run:
    """A study whose first trial stays at step 2 of 5 as long as there is the file ``slow``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "program.py").write_text(PROGRAM)
        (folder / "slow").touch()
        self.study = ph.Study(
            "study",
            space={"lr": ph.Float(1e-3, 1e-1, log=True)},
            metric="score",
            mode="max",
            algorithm=ph.PBT(population=1, interval=5),
            budget=ph.Budget(steps=10),
            storage=folder / "study.db",
            seed=0,
        )
        self.study.close()

    def command(self, style: str) -> list[str]:
        return [sys.executable, "-I", "-S", str(self.folder / "program.py"), str(self.folder), style]

    def start(self, workers: int, style: str, grace: float = 30.0) -> subprocess.Popen[str]:
        """Run the study in a process of its own."""
        (self.folder / "owner.py").write_text(OWNER)
        arguments = [str(self.folder / "owner.py"), str(self.folder), str(workers), style, str(grace)]
        return subprocess.Popen(
            [sys.executable, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def pids(self, count: int = 1) -> list[int]:
        """Wait until so many processes of the command have trained two steps; return them."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            place = self.folder / "pids"
            found = place.read_text().split() if place.exists() else []
            if len(found) >= count:
                return [int(pid) for pid in found]
            time.sleep(0.01)
        raise AssertionError("the command did not begin")

    def finish(self) -> list[ph.Trial]:
        """Run the study to its end, and return its trials."""
        (self.folder / "slow").unlink(missing_ok=True)
        self.study.run(command=self.command("heeds"), workers=0, verbose=0)
        assert self.study.finished
        lr = float(self.study.trial(0).hyperparameters["lr"])  # type: ignore[arg-type]
        first = next(trial for trial in self.study.trials() if trial.end_step == 5)
        assert first.score == pytest.approx(5 * lr)
        return self.study.trials()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    made = Run(tmp_path)
    yield made
    made.study.close()


def is_gone(pid: int, seconds: float = 20.0) -> bool:
    """Whether a process ends within some seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.01)
    return False


def worker_of(pid: int) -> int:
    """Return the worker that runs a command's process."""
    parent = psutil.Process(pid).parent()
    assert parent is not None
    return parent.pid


def test_a_worker_that_gets_sigterm_has_its_command_hand_back(run: Run) -> None:
    owner = run.start(1, "heeds")
    (pid,) = run.pids()
    os.kill(worker_of(pid), signal.SIGTERM)
    assert is_gone(pid)
    (run.folder / "slow").unlink()
    said, _ = owner.communicate(timeout=60)
    assert said == "returned\n"
    handed, rest = run.finish()[:2]
    assert (handed.state, handed.end_step) == (TrialState.PARTIAL, 2)
    assert (rest.start_step, rest.steps, rest.decision.kind) == (2, 3, "resume")
    assert all(trial.failures == 0 and trial.losses == 0 for trial in run.study.trials())


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("style", ["heeds", "ignores", "dies"])
def test_sigterm_of_the_owner_reaches_the_command(run: Run, workers: int, style: str) -> None:
    owner = run.start(workers, style, grace=2.0 if style == "ignores" else 30.0)
    (pid,) = run.pids()
    owner.send_signal(signal.SIGTERM)
    assert is_gone(pid)
    owner.communicate(timeout=60)
    first = run.study.trial(0)
    heeded = (TrialState.PARTIAL, 2) if style == "heeds" else (TrialState.WAITING, None)
    assert (first.state, first.end_step) == heeded
    assert (first.failures, first.losses) == (0, 0)
    assert len(run.finish()) == (3 if style == "heeds" else 2)


@pytest.mark.parametrize("workers", [0, 1])
def test_stop_now_ends_the_command(run: Run, workers: int) -> None:
    found: list[int] = []

    def stop() -> None:
        found.extend(run.pids())
        run.study.stop(now=True)

    thread = threading.Thread(target=stop)
    thread.start()
    run.study.run(command=run.command("heeds"), workers=workers, verbose=0)
    thread.join()
    assert is_gone(found[0])
    # workers are killed; in this process the command is asked to hand back
    assert run.study.trial(0).state is (TrialState.WAITING if workers else TrialState.PARTIAL)
    run.finish()


def test_a_killed_worker_leaves_no_process_behind(run: Run) -> None:
    owner = run.start(1, "ignores")
    (pid,) = run.pids()
    worker = worker_of(pid)
    os.kill(worker, signal.SIGKILL)
    assert is_gone(pid)
    again = run.pids(2)[1]
    assert worker_of(again) != worker
    (run.folder / "slow").unlink()
    owner.communicate(timeout=60)
    first = run.finish()[0]
    assert (first.attempts, first.losses, first.failures) == (2, 1, 0)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("stopped", [False, True])
def test_a_killed_owner_leaves_no_process_behind(run: Run, workers: int, stopped: bool) -> None:
    owner = run.start(workers, "ignores")
    (pid,) = run.pids()
    if stopped:
        os.kill(pid, signal.SIGSTOP)
    owner.kill()
    assert is_gone(pid)
    owner.communicate(timeout=60)
    run.finish()


def test_a_second_ctrl_c_ends_the_command_in_this_process(run: Run) -> None:
    owner = run.start(0, "ignores")
    (pid,) = run.pids()
    os.killpg(owner.pid, signal.SIGINT)  # a terminal sends it to the whole group
    time.sleep(0.5)
    assert psutil.Process(pid).status() != psutil.STATUS_ZOMBIE  # once lets the running trial finish
    os.killpg(owner.pid, signal.SIGINT)
    assert is_gone(pid)
    assert "KeyboardInterrupt" in owner.communicate(timeout=60)[0]
    assert all(trial.failures == 0 for trial in run.finish())


def test_a_trial_that_takes_too_long_ends_with_its_command(run: Run) -> None:
    seen: list[int] = []

    def release() -> None:
        seen.extend(run.pids(2))
        (run.folder / "slow").unlink()

    thread = threading.Thread(target=release)
    thread.start()
    run.study.run(command=run.command("ignores"), workers=1, verbose=0, trial_timeout=3.0)
    thread.join()
    assert is_gone(seen[0])
    assert run.study.trial(0).losses >= 1
    run.finish()
