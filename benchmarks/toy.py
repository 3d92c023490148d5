"""What a study costs beside training that costs nothing: the toy of figure 2, two members, 100 steps, interval 4.

    python benchmarks/toy.py

Synchronous, in one process, on a SQLite file; 50 trials. "study" is from creating the study to its last trial,
"processor" the processor's time in it, "process" from the start of Python to its end, "peak" the most memory that the
process held. Each run is a process of its own. "bare fsyncs" is what as many fsyncs as the study makes take on this
disk at that moment.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

from conditions import conditions, fsync_seconds, parser, quartiles, show, work_folder


def once(storage: str) -> None:
    begun = time.perf_counter()
    import phyletic as ph
    from phyletic import failpoints
    from phyletic.problems import quadratic

    _ = ph.Study, ph.PBT, ph.Budget  # imported when first used
    imported, cpu = time.perf_counter(), time.process_time()
    study = ph.Study(
        "toy",
        space=quadratic.SPACE,
        initial=quadratic.INITIAL,
        metric="objective",
        mode="max",
        algorithm=ph.PBT(2, quadratic.INTERVAL, synchronous=True),
        budget=ph.Budget(steps=100),
        storage=storage,
        seed=0,
    )
    fsyncs = 0

    def count(name: str) -> None:
        nonlocal fsyncs
        fsyncs += name in ("disk.fsync.after", "disk.fsync_folder.after", "storage.commit.after")

    with failpoints.armed(count):
        quadratic.train(study)
    ended, cpu = time.perf_counter(), time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(
        json.dumps(
            {
                "import": imported - begun,
                "study": ended - imported,
                "processor": cpu,
                "peak": peak / 1e6,
                "fsyncs": fsyncs,
                "trials": len(study.trials()),
            }
        )
    )


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=9)
    arguments.add_argument("--once", help="run it once on this file")
    given = arguments.parse_args()
    if given.once:
        once(given.once)
        return
    with work_folder(given.folder) as folder:
        runs, bare = [], []
        for number in range(given.rounds):
            start = time.perf_counter()
            command = [sys.executable, str(Path(__file__)), "--once", str(folder / f"{number}.db")]
            run = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            run["process"] = time.perf_counter() - start
            runs.append(run)
            bare.append(fsync_seconds(folder, 20) * run["fsyncs"])
        rows = []
        for name, unit in (("study", "s"), ("processor", "s"), ("process", "s"), ("import", "s"), ("peak", "MB")):
            low, middle, high = quartiles([run[name] for run in runs])
            rows.append({"": f"{name} ({unit})", "median": middle, "first quartile": low, "third quartile": high})
        low, middle, high = quartiles(bare)
        rows.append(
            {
                "": f"{runs[0]['fsyncs']} bare fsyncs (s)",
                "median": middle,
                "first quartile": low,
                "third quartile": high,
            }
        )
        show(f"toy: {runs[0]['trials']} trials", rows, conditions(folder), as_json=given.json)


if __name__ == "__main__":
    main()
