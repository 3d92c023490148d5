"""What a tell with an ask costs when many trials are open, and what a large generation costs.

    python benchmarks/growth.py

A study in memory has as many members as open trials, all of them running in sessions of their own. Measured is the
processor's time of a tell with the next ask in one transaction, and of a heartbeat; and the time in which a synchronous
generation of 10,000 members is decided and inserted.
"""

from __future__ import annotations

import random
import time
from typing import Any

from conditions import conditions, parser, quartiles, show, work_folder

import phyletic as ph
from phyletic.coordinator.messages import Ask, Grant, Heartbeat, Tell
from phyletic.records import Evaluation

PAIRS = 300


def tell(grant: Grant, score: float) -> Tell:
    """Return a result."""
    trial = grant.trial
    evaluation = Evaluation(step=trial.start_step + 10, metric="score", value=score)
    return Tell(lease=grant.lease, evaluations=(evaluation,), steps_done=10)


def study(population: int, *, synchronous: bool = False) -> ph.Study:
    """Return a study in memory."""
    return ph.Study(
        "growth",
        space={"lr": ph.Float(1e-4, 1e-1, log=True), "units": ph.Int(8, 256, log=True)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(population, 10, synchronous=synchronous),
        seed=0,
    )


def measure(population: int) -> tuple[list[float], list[float]]:
    """Return the milliseconds of processor time of pairs, and of heartbeats, with so many trials open."""
    made = study(population)
    owner, chance = made.owner, random.Random(0)
    grants = {}
    for first in range(0, population, 500):
        sessions = [f"{number:032x}" for number in range(first, min(population, first + 500))]
        for session, reply in zip(sessions, owner.execute([Ask(session=one) for one in sessions]), strict=True):
            grants[session] = reply.first  # type: ignore[union-attr]
    pairs, heartbeats = [], []
    for _ in range(PAIRS):
        session = chance.choice(list(grants))
        began = time.process_time()
        replies = owner.execute([tell(grants[session], chance.random()), Ask(session=session)])
        pairs.append(1e3 * (time.process_time() - began))
        grants[session] = replies[1].first  # type: ignore[union-attr]
        began = time.process_time()
        owner.execute([Heartbeat(lease=grants[session].lease, step=1)])
        heartbeats.append(1e3 * (time.process_time() - began))
    made.close()
    return pairs, heartbeats


def generation(population: int) -> float:
    """Return the seconds in which a generation is decided, by the tell that closes the barrier."""
    made = study(population, synchronous=True)
    trials = made.ask(count=population)
    made.tell(trials[:-1], [{"score": random.Random(trial.number).random()} for trial in trials[:-1]])
    began = time.perf_counter()
    made.tell(trials[-1], score=0.5)
    seconds = time.perf_counter() - began
    assert made.owner.state.counters.next_trial == 2 * population
    made.close()
    return seconds


def main() -> None:
    """Measure and print."""
    arguments = parser(__doc__)
    arguments.add_argument("--open", type=int, nargs="*", default=[100, 1_000, 5_000, 10_000], help="trials open")
    given = arguments.parse_args()
    rows: list[dict[str, Any]] = []
    for population in given.open:
        pairs, heartbeats = measure(population)
        row: dict[str, Any] = {"open trials": population}
        for name, times in (("tell + ask", pairs), ("heartbeat", heartbeats)):
            low, middle, high = quartiles(times)
            row |= {name: middle, f"{name}, quartiles": f"{low:.3g}-{high:.3g}"}
        rows.append(row)
    seconds = generation(10_000)
    with work_folder(given.folder) as folder:
        show("milliseconds of the processor, by open trials", rows, conditions(folder), as_json=given.json)
    if not given.json:
        print(f"a synchronous generation of 10,000 members: {seconds:.2f} s")


if __name__ == "__main__":
    main()
