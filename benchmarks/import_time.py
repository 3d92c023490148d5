"""How long ``import phyletic`` takes, beside Python's own start and numpy's import.

    python benchmarks/import_time.py

Each is a process of its own; they alternate.
"""

from __future__ import annotations

import subprocess
import sys
import time

from conditions import conditions, parser, quartiles, show, work_folder

PROGRAMS = {
    "pass": "pass",
    "import numpy": "import numpy",
    "import phyletic": "import phyletic",
    "phyletic.Study": "import phyletic; phyletic.Study",
}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=15)
    given = arguments.parse_args()
    times: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(given.rounds):
        for name, program in PROGRAMS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", program], check=True)
            times[name].append(time.perf_counter() - start)
    least = quartiles(times["pass"])[1]
    rows = []
    for name, found in times.items():
        low, middle, high = quartiles(found)
        rows.append(
            {
                "python -c": name,
                "median (s)": middle,
                "quartiles": f"{low:.3f}-{high:.3f}",
                "fastest": min(found),
                "beyond pass (s)": middle - least,
            }
        )
    with work_folder(given.folder) as folder:
        show("import", rows, conditions(folder), as_json=given.json)


if __name__ == "__main__":
    main()
