"""What opening, showing and asking about a study of many trials cost.

    python benchmarks/million.py

A study of 1,000 members plays three generations by asks and tells; the other rows, up to a million trials, are copies
of its last generation that a bulk insert writes behind them, a fifth of them with another member's trial as parent.
Measured are wall seconds after imports, in a process that has not read the file before, and the statements of opening.
"""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from conditions import conditions, parser, show, work_folder

import phyletic as ph

MEMBERS = 1_000
READS = ("open", "show", "best", "lineage", "schedule")

SCRIPT = """
import contextlib, io, json, pathlib, sys, time
import sqlalchemy, sqlalchemy.dialects.sqlite
import phyletic as ph, numpy
import phyletic.cli.status, phyletic.study.schedule, phyletic.storage.sqlite_database
from phyletic.cli import main

what, path = sys.argv[1:]
statements = 0


def count(connection, cursor, statement, *rest):
    global statements
    statements += not statement.startswith(("PRAGMA", "BEGIN", "COMMIT"))


sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", count)
began = time.perf_counter()
if what == "show":
    with contextlib.redirect_stdout(io.StringIO()):
        main(["show", "million", "--storage", path], standalone_mode=False)
else:
    study = ph.Study("million", storage=path)
    {"open": study.pause, "best": lambda: study.best, "lineage": study.lineage, "schedule": study.schedule}[what]()
seconds = time.perf_counter() - began
peak = int(pathlib.Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
print(json.dumps({"seconds": seconds, "statements": statements, "MiB": peak}))
"""


def played(path: Path) -> None:
    """Play three generations of the study."""
    study = ph.Study(
        "million",
        space={"lr": ph.Float(1e-4, 1e-1, log=True), "units": ph.Int(8, 256, log=True)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(MEMBERS, 10),
        storage=path,
        seed=0,
    )
    chance = random.Random(0)
    with study:
        for _ in range(3):
            trials = study.ask(count=MEMBERS)
            study.tell(trials, [{"score": chance.random()} for _ in trials])


def copied(path: Path, trials: int) -> None:
    """Write copies of the last generation behind it until there are so many trials."""
    chance = random.Random(1)
    database = sqlite3.connect(path)
    database.row_factory = sqlite3.Row
    done = database.execute("SELECT max(number) + 1 FROM trial").fetchone()[0]
    (sequence,) = database.execute("SELECT sequence FROM study").fetchone()
    rows = [dict(row) for row in database.execute("SELECT * FROM trial ORDER BY number DESC LIMIT ?", (MEMBERS,))]
    rows.sort(key=lambda row: row["member"])
    generations = (trials - done) // MEMBERS
    insert = f"INSERT INTO trial ({','.join(rows[0])}) VALUES ({','.join(':' + name for name in rows[0])})"
    for _ in range(generations):
        before = [row["number"] for row in rows]
        for member, row in enumerate(rows):
            own = before[member]
            sequence += 1
            row |= {
                "number": done + member,
                "parent": own if chance.random() < 0.8 else chance.choice(before),
                "generation": row["generation"] + 1,
                "start_step": row["end_step"],
                "end_step": row["end_step"] + 10,
                "score": chance.random(),
                "decided": sequence,
                "ended": sequence,
            }
        database.executemany(insert, rows)
        done += MEMBERS
    best = max(rows, key=lambda row: row["score"])["number"]
    for row in rows:
        database.execute(
            "UPDATE member SET generation = ?, latest = ?, head = ?, tip = ?, kept_first = ?, kept_second = NULL, "
            "kept_third = NULL WHERE member = ?",
            (row["generation"], row["number"], row["number"], row["number"], row["number"], row["member"]),
        )
    database.execute(
        "UPDATE study SET next_trial = ?, completed = ?, sequence = ?, best = ?",
        (done, done, sequence, json.dumps([best])),
    )
    database.commit()
    database.close()


def measured(path: Path, what: str, rounds: int) -> dict[str, Any]:
    """Return the figures of one read, each in a process of its own."""
    found = []
    for _ in range(rounds):
        ended = subprocess.run([sys.executable, "-c", SCRIPT, what, str(path)], capture_output=True, text=True)
        if ended.returncode:
            raise SystemExit(ended.stderr)
        found.append(json.loads(ended.stdout.splitlines()[-1]))
    found.sort(key=lambda one: one["seconds"])
    return found[len(found) // 2]


def main() -> None:
    """Measure and print."""
    arguments = parser(__doc__)
    arguments.add_argument("--trials", type=int, default=1_000_000, help="trials of the study")
    arguments.add_argument("--rounds", type=int, default=3, help="processes of each read; the median is printed")
    given = arguments.parse_args()
    with work_folder(given.folder) as folder:
        path = folder / "million.db"
        played(path)
        copied(path, given.trials)
        rows = [{"read": what, **measured(path, what, given.rounds)} for what in READS]
        show(f"{given.trials:,} trials of {MEMBERS:,} members", rows, conditions(folder), as_json=given.json)


if __name__ == "__main__":
    main()
