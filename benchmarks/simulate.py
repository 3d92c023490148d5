"""Simulated studies in which everything goes wrong, by the thousand: do the invariants hold?

    python benchmarks/simulate.py --seeds 20000

Runs in two processes. Prints seeds, events, violations and time; a seed that fails is printed as it is found, and is
repeated by ``phyletic.simulate.simulate_drawn(seed)``. The exit code is 1 if an invariant was violated.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
import traceback
from collections import Counter

from phyletic.simulate import simulate_drawn


def run(seed: int) -> tuple[int, int, int, int, str]:
    """Return the seed, its events, trials and owners, and what was violated."""
    try:
        simulation = simulate_drawn(seed)
    except Exception:
        return seed, 0, 0, 0, traceback.format_exc()
    return seed, simulation.events, simulation.attempts, simulation.owners, "\n".join(simulation.violations)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20_000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    began = time.perf_counter()
    total: Counter[str] = Counter()
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        for seed, events, attempts, owners, violations in pool.imap_unordered(run, seeds, chunksize=20):
            total.update(seeds=1, events=events, attempts=attempts, owners=owners, violations=bool(violations))
            if violations:
                print(f"seed {seed}: {violations}", flush=True)
            if total["seeds"] % 1000 == 0:
                print(f"{total['seeds']} seeds after {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    seconds = time.perf_counter() - began
    print(
        f"{total['seeds']} seeds, {total['events']} events, {total['attempts']} attempts, {total['owners']} owners, "
        f"{total['violations']} violations in {seconds:.0f} s"
    )
    return 1 if total["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
