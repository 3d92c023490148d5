"""``phyletic demo``."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from phyletic.cli.demo_toy import toy
from phyletic.cli.shared_options import json_option, make_output, output_option

if TYPE_CHECKING:
    from phyletic.study.study import Study

__all__ = ["demo"]

_INTERVAL = 2
"""Epochs between two exploits."""


@click.group(
    invoke_without_command=True,
    short_help="Train a population on handwritten digits, or on a toy.",
    epilog="Example: phyletic demo --members 8 --rounds 20 --workers 2 --output demo",
)
@click.option("--members", type=click.IntRange(1, 1000), default=8, show_default=True, help="Size of the population.")
@click.option(
    "--rounds",
    type=click.IntRange(1, 100_000),
    default=20,
    show_default=True,
    help=f"Trials of each member, of {_INTERVAL} epochs; more than before continues an earlier demo.",
)
@click.option(
    "--workers",
    type=click.IntRange(0, 1000),
    default=2,
    show_default=True,
    help="Local processes; 0 trains in this one.",
)
@output_option("the picture, and for the study unless --storage is given")
@click.option("--storage", metavar="URL", help="Where the study is stored.  [default: digits.db in the output folder]")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Of all randomness.")
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
    from phyletic.errors import MissingDependency
    from phyletic.evolution import PBT
    from phyletic.problems import digits
    from phyletic.records import Budget
    from phyletic.storage.database import open_database
    from phyletic.study.study import Study

    for module, library in (("sklearn", "scikit-learn"), ("matplotlib", "matplotlib")):
        if importlib.util.find_spec(module) is None:
            raise MissingDependency(library, "demo", "the demo")
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


demo.add_command(toy)


def _report(study: Study, output: Path, as_json: bool) -> None:
    """Print what was found, and draw it."""
    from phyletic.cli.output import echo_json
    from phyletic.cli.results import echo_schedule
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
