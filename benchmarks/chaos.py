"""Kill workers and owners of real studies at random moments, reopen, and check that nothing is lost.

    python benchmarks/chaos.py --kills 1000 --seed 0

Small studies run in processes of their own: in the owner's process and in two local workers, asynchronous and
synchronous, with states in packed files and in folders. Processes are killed (SIGKILL, alone or after SIGSTOP) until so
many kills are done. Whoever trains and whoever owns writes down what was acknowledged, in a file that the database
knows nothing of; that file, the database, the checkpoints and the processes of the machine are compared after each
death of an owner and at each study's end. Prints the figures; exits with 1 if anything was lost, doubled, half-written
or left over.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

import phyletic as ph
from phyletic.coordinator.messages import Done, Tell
from phyletic.errors import CheckpointError, NotFound, StudyFailed
from phyletic.records import CheckpointState, TrialState
from phyletic.storage import reading
from phyletic.storage.store import open_store
from phyletic.testing.facts import facts

POPULATION, STEPS = 4, 30
WAYS = ("worker", "worker", "stopped worker", "owner", "owner, stopped workers", "stopped owner")
MARK = "PHYLETIC_CHAOS"
"""Environment variable by which whatever an owner started is found: its folder and the number of its incarnation."""
PATIENCE = 30.0
"""Seconds in which processes must have ended, and in which a study must go on."""


@dataclass(frozen=True)
class Plan:
    """One study: how it runs, and how it keeps its states."""

    workers: int
    synchronous: bool
    folders: bool
    seed: int

    def make(self, folder: Path) -> ph.Study:
        """Create or open the study in a folder."""
        return ph.Study(
            "chaos",
            space={"lr": ph.Float(1e-3, 1.0, log=True), "momentum": ph.Float(0.0, 1.0)},
            metric="score",
            mode="max",
            algorithm=ph.PBT(POPULATION, 1, synchronous=self.synchronous),
            budget=ph.Budget(steps=STEPS),
            storage=folder / "chaos.db",
            seed=self.seed,
            max_losses=100_000,
        )


def note(file: Path, *line: object) -> None:
    """Append a line in one write, which a kill does not tear."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        os.write(descriptor, json.dumps(line).encode() + b"\n")
    finally:
        os.close(descriptor)


def training(plan: Plan, notes: Path, forks: bool) -> Any:
    """Return a training function whose every result depends on all that was before it."""

    def build(trial: ph.LiveTrial) -> dict[str, Any]:
        return {"weights": np.zeros(4000), "steps": 0}

    def save(state: Any, folder: Path) -> None:
        np.save(folder / "weights.npy", state.weights)
        (folder / "inner").mkdir()
        (folder / "inner" / "steps").write_text(str(state.steps))

    def load(state: Any, folder: Path) -> None:
        state.weights = np.load(folder / "weights.npy")
        state.steps = int((folder / "inner" / "steps").read_text())

    def train(trials: Any) -> None:
        note(notes, "began", os.getpid())
        if forks and os.urandom(1)[0] < 128 and os.fork() == 0:
            time.sleep(600)  # a child that holds all that its parent had open
            os._exit(0)
        told: tuple[object, ...] | None = None
        options = {"save": save, "load": load} if plan.folders else {}
        for trial in trials.attach(build, **options):
            if told is not None:
                note(notes, "told", *told)  # the next trial comes with the word that the last result is kept
            state = trial.state
            if state.steps != trial.start_step:
                note(notes, "wrong", f"trial {trial.number} starts at {trial.start_step} with a state of {state.steps}")
            for _ in trial.range():
                state.weights = trial["momentum"] * state.weights + trial["lr"] * np.random.standard_normal(4000)
                state.steps += 1
                time.sleep(os.urandom(1)[0] / 256 * 0.01)
            score = float(state.weights[:10].sum())
            trial.report(score=score)
            told = (trial.number, trial.grant.lease.fence, repr(score))
        if told is not None:
            note(notes, "told", *told)

    return train


def own(folder: Path, plan: Plan) -> None:
    """Run a study to its end: the life of an owner."""
    notes = folder / "notes"
    began = time.perf_counter()
    study = plan.make(folder)
    study.source()
    study.owner.begin()
    note(notes, "opened", time.perf_counter() - began)
    for wrong in at_opening(study):
        note(notes, "wrong", wrong)

    def acknowledge(commands: Any, replies: Any) -> None:
        for command, reply in zip(commands, replies, strict=True):
            if isinstance(command, Tell) and isinstance(reply, Done):
                lease = command.lease
                note(notes, "told", lease.trial, lease.fence, repr(command.evaluations[-1].value))

    study.owner.watch(acknowledge)
    try:
        study.run(training(plan, notes, plan.workers > 0), workers=plan.workers, verbose=0)
    except StudyFailed as error:
        # workers that are killed three times in a row before they ask for a trial are given up
        if "before it asked for a trial" not in str(error):
            raise
        return
    note(notes, "finished")


