"""``phyletic demo toy``."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Literal

import click

from phyletic.cli.shared_options import FiniteRange, json_option, make_output, output_option

__all__ = ["toy"]


@click.command(
    short_help="The toy of the paper's figure 2, by PBT and by its parts.",
    epilog="Example: phyletic demo toy --variant ray --interval 8 --seeds 50",
)
@click.option(
    "--variant",
    type=click.Choice(["paper", "ray"]),
    default="paper",
    show_default=True,
    help="What is climbed: 1.2 − θ0² − θ1², or with ¾·θ0² as in Ray's documentation.",
)
@click.option(
    "--interval",
    type=click.IntRange(1, 1_000_000),
    default=4,
    show_default=True,
    help="Steps between two exploits, and between two explorations.",
)
@click.option(
    "--learning-rate",
    type=FiniteRange(0, 0.5, min_open=True, max_open=True),
    default=0.01,
    show_default=True,
    help="Of the gradient ascent.",
)
@click.option(
    "--noise",
    type=FiniteRange(0, min_open=True),
    default=0.2,
    show_default=True,
    help="Standard deviation of what exploring adds to h, which is from 0 to 1.",
)
@click.option(
    "--inherit",
    type=click.Choice(["both", "weights", "hyperparameters"]),
    default="both",
    show_default=True,
    help="What PBT copies; exploiting alone always copies weights.",
)
@click.option("--steps", type=click.IntRange(1, 1_000_000), default=200, show_default=True, help="Of each member.")
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Of the runs in the picture."
)
@click.option(
    "--seeds",
    type=click.IntRange(0, 1_000_000),
    default=0,
    show_default=True,
    help="Print also the median over so many seeds, counted from 0.",
)
@output_option("the picture, toy.png")
@json_option
def toy(
    variant: Literal["paper", "ray"],
    interval: int,
    learning_rate: float,
    noise: float,
    inherit: Literal["both", "weights", "hyperparameters"],
    steps: int,
    seed: int,
    seeds: int,
    output: Path,
    as_json: bool,
) -> None:
    """Train the two members of the toy: by PBT, exploring only, exploiting only, and neither (a grid).

    Each member sees one of two coordinates. Prints the Q that the better member of each ends with, of at most 1.2, and
    writes one picture with eight plots: where the weights went, and Q by step.
    """
    import statistics
    from dataclasses import replace

    from phyletic.cli.output import echo_json, echo_table
    from phyletic.errors import MissingDependency
    from phyletic.problems import ablations, quadratic

    if importlib.util.find_spec("matplotlib") is None:
        raise MissingDependency("matplotlib", "plots", "the toy's picture")
    problem = replace(quadratic.PAPER if variant == "paper" else quadratic.RAY, learning_rate=learning_rate)
    algorithms = ablations.ablations(interval=interval, noise=noise, inherit=inherit)
    make_output(output)
    runs = {name: ablations.run(algorithm, problem, steps=steps, seed=seed) for name, algorithm in algorithms.items()}
    found = {name: {"q": ablations.best_at_end(trials)} for name, trials in runs.items()}
    for name, algorithm in algorithms.items():
        if seeds:
            outcomes = ablations.outcomes(algorithm, problem, steps=steps, seeds=range(seeds))
            found[name] |= {"median": statistics.median(outcomes), "least": min(outcomes), "most": max(outcomes)}
    picture = (output / "toy.png").resolve()
    title = "Q = 1.2 − θ0² − θ1²" if variant == "paper" else "Q = 1.2 − ¾θ0² − θ1²"
    ablations.draw(runs, problem, title=title).savefig(picture)
    if as_json:
        echo_json({"algorithms": found, "picture": str(picture)})
        return
    titles = ["", f"Q, seed {seed}", *([f"median of {seeds}", "least", "most"] if seeds else [])]
    echo_table(titles, [[name, *(f"{value:.4f}" for value in values.values())] for name, values in found.items()])
    click.echo(f"picture: {picture}")
