"""How long an algorithm takes to decide one trial.

    python benchmarks/decision.py

Each time is for one ``suggest`` of a member that loses, on a view that is new, so that the ranking is made too (as in
an asynchronous study); "next" is for a further member on the same view (as in a synchronous generation). The median
and the 95th percentile of many repetitions; the random stream is made beforehand.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from phyletic.evolution import PBT, Algorithm, BinaryTournament, NoiseGate, Population, RandomSearch, TTest
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
    for repetition in range(repetitions):
        stream = RandomStream(7, repetition)
        view = msgspec.structs.replace(population) if fresh else population
        begin = time.perf_counter()
        algorithm.suggest(view, 0, stream)
        times.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(times), statistics.quantiles(times, n=20)[-1]


def processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def main() -> None:
    print(f"Python {platform.python_version()}, {processor()}, {platform.system()}; milliseconds, one process")
    print(f"{'':14}" + "".join(f"{f'population {size}':>34}" for size in SIZES))
    print(f"{'':14}" + "".join(f"{'new view':>12}{'95 %':>10}{'next':>12}" for _ in SIZES))
    for name, make in VARIANTS.items():
        row = f"{name:14}"
        for size in SIZES:
            algorithm, population = make(size), population_with_history(size)
            repetitions = max(50, 20_000 // size)
            algorithm.suggest(population, 0, RandomStream(0))
            new, high = measure(algorithm, population, repetitions, fresh=True)
            following, _ = measure(algorithm, population, repetitions, fresh=False)
            row += f"{new:12.4f}{high:10.4f}{following:12.4f}"
        print(row)


if __name__ == "__main__":
    main()