def at_opening(study: ph.Study) -> list[str]:
    """Return what earlier owners and workers left that an opening must have put in order."""
    root = study.checkpoints.root
    wrong = []
    staging = root / "staging"
    if staging.is_dir():
        marks = [path for path in staging.iterdir() if path.suffix == ".owner"]
        rest = [path for path in staging.iterdir() if path.suffix != ".owner"]
        # one mark is this process's own, if it had a folder to delete
        wrong += [f"{path} was not swept" for path in (rest if len(marks) <= 1 else [*marks, *rest])]
    with open_store(study.storage).read() as connection:
        key = reading.load_study(connection, study.name).id  # type: ignore[union-attr]
        durable = {row.id for row in reading.checkpoints(connection, key, [CheckpointState.DURABLE])}
    there = names(root)
    wrong += [f"checkpoint {name} is there, and nothing needs it" for name in there - durable]
    wrong += [f"checkpoint {name} is gone" for name in durable - there]
    state = study.owner.state
    if len(state.population()) != POPULATION:
        wrong.append(f"the population is {len(state.population())}")
    kept = [trial for member in state.population() for trial in member.kept]
    kept += [opened.parent for opened in state.open.values() if opened.parent is not None]
    for trial in kept:
        try:
            study.checkpoints.verify(trial.checkpoint)  # type: ignore[arg-type]
        except CheckpointError as error:
            wrong.append(f"trial {trial.number} is needed: {error}")
    return wrong


def names(root: Path) -> set[str]:
    """Return the ids of all published checkpoints, by their files."""
    return (
        {path.name.partition(".")[0] for path in root.iterdir() if path.name != "staging"} if root.exists() else set()
    )


