"""``phyletic demo`` and ``phyletic demo toy``."""

from __future__ import annotations

import importlib.util
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import click

from phyletic.cli.output import echo_json, echo_table
from phyletic.cli.results import echo_schedule
from phyletic.cli.shared_options import FiniteRange, json_option, setting
from phyletic.disk import local_path
from phyletic.errors import InvalidArgument, MissingDependency

if TYPE_CHECKING:
    from phyletic.study.study import Study

_INTERVAL = 2
"""Epochs between two exploits."""


def output_option(holds: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add ``--output``, the folder of a demo, whose help says what it ``holds``."""
    return click.option(
        "--output",
        default="phyletic-demo",
        callback=lambda context, option, given: local_path("--output", given, "the name of a folder"),
        metavar="DIRECTORY",
        show_default=True,
        help=f"Folder for {holds}.",
    )


def make_output(output: Path) -> None:
    """Make the folder of ``--output`` unless it exists.

    Raises:
        InvalidArgument: It cannot be made.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidArgument("--output", str(output), f"a folder that can be made ({error.strerror})") from error


def require(extra: str, purpose: str, **libraries: str) -> None:
    """Raise MissingDependency unless libraries are installed.

    Args:
        extra: The extra of phyletic that installs them.
        purpose: What needs them.
        **libraries: The name of each library by the module to import.
    """
    for module, library in libraries.items():
        if importlib.util.find_spec(module) is None:
            raise MissingDependency(library, extra, purpose)


@click.group(
    invoke_without_command=True,
    short_help="Train a population on handwritten digits, or on a toy.",
    epilog="Example: phyletic demo --members 8 --rounds 20 --workers 2 --output demo",
)
@setting("--members", click.IntRange(1, 1000), 8, "Size of the population.")
@setting(
    "--rounds",
    click.IntRange(1, 100_000),
    20,
    f"Trials of each member, of {_INTERVAL} epochs; more than before continues an earlier demo.",
)
@setting("--workers", click.IntRange(0, 1000), 2, "Local processes; 0 trains in this one.")
@output_option("the picture, and for the study unless --storage is given")
@click.option("--storage", metavar="URL", help="Where the study is stored.  [default: digits.db in the output folder]")
@setting("--seed", click.IntRange(0, 2**63 - 1), 0, "Of all randomness.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress, only the result.")
@json_option
@click.pass_context
def demo(
    context: click.Context,
    members: int,
    rounds: int,
    workers: int,
    output: Path,
    storage: str | None,
    seed: int,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train a population of small neural networks on handwritten digits, which come with scikit-learn.

    Learning rate, weight penalty and momentum evolve while the networks train. Prints the best member's accuracy on
    the validation images, by whose loss it was chosen, and on images held out, its lineage and its schedule, and
    writes a picture. With the command toy: the toy of the paper's figure 2 instead, which takes options of its own.
    """
    if context.invoked_subcommand is not None:
        return
    from phyletic.evolution import PBT
    from phyletic.problems import digits
    from phyletic.records import Budget
    from phyletic.storage.database import open_database
    from phyletic.study.study import Study

    require("demo", "the demo", sklearn="scikit-learn", matplotlib="matplotlib")
    if storage:
        open_database(storage)  # before the folder is made, so that a bad one leaves nothing
    make_output(output)
    study = Study(
        "digits",
        space=digits.SPACE,
        # Ranked by the loss: among so few images an accuracy is the best of many by luck, and held-out images show it.
        metric=["loss", "accuracy"],
        mode=["min", "max"],
        algorithm=PBT(population=members, interval=_INTERVAL),
        budget=Budget(steps=rounds * _INTERVAL),
        storage=storage or str(output / "digits.db"),
        seed=seed,
    )
    study.run(digits.train, workers=workers, verbose=0 if quiet or as_json else 1)
    _report(study, output, as_json)
    if not study.finished:
        click.echo("stopped before its end: the same command goes on from here", err=True)


def _report(study: Study, output: Path, as_json: bool) -> None:
    """Print the best member and its schedule, and draw the study.

    Args:
        study: The study.
        output: The folder for the picture.
        as_json: Whether to print JSON instead of text.
    """
    from phyletic.plots import summary
    from phyletic.problems import digits
    from phyletic.study.progress import lineage_text

    best, lineage, schedule = study.best, study.lineage(), study.schedule()
    newborn = digits.build(cast(Any, best))["model"]
    model = study.restore(best, model=newborn)["model"]
    held_out, _ = digits.evaluate(model, digits.load().held_out)
    picture = (output / "digits.png").resolve()
    figure = summary(study.trials(), study.space, study.metrics[0], title=f"{study.name}: a population of networks")
    figure.savefig(picture)
    if as_json:
        echo_json(
            {
                "validation_loss": best.score,
                "validation_accuracy": best.metrics["accuracy"],
                "held_out_accuracy": held_out,
                "best": best,
                "lineage": [trial.number for trial in lineage],
                "schedule": schedule,
                "picture": str(picture),
                "storage": study.storage,
            }
        )
        return
    click.echo(f"validation loss {best.score:.4f} (members were chosen by it)")
    click.echo(f"validation accuracy {best.metrics['accuracy']:.4f}")
    click.echo(f"held-out accuracy {held_out:.4f}")
    click.echo(f"lineage of {len(lineage)} trials: {lineage_text(lineage)}")
    click.echo("schedule:")
    echo_schedule(schedule)
    click.echo(f"picture: {picture}")
    click.echo(f"study: {study.storage} (phyletic show {study.name} --storage {study.storage})")


@demo.command(
    short_help="The toy of the paper's figure 2, by PBT and by its parts.",
    epilog="Example: phyletic demo toy --variant ray --interval 8 --seeds 50",
)
@setting(
    "--variant",
    click.Choice(["paper", "ray"]),
    "paper",
    "What is climbed: 1.2 − θ0² − θ1², or with ¾·θ0² as in Ray's documentation.",
)
@setting("--interval", click.IntRange(1, 1_000_000), 4, "Steps between two exploits, and between two explorations.")
@setting("--learning-rate", FiniteRange(0, 0.5, min_open=True, max_open=True), 0.01, "Of the gradient ascent.")
@setting(
    "--noise",
    FiniteRange(0, min_open=True),
    0.2,
    "Standard deviation of what exploring adds to h, which is from 0 to 1.",
)
@setting(
    "--inherit",
    click.Choice(["both", "weights", "hyperparameters"]),
    "both",
    "What PBT copies; exploiting alone always copies weights.",
)
@setting("--steps", click.IntRange(1, 1_000_000), 200, "Of each member.")
@setting("--seed", click.IntRange(0, 2**63 - 1), 0, "Of the runs in the picture.")
@setting("--seeds", click.IntRange(0, 1_000_000), 0, "Print also the median over so many seeds, counted from 0.")
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
    writes one picture with eight plots: the paths of the weights, and Q by step.
    """
    from phyletic.problems import ablations, quadratic

    require("plots", "the toy's picture", matplotlib="matplotlib")
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
