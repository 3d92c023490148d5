"""How many trials a second can be asked for and told, and whether that stays so as the history grows.

    python benchmarks/ask_tell.py

For each population, a study in memory and one on a SQLite file grow to 100, 10,000 and 100,000 trials (filled in large
batches, which is not measured, and takes a minute for the largest; --sizes asks for less). At each size pairs are
measured: "separate" is ``study.ask()`` and then ``study.tell()``, two transactions; "fused" is a tell and the next ask
in one transaction, as the loop over trials does it. "bare" is two committed statements with the standard library's
sqlite3 under the same pragmas on the same disk (the ask unsynced, the tell synced), measured in turns with the others.

Beside each rate stands the processor's time of a pair, which depends little on what else the machine does.
"""

from __future__ import annotations

import random
import secrets
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conditions import conditions, fsync_seconds, parser, quartiles, show, work_folder

import phyletic as ph
from phyletic.coordinator.messages import Ask, Grant, Tell
from phyletic.records import Evaluation

BLOCKS, PAIRS = 10, 50
SMALL = 32


class Bare:
    """The least that a program does which keeps an ask and a tell in a database."""

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("CREATE TABLE trial (number INTEGER PRIMARY KEY, state TEXT, score REAL)")
        self._number = 0

    def pair(self) -> None:
        """Insert a row and commit, then update it and commit durably."""
        run = self._connection.execute
        self._number += 1
        run("PRAGMA synchronous=NORMAL")
        run("BEGIN IMMEDIATE")
        run("INSERT INTO trial VALUES (?, 'running', NULL)", (self._number,))
        run("COMMIT")
        run("PRAGMA synchronous=FULL")
        run("BEGIN IMMEDIATE")
        run("UPDATE trial SET state = 'completed', score = ? WHERE number = ?", (0.5, self._number))
        run("COMMIT")


class Asked:
    """A study that is asked and told."""

    def __init__(self, storage: Path | None, population: int) -> None:
        self.study = ph.Study(
            "study",
            space={"lr": ph.Float(1e-4, 1e-1, log=True), "units": ph.Int(8, 256, log=True)},
            metric="score",
            mode="max",
            algorithm=ph.PBT(population, 10),
            storage=storage,
            seed=0,
        )
        self.population = population
        self._random = random.Random(0)
        self._session = secrets.token_hex(16)
        self._granted: Grant | None = None

    def fill(self, trials: int) -> None:
        """Run trials in batches until there are so many; all but the latest in a small population, which is faster."""
        settled = trials - 3 * self.population
        if self.population > SMALL and settled > self.study.owner.state.counters.next_trial:
            self.study.resize(SMALL)
            self._fill(settled, SMALL)
            self.study.resize(self.population)
        self._fill(trials, self.population)

    def _fill(self, trials: int, batch_size: int) -> None:
        told = self.study.owner.state.counters.next_trial
        while told < trials:
            batch = self.study.ask(count=min(batch_size, trials - told))
            self.study.tell(batch, [{"score": self._random.random()} for _ in batch])
            told += len(batch)

    def separate(self) -> None:
        """Ask, then tell."""
        self.study.tell(self.study.ask(), score=self._random.random())

    def fused(self) -> None:
        """Tell, and ask for the next in the same transaction."""
        ask = Ask(session=self._session)
        if self._granted is None:
            self._granted = self.study.owner.execute([ask])[0].first  # type: ignore[union-attr]
        assert isinstance(self._granted, Grant)
        trial = self._granted.trial
        evaluation = Evaluation(step=trial.start_step + 10, metric="score", value=self._random.random())
        tell = Tell(lease=self._granted.lease, evaluations=(evaluation,), steps_done=10)
        self._granted = self.study.owner.execute([tell, ask])[1].first  # type: ignore[union-attr]

    def settle(self) -> None:
        """End the trial that the fused pairs hold."""
        if self._granted is not None:
            trial = self._granted.trial
            evaluation = Evaluation(step=trial.start_step + 10, metric="score", value=0.0)
            self.study.owner.execute([Tell(lease=self._granted.lease, evaluations=(evaluation,), steps_done=10)])
            self._granted = None


def alternate(
    actions: dict[str, Callable[[], None]], blocks: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Return the pairs per second of each action in each of several blocks, and the processor's ms for a pair."""
    rates: dict[str, list[float]] = {name: [] for name in actions}
    busy: dict[str, list[float]] = {name: [] for name in actions}
    for block in range(blocks + 1):
        for name, action in actions.items():
            start, cpu = time.perf_counter(), time.process_time()
            for _ in range(PAIRS):
                action()
            if block:
                rates[name].append(PAIRS / (time.perf_counter() - start))
                busy[name].append((time.process_time() - cpu) / PAIRS * 1e3)
    return rates, busy


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--sizes", type=int, nargs="+", default=[100, 10_000, 100_000])
    arguments.add_argument("--populations", type=int, nargs="+", default=[32, 1000])
    given = arguments.parse_args()
    rows: list[dict[str, Any]] = []
    with work_folder(given.folder) as folder:
        for population in given.populations:
            bare = Bare(str(folder / f"bare-{population}.db"))
            for place, storage in (("file", folder / f"{population}.db"), ("memory", None)):
                asked = Asked(storage, population)
                for size in given.sizes:
                    asked.fill(size)
                    actions = {"separate": asked.separate, "fused": asked.fused}
                    if place == "file":
                        actions["bare"] = bare.pair
                    rates, busy = alternate(actions, BLOCKS)
                    asked.settle()
                    row: dict[str, Any] = {"population": population, "storage": place, "trials": size}
                    for name in ("separate", "fused", "bare"):
                        low, middle, high = quartiles(rates[name]) if name in rates else (0.0, 0.0, 0.0)
                        row[f"{name}/s"] = round(middle) if middle else ""
                        row[f"{name} quartiles"] = f"{low:.0f}-{high:.0f}" if middle else ""
                        row[f"{name} ms"] = round(quartiles(busy[name])[1], 3) if middle else ""
                    row["fsync ms"] = round(fsync_seconds(folder) * 1e3, 3)
                    rows.append(row)
                asked.study.close()
        show("pairs of ask and tell per second", rows, conditions(folder), as_json=given.json)


if __name__ == "__main__":
    main()