@dataclass
class Figures:
    """What was done and seen."""

    kills: Counter[str] = field(default_factory=Counter)
    studies: Counter[str] = field(default_factory=Counter)
    owners: int = 0
    trials: int = 0
    lost: int = 0
    acknowledged: int = 0
    verified: int = 0
    unfinished: int = 0
    opened: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Chaos:
    """Kills one study again and again, and compares.

    Args:
        folder: Where it lives.
        plan: What it is.
        quota: How many kills; then it is let run to its end.
        draw: Decides when and who.
        figures: Where the figures go.
    """

    def __init__(self, folder: Path, plan: Plan, quota: int, draw: random.Random, figures: Figures) -> None:
        self.folder, self.plan, self.left, self.draw, self.figures = folder, plan, quota, draw, figures
        self.notes = folder / "notes"
        self.incarnation = 0

    def run(self) -> None:
        """Start owners until the study is finished."""
        while True:
            owner = self.start()
            ended = self.live(owner)
            if ended is not None and ended != 0:
                self.wrong(f"the owner ended with status {ended}: {(self.folder / 'log').read_text()[-2000:]}")
                return
            if ended is not None or self.draw.random() < 0.6:
                self.wait_for_orphans(time.monotonic())  # else the study is opened while they may be there
            self.compare()
            if ["finished"] in self.said():
                self.wait_for_orphans(time.monotonic())
                self.conclude()
                return
            if self.incarnation > 10_000:
                self.wrong("it does not end")
                return

    def start(self) -> int:
        """Fork an owner; this process has one thread and no database open."""
        self.incarnation += 1
        self.figures.owners += 1
        process = os.fork()
        if process:
            return process
        status = 1
        try:
            log = os.open(self.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.environ[MARK] = f"{self.folder}:{self.incarnation}"
            own(self.folder, self.plan)
            status = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def live(self, owner: int) -> int | None:
        """Kill until the owner is dead; returns its exit status, or None where it was killed."""
        deadline = time.monotonic() + 20 * PATIENCE
        known = self.notes.stat().st_size if self.notes.exists() else 0
        if self.draw.random() < 0.7:
            # most kills shall meet an owner that is at work: it says that it opened the study, and then more
            while not self.at_work(known) and not _ended(owner) and time.monotonic() < deadline:
                time.sleep(0.005)
        while True:
            until = time.monotonic() + self.draw.uniform(0.0, 0.2) if self.left > 0 else deadline
            while time.monotonic() < until:
                if _ended(owner):
                    return os.waitstatus_to_exitcode(os.waitpid(owner, 0)[1])
                time.sleep(0.002)
            if self.left <= 0:
                self.wrong(f"the study did not end in {20 * PATIENCE:g} s")
                self.left = 1
            if self.strike(owner):
                os.waitpid(owner, 0)
                return None

    def at_work(self, known: int) -> bool:
        """Whether two things were noted since the notes had so many bytes."""
        if not self.notes.exists() or self.notes.stat().st_size == known:
            return False
        return self.notes.read_bytes()[known:].count(b"\n") > 1

    def strike(self, owner: int) -> bool:
        """Kill something; returns whether that was the owner."""
        workers = _workers(owner)
        way = self.draw.choice(
            ["worker", "worker", "stopped worker", "owner", "owner, stopped workers", "stopped owner"]
        )
        if not workers:
            way = "owner" if self.plan.workers else self.draw.choice(["owner", "stopped owner"])
        victim = owner
        with contextlib.suppress(ProcessLookupError):
            if way.endswith("stopped workers"):
                for worker in workers:
                    os.kill(worker, signal.SIGSTOP)
            elif "worker" in way:
                victim = self.draw.choice(workers)
            if way.startswith("stopped"):
                os.kill(victim, signal.SIGSTOP)
            if "stopped" in way:
                time.sleep(self.draw.uniform(0.0, 0.05))
            os.kill(victim, signal.SIGKILL)
            self.figures.kills[way + ("" if self.plan.workers else " that trains")] += 1
            self.left -= 1
        return victim == owner

    # Comparing

    def said(self) -> list[list[Any]]:
        """Return the notes."""
        if not self.notes.exists():
            return []
        return [json.loads(line) for line in self.notes.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]

    def compare(self) -> None:
        """Compare notes, database and files, while nobody writes."""
        acknowledged: dict[int, set[tuple[int, str]]] = {}
        for what, *rest in self.said():
            if what == "told":
                acknowledged.setdefault(rest[0], set()).add((rest[1], rest[2]))
        try:
            with open_store(self.folder / "chaos.db").read() as connection:
                stored = reading.load_study(connection, "chaos")
                if stored is None:
                    raise NotFound
                trials = reading.trials(connection, stored.id)
                rows = reading.checkpoints(connection, stored.id)
                evaluations = reading.evaluations(connection, stored.id)
        except NotFound:
            if acknowledged:
                self.wrong("there is no study, but results were acknowledged")
            return
        done = {trial.number: trial for trial in trials if trial.state is TrialState.COMPLETED}
        for number, said in acknowledged.items():
            if len(said) > 1:
                self.wrong(f"trial {number} was acknowledged with several results: {said}")
            kept = (done[number].attempts, repr(done[number].score)) if number in done else None
            if kept not in said:
                self.wrong(f"trial {number} was acknowledged as {said}, and is stored as {kept}")
        if [trial.number for trial in trials] != list(range(stored.counters.next_trial)):
            self.wrong(f"the trials are {[trial.number for trial in trials]}")
        if stored.counters.completed != len(done) or len(evaluations) != len(done):
            self.wrong(f"{len(done)} completed, {stored.counters.completed} counted, {len(evaluations)} evaluations")
        if stored.counters.member_steps != sum(trial.steps_done or 0 for trial in done.values()):
            self.wrong("the steps that are counted are not those that were trained")
        self.files(rows)

    def files(self, rows: Any) -> None:
        """Every durable reference verifies, and every file is known."""
        study = self.plan.make(self.folder) if (self.folder / "chaos.db").exists() else None
        assert study is not None
        for row in rows:
            if row.state is CheckpointState.DURABLE:
                try:
                    study.checkpoints.verify(row.reference)
                    self.figures.verified += 1
                except CheckpointError as error:
                    self.wrong(f"a durable checkpoint of trial {row.trial}: {error}")
        known = {row.id for row in rows if row.state is not CheckpointState.COLLECTED}
        for name in names(study.checkpoints.root) - known:
            self.wrong(f"checkpoint {name} is there, and the database does not know it or says that it is gone")
        staging = study.checkpoints.root / "staging"
        if staging.is_dir():
            self.figures.unfinished += sum(path.suffix != ".owner" for path in staging.iterdir())

    def conclude(self) -> None:
        """Compare a finished study with one that nothing interrupted."""
        study = self.plan.make(self.folder)
        trials = study.trials()
        ends = {trial.member for trial in trials if trial.end_step == STEPS and trial.state is TrialState.COMPLETED}
        if ends != set(range(POPULATION)):
            self.wrong(f"members {sorted(ends)} of {POPULATION} reached step {STEPS}")
        if any(trial.state is not TrialState.COMPLETED or trial.failures for trial in trials):
            self.wrong("a trial failed, or is open at the end")
        if self.plan.synchronous:
            whole = self.folder / "whole"
            whole.mkdir()
            reference = self.plan.make(whole)
            reference.run(training(self.plan, whole / "notes", False), workers=0, verbose=0)
            if facts(study) != facts(reference):
                self.wrong("its facts are not those of a study that nothing interrupted")
        said = self.said()
        for _, text in (line for line in said if line[0] == "wrong"):
            self.wrong(text)
        figures = self.figures
        figures.opened += [line[1] for line in said if line[0] == "opened"]
        figures.acknowledged += len({line[1] for line in said if line[0] == "told"})
        figures.trials += len(trials)
        figures.lost += sum(trial.attempts - 1 for trial in trials)
        kind = f"{'synchronous' if self.plan.synchronous else 'asynchronous'}, {self.plan.workers or 'no'} workers"
        figures.studies[f"{kind}, {'folders' if self.plan.folders else 'packed'}"] += 1

    def wait_for_orphans(self, since: float) -> None:
        """Wait until nothing runs any more that an owner of this study started."""
        while left := _marked(str(self.folder)):
            if time.monotonic() > since + PATIENCE:
                self.wrong(f"processes outlived their owner: {left}")
                for process in left:
                    process.kill()
                return
            time.sleep(0.01)
        self.figures.ended.append(time.monotonic() - since)

    def wrong(self, text: str) -> None:
        """Note a violation."""
        self.figures.wrong.append(f"{self.folder.name} ({self.plan}), owner {self.incarnation}: {text}")


def _ended(process: int) -> bool:
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _workers(owner: int) -> list[int]:
    found = []
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(owner).children():
            with contextlib.suppress(psutil.Error):
                if "phyletic.workers.process" in child.cmdline():
                    found.append(child.pid)
    return found


def _marked(folder: str) -> list[psutil.Process]:
    """Return the processes that an owner in a folder started, and theirs."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK, "").startswith(folder + ":") and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def kill(kills: int, seed: int, folder: Path) -> Figures:
    """Run studies until so many kills are done.

    Args:
        kills: How many.
        seed: Of the moments and the victims; which line they meet depends on the machine.
        folder: Where the studies live.
    """
    draw, figures, place = random.Random(seed), Figures(), 0
    quota = min(40, max(10, kills // 8))
    while (done := sum(figures.kills.values())) < kills and len(figures.wrong) < 20:
        plan = Plan(workers=(2, 2, 0)[place % 3], synchronous=place % 2 == 0, folders=place % 4 > 1, seed=seed + place)
        home = folder / f"study-{place}"
        home.mkdir()
        Chaos(home, plan, min(quota, kills - done), draw, figures).run()
        shutil.rmtree(home, ignore_errors=True)
        place += 1
    return figures


def show(figures: Figures, seconds: float) -> None:
    """Print what was done, under which conditions, and what was wrong."""
    print(f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, ")
    print(f"population {POPULATION}, {STEPS} trials per member; {seconds:.0f} s\n")
    rows: list[tuple[str, object]] = [("kills (SIGKILL)", sum(figures.kills.values()))]
    rows += [(f"  {way}", count) for way, count in sorted(figures.kills.items())]
    rows += [("studies run to their end", sum(figures.studies.values()))]
    rows += [(f"  {kind}", count) for kind, count in sorted(figures.studies.items())]
    rows += [
        ("openings of a study", figures.owners),
        ("trials completed", figures.trials),
        ("attempts that a kill ended", figures.lost),
        ("acknowledged results compared", figures.acknowledged),
        ("checkpoints compared with their digest", figures.verified),
        ("unfinished checkpoints found and swept", figures.unfinished),
        ("seconds to open, median and longest", _spread(figures.opened)),
        ("seconds until no process was left, likewise", _spread(figures.ended)),
        ("violations", len(figures.wrong)),
    ]
    for what, value in rows:
        print(f"{what:<50}{value:>16}")
    for text in figures.wrong:
        print(f"WRONG: {text}")


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.3f}, {max(values):.3f}" if values else "none"


def main() -> int:
    """Read the command line, kill, show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="how many (100)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and the victims (0)")
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="phyletic-chaos-") as folder:
        figures = kill(arguments.kills, arguments.seed, Path(folder).resolve())
    show(figures, time.monotonic() - began)
    return 1 if figures.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
