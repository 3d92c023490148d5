"""``phyletic simulate``."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

import click

from phyletic.cli.shared_options import FiniteRange, json_option, setting

if TYPE_CHECKING:
    from phyletic.evolution import Algorithm
    from phyletic.simulate import Simulation

_FIGURES = ("wall_seconds", "utilisation", "regret", "exploits", "completed", "losses", "member_steps")


@click.command(
    short_help="Say how long a study would take, before it is run.",
    epilog="Example: phyletic simulate --population 32 --workers 8 --step-seconds 0.5 --straggler 0.1",
)
@setting(
    "--algorithm",
    click.Choice(["pbt", "random"]),
    "pbt",
    "Population based training or random search; the former is compared with the latter.",
)
@setting("--population", click.IntRange(1, 10_000), 32, "Number of members.")
@setting("--workers", click.IntRange(1, 1024), 8, "Number of workers.")
@setting("--interval", click.IntRange(min=1), 10, "Steps of one trial.")
@setting("--steps", click.IntRange(min=1), 200, "Steps of each member.")
@click.option("--synchronous", is_flag=True, help="Members wait for each other.")
@setting("--step-seconds", FiniteRange(0, 10**9, min_open=True), 1.0, "Seconds of a step.")
@setting("--overhead", FiniteRange(0, 10**9), 0.0, "Seconds of a trial beside its steps: loading, evaluating, saving.")
@setting(
    "--spread", FiniteRange(0, 10), 0.0, "How much workers' speeds differ: the standard deviation of their logarithm."
)
@setting("--straggler", FiniteRange(0, 1), 0.0, "Share of the workers that are 100 times slower.")
@setting("--crash-rate", FiniteRange(0, 0.95), 0.0, "How probable it is that a worker dies during a trial.")
@setting("--seeds", click.IntRange(1, 1000), 10, "Number of simulations.")
@json_option
def simulate(
    algorithm: str,
    population: int,
    workers: int,
    interval: int,
    steps: int,
    synchronous: bool,
    step_seconds: float,
    overhead: float,
    spread: float,
    straggler: float,
    crash_rate: float,
    seeds: int,
    as_json: bool,
) -> None:
    """Say how long a study would take, how busy its workers would be, and what evolution gains, before it is run.

    The study runs under a virtual clock with the real scheduler and algorithm. Training is a learning curve whose best
    learning rate drifts from 0.1 to 0.0001 over the steps, so the gain is the gain on such a problem. Figures are
    means over the simulations; regret is how much the best loss is above the least possible, with the 95 % interval of
    its mean; lost counts attempts whose worker died, and steps are summed over all members.
    """
    from phyletic.cli.output import echo_json, echo_table
    from phyletic.evolution import PBT, RandomSearch
    from phyletic.records import Budget
    from phyletic.simulate import DriftingCurve, Faults, Speeds
    from phyletic.simulate import simulate as run

    compared: dict[str, Algorithm] = {"random": RandomSearch(population, interval, synchronous=synchronous)}
    if algorithm == "pbt":
        compared = {"pbt": PBT(population, interval, synchronous=synchronous), **compared}
    results = {
        name: [
            run(
                one,
                workers=workers,
                budget=Budget(steps=steps),
                speeds=Speeds(step=step_seconds, overhead=overhead, spread=spread, straggler=straggler),
                # the owner notices a death within a step, and gives no member up for it
                faults=Faults(crash=crash_rate, detection=step_seconds),
                max_losses=100_000,
                curve=DriftingCurve(horizon=steps),
                check=False,
                seed=seed,
            )
            for seed in range(seeds)
        ]
        for name, one in compared.items()
    }
    if as_json:
        echo_json({name: _document(made) for name, made in results.items()})
        return
    titles = ["algorithm", "wall time", "utilised", "regret", "trials", "exploits", "lost", "steps"]
    echo_table(titles, [_row(name, made) for name, made in results.items()])


def _document(simulations: list[Simulation]) -> dict[str, Any]:
    """Return the means of the figures, the 95 % interval of the mean regret, and the figures of each simulation."""
    each = [{name: getattr(one, name) for name in ("seed", *_FIGURES)} for one in simulations]
    mean = {name: statistics.fmean(one[name] for one in each) for name in _FIGURES}
    interval = None
    if len(each) > 1:
        half = 1.96 * statistics.stdev(one["regret"] for one in each) / len(each) ** 0.5
        interval = [mean["regret"] - half, mean["regret"] + half]
    return {"mean": mean, "regret_interval": interval, "simulations": each}


def _row(name: str, simulations: list[Simulation]) -> list[str]:
    from phyletic.study.progress import duration

    mean: dict[str, float] = _document(simulations)["mean"]
    regret = f"{mean['regret']:.3g}"
    if (interval := _document(simulations)["regret_interval"]) is not None:
        regret += f" ({interval[0]:.3g} to {interval[1]:.3g})"
    counts = [f"{mean[figure]:.0f}" for figure in ("completed", "exploits", "losses", "member_steps")]
    return [name, duration(mean["wall_seconds"]), f"{100 * mean['utilisation']:.1f} %", regret, *counts]
