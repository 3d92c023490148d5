"""What a trial costs beside its training, in this process and with local workers.

    python benchmarks/fixed_cost.py

The training function does nothing but report a score, and its state is one small array; so what is left is the ask, the
load or the continuation, the checkpoint and the tell. "trial" is the time from the first completed trial to the last,
divided by the trials between them; "processor" is this process's alone. Each run is a process of its own and a study of
its own, on a SQLite file.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from conditions import conditions, parser, quartiles, show, work_folder

import phyletic as ph


def build(trial: ph.LiveTrial) -> dict[str, Any]:
    return {"weights": np.zeros(8)}


def train(study: Any) -> None:
    for trial in study.attach(build):
        for _ in trial.range():
            pass
        trial.report(score=trial["x"])


def once(storage: str, trials: int, workers: int) -> None:
    study = ph.Study(
        "fixed",
        space={"x": ph.Float(0.1, 10.0, log=True)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(population=8, interval=1),
        budget=ph.Budget(trials=trials),
        storage=storage,
        seed=0,
    )
    cpu = time.process_time()
    study.run(train, workers=workers, verbose=0)
    cpu = time.process_time() - cpu
    ended = sorted(trial.finished for trial in study.trials() if trial.finished is not None)
    seconds = (ended[-1] - ended[0]) / (len(ended) - 1)
    print(json.dumps({"trial": seconds * 1e3, "processor": cpu / len(ended) * 1e3}))


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--trials", type=int, default=400)
    arguments.add_argument("--once", nargs=2, metavar=("FILE", "WORKERS"), help="run it once")
    given = arguments.parse_args()
    if given.once:
        once(given.once[0], given.trials, int(given.once[1]))
        return
    rows = []
    with work_folder(given.folder) as folder:
        for workers in (0, 2):
            runs = []
            for number in range(given.rounds):
                file = str(folder / f"{workers}-{number}.db")
                command = [sys.executable, str(Path(__file__)), "--trials", str(given.trials)]
                command += ["--once", file, str(workers)]
                runs.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
            for name in ("trial", "processor"):
                low, middle, high = quartiles([run[name] for run in runs])
                rows.append(
                    {"workers": workers, "": f"{name} (ms)", "median": middle, "quartiles": f"{low:.3f}-{high:.3f}"}
                )
        show("fixed cost of a trial", rows, conditions(folder), as_json=given.json)


if __name__ == "__main__":
    main()
