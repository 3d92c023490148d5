"""However the owner ends, no process of its workers outlives it, and the study can be resumed at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

import phyletic as ph
from phyletic.coordinator.messages import Ask, Granted, Join
from phyletic.records import TrialState
from phyletic.workers.process_tree import creation_time

SCRIPT = """
import multiprocessing, os, pathlib, subprocess, sys, time
import psutil
import phyletic as ph

folder = pathlib.Path(sys.argv[1])
slow, population = float(sys.argv[2]), int(sys.argv[3])
stubborn = "stubborn" in sys.argv

def start_processes():
    subprocess.Popen(["sleep", "600"])
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    if os.fork() == 0:
        time.sleep(600)

class Samples:
    def __len__(self):
        return 100

    def __getitem__(self, index):
        if index > 0:
            time.sleep(600)  # prefetching from a disk that does not answer
        return float(index)

def start_loader():
    from torch.utils.data import DataLoader

    batches = iter(DataLoader(Samples(), batch_size=1, num_workers=1, persistent_workers=True))
    next(batches)
    return batches

def serve(environment, held_by_the_parent):
    held_by_the_parent.close()
    while True:
        word = environment.recv()
        if word == "step":
            time.sleep(600)
        environment.send(word)

def start_environments():
    ends = []
    for method, last_word in (("forkserver", "reset"), ("fork", "step")):
        context = multiprocessing.get_context(method)
        ours, theirs = context.Pipe()
        context.Process(target=serve, args=(theirs, ours), daemon=True).start()
        theirs.close()
        ours.send("reset")
        assert ours.recv() == "reset"
        if last_word == "step":
            ours.send("step")  # one is in the middle of a step; the other one waits for the next
        ends.append(ours)
    return ends

def build(trial):
    return {"weights": [0.0]}

def train(trials):
    start = {"loader": start_loader, "environments": start_environments}.get(sys.argv[-1], start_processes)
    held = start()
    tree = [os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))]
    (folder / f"tree-{os.getpid()}.part").write_text(" ".join(map(str, tree)))
    (folder / f"tree-{os.getpid()}.part").rename(folder / f"tree-{os.getpid()}")
    for trial in trials.attach(build):
        (folder / f"began-{trial.number}").touch()
        for step in range(trial.start_step, trial.start_step + trial.steps) if stubborn else trial.range():
            trial.state.weights[0] += trial["lr"]
            time.sleep(slow)
        trial.report(score=trial.state.weights[0])

if __name__ == "__main__":
    study = ph.Study("toy", space={"lr": ph.Float(1e-3, 1e-1, log=True)}, metric="score", mode="max", seed=0,
                     algorithm=ph.PBT(population=population, interval=5), budget=ph.Budget(steps=10),
                     storage=folder / "toy.db")
    study.run(train, workers=2, verbose=1, grace=2.0, on_signal="return")
    print("returned", flush=True)
