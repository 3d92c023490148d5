"""How long an algorithm takes to decide one trial.

    python benchmarks/decision.py

Each time is for one ``suggest`` of a member that loses, on a view that is new, so that the ranking is made too (as in
an asynchronous study); "next" is for a further member on the same view (as in a synchronous generation). The median
and the 95th percentile of many repetitions; the random stream is made beforehand.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import msgspec
from conditions import conditions, parser, show, work_folder

from phyletic.evolution import PBT, Algorithm, BinaryTournament, NoiseGate, Population, RandomSearch, TTest
from phyletic.evolution.ranking import Standings
from phyletic.randomness import RandomStream
from phyletic.space import Choice, Float, Int, Space
from phyletic.testing.generations import population_of

SPACE = Space(
    {
        "lr": Float(1e-4, 1e-1, log=True),
        "weight_decay": Float(1e-6, 1e-2, log=True),
        "batch": Int(16, 512, log=True),
        "activation": Choice(["relu", "tanh", "gelu"]),
        "width": Choice([64, 128], fixed=True),
    }
)
SIZES = (8, 40, 1000)
VARIANTS: dict[str, Callable[[int], Algorithm]] = {
    "truncation": lambda size: PBT(size, 100),
    "tournament": lambda size: PBT(size, 100, exploit=BinaryTournament()),
    "t-test": lambda size: PBT(size, 100, exploit=TTest()),
    "with a gate": lambda size: PBT(size, 100, gate=NoiseGate()),
    "matched": lambda size: PBT(size, 100, compare="matched"),
    "random search": lambda size: RandomSearch(size, 100),
}


def population_with_history(size: int) -> Population:
    population = population_of(SPACE, [float(member) for member in range(size)])
    members = tuple(
        msgspec.structs.replace(
            view,
            scores=tuple(view.member + 0.1 * place for place in range(10)),
            history=tuple((step, float(view.member)) for step in range(4, 84, 4)),
        )
        for view in population.members
    )
    return msgspec.structs.replace(population, members=members)


def measure(algorithm: Algorithm, population: Population, repetitions: int, fresh: bool) -> tuple[float, float]:
    times = []
    standings = Standings(population.mode)
    for member in population.members:
        standings.put(member)
    for repetition in range(repetitions):
        stream, view = RandomStream(7, repetition), population
        begin = time.perf_counter()
        if fresh:  # as a coordinator makes it
            standings.put(population.members[-1])
            view = msgspec.structs.replace(population, ranked=standings.ranking())
        algorithm.suggest(view, 0, stream)
        times.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(times), statistics.quantiles(times, n=20)[-1]


def main() -> None:
    given = parser(__doc__).parse_args()
    rows = []
    for name, make in VARIANTS.items():
        row: dict[str, Any] = {"": name}
        for size in SIZES:
            algorithm, population = make(size), population_with_history(size)
            repetitions = max(50, 20_000 // size)
            algorithm.suggest(population, 0, RandomStream(0))
            new, high = measure(algorithm, population, repetitions, fresh=True)
            following, _ = measure(algorithm, population, repetitions, fresh=False)
            row |= {f"{size}: new view": new, f"{size}: 95 %": high, f"{size}: next": following}
        rows.append(row)
    with work_folder(given.folder) as folder:
        show("milliseconds for a decision, by population", rows, conditions(folder), as_json=given.json)


if __name__ == "__main__":
    main()
