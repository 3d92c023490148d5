"""Kill workers and owners of real studies at random moments, reopen, and check that nothing is lost.

    python benchmarks/chaos.py --kills 1000 --seed 0
    python benchmarks/chaos.py --kills 200 --engine ray --store s3

Small studies run in processes of their own: in the owner's process and in two local workers, asynchronous and
synchronous, with states in packed files and in folders. Processes are killed (SIGKILL, alone or after SIGSTOP) until so
many kills are done. Whoever trains and whoever owns writes down what was acknowledged, in a file that the database
knows nothing of; that file, the database, the checkpoints and the processes of the machine are compared after each
death of an owner and at each study's end. Prints the figures; exits with 1 if anything was lost, doubled, half-written
or left over. With ``--engine ray --store s3`` the same is done to a small cluster; see ``chaos_cluster.py``.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
from chaos_figures import Figures, rows
from chaos_study import POPULATION, STEPS, Plan, compare, compare_finished, notes, own, unfinished
from conditions import conditions, parser, show, work_folder

WAYS = ("worker", "worker", "stopped worker", "owner", "owner, stopped workers", "stopped owner")
WAYS_WITHOUT_WORKERS = ("owner", "stopped owner")
KINDS = (
    *itertools.product((2, 0), (True, False), (True, False)),
    *itertools.product((2,), (True, False), (True, False)),
)
"""Of each study in turn: workers, whether it is synchronous, and whether it keeps states in folders."""
MARK = "PHYLETIC_CHAOS"
"""Environment variable by which whatever an owner started is found: its folder."""
PATIENCE = 30.0
"""Seconds in which the processes of an owner that was killed must have ended."""


class Chaos:
    """Kills one study again and again, and compares.

    Args:
        folder: Where it lives.
        plan: What it is.
        kills: How many; then it is let run to its end.
        draw: Decides when and who.
        ways: In which ways in turn, with workers.
        alone: In which ways in turn, without.
        figures: Where the figures go.
    """

    def __init__(
        self,
        folder: Path,
        plan: Plan,
        kills: int,
        *,
        draw: random.Random,
        ways: Iterator[str],
        alone: Iterator[str],
        figures: Figures,
    ) -> None:
        self.folder, self.plan, self.left, self.draw, self.figures = folder, plan, kills, draw, figures
        self.ways, self.alone = ways, alone
        self.incarnation = 0

    def run(self) -> None:
        """Start owners until the study is finished."""
        while True:
            status = self.live(self.start())
            if status:
                self.wrong(f"the owner ended with status {status}: {(self.folder / 'log').read_text()[-2000:]}")
                return
            if status is not None or self.draw.random() < 0.6:
                self.wait_for_orphans()  # else the study is opened while they may be there
            self.figures.unfinished += unfinished(self.folder, self.plan)
            wrong, verified = compare(self.folder, self.plan)
            self.wrong(*wrong)
            self.figures.verified += verified
            if ["finished"] in notes(self.folder):
                self.wait_for_orphans()
                self.conclude()
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
            os.environ[MARK] = str(self.folder)
            own(self.folder, self.plan)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def live(self, owner: int) -> int | None:
        """Kill until the owner is dead; returns its exit status, or None where it was killed."""
        deadline = time.monotonic() + 20 * PATIENCE
        known = self.said()
        if self.draw.random() < 0.7:
            # most kills shall meet an owner that is at work: it says that it opened the study, and then more
            while self.said() < known + 2 and not _ended(owner) and time.monotonic() < deadline:
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

    def strike(self, owner: int) -> bool:
        """Kill something; returns whether that was the owner."""
        workers = _workers(owner)
        if workers:
            way = next(self.ways)
        else:
            way = "owner" if self.plan.workers else next(self.alone)
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

    def said(self) -> int:
        """Return how many things were noted."""
        file = self.folder / "notes"
        return file.read_bytes().count(b"\n") if file.exists() else 0

    def wait_for_orphans(self) -> None:
        """Wait until nothing runs any more that an owner of this study started."""
        began = time.monotonic()
        while left := _marked(str(self.folder)):
            if time.monotonic() > began + PATIENCE:
                self.wrong(f"processes outlived their owner: {left}")
                for process in left:
                    process.kill()
                return
            time.sleep(0.01)
        self.figures.ended.append(time.monotonic() - began)

    def conclude(self) -> None:
        """Compare the finished study, and take its figures."""
        wrong, trials = compare_finished(self.folder, self.plan)
        self.wrong(*wrong)
        self.figures.finished(str(self.plan), notes(self.folder), trials)

    def wrong(self, *texts: str) -> None:
        """Note violations."""
        self.figures.wrong += [f"{self.folder.name} ({self.plan}), owner {self.incarnation}: {text}" for text in texts]


def _in_turn(ways: Sequence[str], draw: random.Random) -> Iterator[str]:
    """Yield each way once, in an order that is drawn, and so on."""
    while True:
        yield from draw.sample(ways, len(ways))


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
            if process.environ().get(MARK) == folder and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def kill(kills: int, seed: int, folder: Path) -> Figures:
    """Run studies until so many kills are done.

    Args:
        kills: How many.
        seed: Of the moments and the victims; which line they meet depends on the machine.
        folder: Where the studies live.
    """
    draw, figures, place, began = random.Random(seed), Figures(), 0, time.monotonic()
    ways, alone = _in_turn(WAYS, draw), _in_turn(WAYS_WITHOUT_WORKERS, draw)
    quota = min(40, max(10, kills // 8))
    while (done := sum(figures.kills.values())) < kills and len(figures.wrong) < 20:
        workers, synchronous, folders = KINDS[place % len(KINDS)]
        plan = Plan(workers=workers, synchronous=synchronous, folders=folders, seed=seed + place)
        home = folder / f"study-{place}"
        home.mkdir()
        Chaos(home, plan, min(quota, kills - done), draw=draw, ways=ways, alone=alone, figures=figures).run()
        shutil.rmtree(home, ignore_errors=True)
        place += 1
        seconds = time.monotonic() - began
        print(f"{sum(figures.kills.values())} of {kills} kills after {seconds:.0f} s", file=sys.stderr, flush=True)
    return figures


def main() -> int:
    """Read the command line, kill, show."""
    made = parser(__doc__)
    made.add_argument("--kills", type=int, default=100, help="how many (100)")
    made.add_argument("--seed", type=int, default=0, help="of the moments and the victims (0)")
    made.add_argument("--engine", choices=["local", "ray"], default="local", help="what the workers are (local)")
    made.add_argument("--store", choices=["folder", "s3"], default="folder", help="where checkpoints are (folder)")
    arguments = made.parse_args()
    if (arguments.engine == "ray") != (arguments.store == "s3"):
        made.error("--engine ray goes with --store s3")
    began = time.monotonic()
    with work_folder(arguments.folder) as folder:
        measured_in = conditions(folder)
        if arguments.engine == "ray":
            from chaos_cluster import kill_cluster

            figures = kill_cluster(arguments.kills, arguments.seed, folder.resolve())
        else:
            figures = kill(arguments.kills, arguments.seed, folder.resolve())
    title = f"Studies of {POPULATION} members, up to step {STEPS}, killed for {time.monotonic() - began:.0f} s"
    show(title, rows(figures), measured_in, as_json=arguments.json)
    for text in figures.wrong:
        print(f"WRONG: {text}", file=sys.stderr)
    return 1 if figures.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