"""


class Owner:
    """A process that runs a study in two workers."""

    def __init__(self, folder: Path, slow: float, population: int, *words: str) -> None:
        self.folder = folder
        (folder / "owner.py").write_text(SCRIPT)
        command = [sys.executable, str(folder / "owner.py"), str(folder), str(slow), str(population), *words]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )

    def wait_for(self, pattern: str, count: int) -> None:
        deadline = time.monotonic() + 30
        while len(list(self.folder.glob(pattern))) < count:
            assert time.monotonic() < deadline, self.process.stdout and self.process.stdout.read()
            time.sleep(0.01)

    def trees(self) -> list[int]:
        return [int(pid) for path in self.folder.glob("tree-*[0-9]") for pid in path.read_text().split()]

    def workers(self) -> list[int]:
        return [int(path.name[5:]) for path in self.folder.glob("tree-*[0-9]")]

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def wait(self) -> str:
        return self.process.communicate(timeout=60)[0]


Start = Callable[..., Owner]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def start(*, slow: float = 0.0, population: int = 2, words: tuple[str, ...] = ()) -> Owner:
            owner = Owner(tmp_path, slow, population, *words)
            stack.callback(_clean, owner)
            return owner

        yield start


def _clean(owner: Owner) -> None:
    owner.process.kill()
    owner.process.communicate()
    for pid in owner.trees():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def alive(pids: list[int], seconds: float = 10.0) -> list[int]:
    """Return the processes that still run after they had time to end."""
    deadline = time.monotonic() + seconds
    while True:
        left = [pid for pid in pids if _alive(pid)]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.01)


def _alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def reopen(folder: Path) -> ph.Study:
    return ph.Study("toy", storage=folder / "toy.db")


def build(trial: ph.LiveTrial) -> dict[str, list[float]]:
    return {"weights": [0.0]}


def finish(study: ph.Study) -> None:
    for trial in study.attach(build):
        for _ in trial.range():
            trial.state.weights[0] += trial["lr"]
        trial.report(score=trial.state.weights[0])


@pytest.mark.parametrize(("children", "count"), [("processes", 3), ("loader", 1), ("environments", 4)])
@pytest.mark.parametrize("suspended", [False, True])
def test_no_process_outlives_a_killed_owner(
    start: Start, tmp_path: Path, suspended: bool, children: str, count: int
) -> None:
    """The children are started by training code, by a DataLoader, or as environments behind pipes."""
    owner = start(slow=60.0, words=(children,))
    owner.wait_for("began-*", 2)
    trees = owner.trees()
    assert len(trees) == 2 * (1 + count)
    if suspended:
        for worker in owner.workers():
            os.kill(worker, signal.SIGSTOP)
    reapers = [child.pid for child in psutil.Process(owner.process.pid).children() if "reaper" in str(child.cmdline())]
    assert len(reapers) == 1
    owner.signal(signal.SIGKILL)
    assert alive(trees) == []
    assert alive(reapers) == []
    study = reopen(tmp_path)
    finish(study)
    assert [trial.state for trial in study.trials()] == [TrialState.COMPLETED] * 4
    assert all(trial.losses == 0 and trial.failures == 0 for trial in study.trials())


def test_workers_end_with_their_owner_even_without_the_reaper(start: Start) -> None:
    owner = start(slow=60.0)
    owner.wait_for("began-*", 2)
    for child in psutil.Process(owner.process.pid).children():
        if "reaper" in str(child.cmdline()):
            child.kill()
    owner.signal(signal.SIGKILL)
    assert alive(owner.workers()) == []


def test_the_first_interrupt_lets_running_trials_finish(start: Start, tmp_path: Path) -> None:
    owner = start(slow=0.1)
    owner.wait_for("began-*", 2)
    owner.signal(signal.SIGINT)
    output = owner.wait()
    assert "finishing 2 running trials; press Ctrl-C again to stop now" in output
    assert "returned" in output
    assert owner.process.returncode == 0
    assert alive(owner.trees()) == []
    trials = reopen(tmp_path).trials()
    completed = [trial for trial in trials if trial.state is TrialState.COMPLETED]
    assert [(trial.number, trial.steps_done) for trial in completed] == [(0, 5), (1, 5)]
    assert not [trial for trial in trials if trial.attempts > 0 and trial not in completed]


def test_the_second_interrupt_stops_now(start: Start, tmp_path: Path) -> None:
    owner = start(slow=60.0)
    owner.wait_for("began-*", 2)
    owner.signal(signal.SIGINT)
    assert owner.process.stdout is not None
    assert any("finishing 2" in line for line in owner.process.stdout)
    owner.signal(signal.SIGINT)
    assert "returned" in owner.wait()
    assert alive(owner.trees()) == []
    trials = reopen(tmp_path).trials()
    assert [(trial.state, trial.losses, trial.failures) for trial in trials] == [(TrialState.WAITING, 0, 0)] * 2


def test_a_terminated_owner_has_running_trials_handed_back(start: Start, tmp_path: Path) -> None:
    owner = start(slow=0.3)
    owner.wait_for("began-*", 2)
    time.sleep(0.5)
    owner.signal(signal.SIGTERM)
    output = owner.wait()
    assert "SIGTERM: 2 running trials to hand back within 2 s" in output
    assert alive(owner.trees()) == []
    study = reopen(tmp_path)
    begun = [trial for trial in study.trials() if trial.attempts > 0]
    assert [(trial.state, trial.losses) for trial in begun] == [(TrialState.PARTIAL, 0)] * 2
    assert all(0 < (trial.steps_done or 0) < 5 for trial in begun)


def test_a_terminated_owner_kills_workers_that_do_not_hand_back_in_time(start: Start, tmp_path: Path) -> None:
    owner = start(slow=60.0, words=("stubborn",))
    owner.wait_for("began-*", 2)
    owner.signal(signal.SIGTERM)
    assert "returned" in owner.wait()
    assert alive(owner.trees()) == []
    trials = reopen(tmp_path).trials()
    assert [(trial.state, trial.losses) for trial in trials] == [(TrialState.WAITING, 0)] * 2


@pytest.fixture
def sleepers() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start three processes that lead their own process groups, as workers do; suspend the last one."""
    processes = [subprocess.Popen(["sleep", "600"], start_new_session=True) for _ in range(3)]
    os.kill(processes[2].pid, signal.SIGSTOP)
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def test_a_new_owner_kills_recorded_workers_that_still_run(
    tmp_path: Path, sleepers: list[subprocess.Popen[bytes]]
) -> None:
    """Workers survive like this only if the lifeline and the reaper were killed with the owner."""
    stranger, *survivors = sleepers
    settings = {"space": {"lr": ph.Float(1e-3, 1e-1)}, "metric": "score", "mode": "max", "seed": 0}
    study = ph.Study("toy", storage=tmp_path / "toy.db", algorithm=ph.PBT(population=2, interval=5), **settings)
    for number, process in enumerate(sleepers):
        created = creation_time(process.pid)
        assert created is not None
        # another process, created later, may have the pid of a worker that died
        created -= 60.0 * (process is stranger)
        session = f"{number}" * 32
        join = Join(session=session, worker=f"worker-{number}", pid=process.pid, created=created)
        grant = study.owner.execute([join, Ask(session=session)])[1]
        assert isinstance(grant, Granted) is (number < 2)
    study.close()
    study = reopen(tmp_path)
    assert [process.poll() for process in sleepers] == [None] * 3  # opening a study without owning it kills no process
    assert study.owner.state.sessions == {}
    assert [process.wait(10) for process in survivors] == [-signal.SIGKILL] * 2
    assert stranger.poll() is None
    assert {trial.state for trial in study.trials()} == {TrialState.WAITING}
    study.close()
