"""Simulations whose settings are all drawn from a seed: many of them together look where no test was aimed."""

from __future__ import annotations

from typing import Any, Literal

from phyletic.coordinator.messages import Control, Pin
from phyletic.evolution import PBT, Algorithm, BinaryTournament, NoiseGate, Perturb, RandomSearch, Resample, Truncation
from phyletic.evolution.arguments import check_seed
from phyletic.evolution.exploit import Exploit
from phyletic.evolution.explore import Explore
from phyletic.randomness import RandomStream
from phyletic.records import Budget
from phyletic.simulate.curve import DriftingCurve
from phyletic.simulate.faults import Faults, Speeds
from phyletic.simulate.simulation import Simulation, simulate
from phyletic.space import Choice, Float, Int, Ordinal, Space

_LR = Float(1e-5, 1.0, log=True)
_SPACES = (
    Space({"lr": _LR}),
    Space({"lr": _LR, "width": Choice([64, 128], fixed=True), "depth": Int(1, 8)}),
    Space(
        {
            "lr": _LR,
            "batch": Ordinal([16, 32, 64]),
            "optimizer": Choice({"sgd": {"momentum": Float(0.0, 0.99)}, "adam": {}}),
        }
    ),
)
_EXPLOITS: tuple[Exploit, ...] = (Truncation(0.34), Truncation(0.5), BinaryTournament())
_EXPLORES: tuple[Explore, ...] = (Perturb((0.8, 1.2)), Perturb((0.5, 2.0)), Resample(0.5))
_LARGE = 100
"""One simulation in so many has 32 workers and as many members."""


def simulate_drawn(seed: int, messages: Literal["objects", "protobuf"] = "objects") -> Simulation:
    """Simulate a study whose algorithm, space, budget, workers, faults and controls are drawn from a seed.

    Args:
        seed: A whole number of at least 0.
        messages: As for :func:`simulate`.

    Returns:
        The outcome.

    Raises:
        InvalidArgument: The seed is something else.

    Example:
        >>> simulation = simulate_drawn(3)
        >>> simulation.violations, simulation.digest == simulate_drawn(3).digest
        ((), True)
    """
    return simulate(**drawn_settings(seed), messages=messages)


def drawn_settings(seed: int) -> dict[str, Any]:
    """Return the arguments of :func:`simulate` that a seed stands for.

    Raises:
        InvalidArgument: The seed is not a whole number of at least 0.
    """
    seed = check_seed(seed)
    chance = RandomStream(seed, 0x5EED)
    large = seed % _LARGE == _LARGE - 1
    population = 32 if large else 1 + chance.integer(6)
    interval = 1 + chance.integer(5)
    budget = _budget(chance, population, interval)
    mode = chance.choice(("min", "max"))
    faults = _faults(chance, population)
    return {
        "algorithm": _algorithm(chance, population, interval),
        "space": chance.choice(_SPACES),
        "workers": 32 if large else 1 + chance.integer(6),
        "budget": budget,
        "speeds": Speeds(
            overhead=chance.choice((0.0, 1.0)),
            spread=chance.choice((0.0, 0.3)),
            straggler=chance.choice((0.0, 0.0, 0.2)),
            # a very slow worker would renew a very short lease in nearly all events
            slowness=100.0 if faults.lease > 10 else 10.0,
            latency=chance.choice((0.001, 0.5)),
        ),
        "faults": faults,
        "controls": _controls(chance, population, budget) if chance.random() < 0.5 else (),
        "curve": DriftingCurve(horizon=20, noise=chance.choice((0.0, 0.02))),
        "mode": mode,
        "max_failures": 1 + chance.integer(3),
        "max_losses": 1 + chance.integer(6),
        "keep_best": 1 + chance.integer(2),
        "seed": seed,
    }


def _algorithm(chance: RandomStream, population: int, interval: int) -> Algorithm:
    """Draw an algorithm: random search, or PBT with drawn rules.

    Args:
        chance: The source of random numbers.
        population: Number of members.
        interval: Steps of one trial.
    """
    synchronous = chance.random() < 0.5
    if chance.random() < 0.15:
        return RandomSearch(population, interval, synchronous=synchronous)
    return PBT(
        population,
        None if (by_time := chance.random() < 0.15) else interval,
        interval_seconds=float(interval) if by_time else None,
        exploit=chance.choice(_EXPLOITS),
        explore=chance.choice(_EXPLORES),
        synchronous=synchronous,
        burn_in=chance.choice((0, 0, interval)),
        inherit=chance.choice(("both", "both", "weights", "hyperparameters")),
        compare=chance.choice(("latest", "latest", "matched")),
        gate=chance.choice((None, None, NoiseGate())),
    )


def _budget(chance: RandomStream, population: int, interval: int) -> Budget:
    """Draw a budget of a few generations.

    Args:
        chance: The source of random numbers.
        population: Number of members.
        interval: Steps of one trial.
    """
    trials = 12 + 2 * population
    generations = max(2, trials // population)
    kind = chance.random()
    if kind < 0.4:
        return Budget(steps=interval * generations - chance.integer(interval))
    if kind < 0.7:
        return Budget(trials=trials - chance.integer(8))
    if kind < 0.9:
        return Budget(steps=interval * generations, trials=trials)
    return Budget(trials=trials, seconds=float(interval * generations), target=chance.choice((None, 0.5)))


def _faults(chance: RandomStream, population: int) -> Faults:
    def share(most: float) -> float:
        """Draw how often something happens: mostly never, so that each fault occurs with few others."""
        return most * chance.random() if chance.random() < 0.35 else 0.0

    return Faults(
        crash=share(0.2),
        pause=share(0.2),
        fail=share(0.3),
        cursed=(chance.integer(population),) if chance.random() < 0.1 else (),
        not_finite=share(0.2),
        damaged=share(0.15),
        partial=share(0.3),
        uneven=share(0.2),
        leave=share(0.1),
        join=share(0.1),
        lose=share(0.25),
        duplicate=share(0.25),
        delay=share(0.3),
        owner=share(0.06),
        power=share(0.06),
        suspend=share(0.2),
        forget=share(0.2),
        detached=chance.choice((0.0, 0.0, 0.5, 1.0)),
        lease=chance.choice((4.0, 20.0)),
        cut=share(0.3),
    )


def _controls(chance: RandomStream, population: int, budget: Budget) -> tuple[tuple[float, Control | Pin], ...]:
    """Draw changes of control and pins, each with its time in seconds from the start.

    Args:
        chance: The source of random numbers.
        population: Number of members in the beginning.
        budget: How far the study goes in the beginning.
    """
    planned: list[tuple[float, Control | Pin]] = []
    for _ in range(1 + chance.integer(4)):
        at = 30.0 * chance.random()
        kind = chance.integer(5)
        if kind == 0:
            planned.append((at, Control(population=1 + chance.integer(2 * population))))
        elif kind == 1:
            planned += [(at, Control(paused=True)), (at + 10.0 * chance.random(), Control(paused=False))]
        elif kind == 2:
            more = {
                "steps": None if budget.steps is None else max(1, budget.steps + chance.choice((3, 3, -3))),
                "trials": None if budget.trials is None else budget.trials + 5,
            }
            planned.append((at, Control(budget=Budget(**more, seconds=budget.seconds, target=budget.target))))
        elif kind == 3:
            number = chance.integer(12)
            planned += [(at, Pin(trial=number)), (at + 20.0 * chance.random(), Pin(trial=number, keep=False))]
        else:
            planned.append((at, Control(keep_best=1 + chance.integer(3))))
    return tuple(planned)
