"""Thousands of simulated studies in which everything goes wrong: do the invariants hold?

    python benchmarks/simulate.py --seeds 20000
    python benchmarks/simulate.py --seeds 20000 --messages protobuf

Runs two processes. Prints each seed that violates an invariant at once, and in the end how many seeds, events and
violations there were, how long it took, and how often each thing went wrong.
``phyletic.simulate.simulate_drawn(seed)`` repeats one seed. The exit code is 1 if an invariant was violated.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
import traceback
from collections import Counter
from dataclasses import asdict
from functools import partial
from typing import Literal

from phyletic.simulate import Incidents, simulate_drawn


def run(messages: Literal["objects", "protobuf"], seed: int) -> tuple[int, dict[str, int], Incidents, str]:
    """Return the seed, its figures, its incidents, and its violations as a text."""
    try:
        simulation = simulate_drawn(seed, messages=messages)
    except Exception:
        return seed, {}, Incidents(), traceback.format_exc()
    figures = {name: getattr(simulation, name) for name in ("events", "attempts", "owners")}
    return seed, figures, simulation.incidents, "\n".join(simulation.violations)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20_000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--messages", choices=("objects", "protobuf"), default="objects", help="how they travel")
    arguments = parser.parse_args()
    began = time.perf_counter()
    total: Counter[str] = Counter()
    incidents: Counter[str] = Counter()
    met: Counter[str] = Counter()
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    work = partial(run, arguments.messages)
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        for seed, figures, wrong, violations in pool.imap_unordered(work, seeds, chunksize=20):
            total.update(figures, seeds=1, violations=bool(violations))
            incidents.update(asdict(wrong))
            met.update(name for name, times in asdict(wrong).items() if times)
            if violations:
                print(f"seed {seed}: {violations}", flush=True)
            if total["seeds"] % 1000 == 0:
                print(f"{total['seeds']} seeds after {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    seconds = time.perf_counter() - began
    print(
        f"{total['seeds']} seeds, {total['events']} events, {total['attempts']} attempts, {total['owners']} owners, "
        f"{total['violations']} violations in {seconds:.0f} s"
    )
    print(f"\n{'what went wrong':16}{'how often':>12}{'in seeds':>12}")
    for name, times in incidents.items():
        print(f"{name.replace('_', ' '):16}{times:>12}{met[name]:>12}")
    return 1 if total["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
