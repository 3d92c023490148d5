"""``phyletic best``."""

from __future__ import annotations

from typing import Any

import click

from phyletic.cli.opening import open_study
from phyletic.cli.options import json_option, storage_option

__all__ = ["best"]


@click.command(
    short_help="Print the best trial of a study.",
    epilog="Example: phyletic best digits --storage sqlite:///digits.db --json",
)
@click.argument("study")
@storage_option
@json_option
def best(study: str, storage: str, as_json: bool) -> None:
    """Print the best trial of STUDY: score, hyperparameters, lineage and checkpoint."""
    from phyletic.cli.output import echo_json
    from phyletic.errors import CheckpointError, NotFound
    from phyletic.study.progress import lineage_text, number_text, value_text

    opened = open_study(study, storage)
    trial = opened.best
    lineage = opened.lineage(trial)
    path, instead = None, "none is kept"
    try:
        path = str(opened.checkpoint_path(trial))
    except NotFound:
        pass
    except CheckpointError as error:
        instead = str(error)
    if as_json:
        numbers = [ancestor.number for ancestor in lineage]
        document: dict[str, Any] = {"trial": trial, "lineage": numbers, "checkpoint_path": path}
        echo_json(document)
        return
    metric = opened.metrics[0]
    click.echo(f"{metric.name} {number_text(trial.score, 6)} ({metric.mode})")
    click.echo(f"trial {trial.number} of member {trial.member}, steps {trial.start_step} to {trial.end_step}")
    click.echo("hyperparameters at its end:")
    for name, value in trial.hyperparameters.items():
        click.echo(f"  {name} {value_text(value, 200, 6)}")
    for name, number in trial.metrics.items():
        if name != metric.name:
            click.echo(f"{name} {number_text(number, 6)}")
    click.echo(f"lineage of {len(lineage)} trials: {lineage_text(lineage)}")
    click.echo(f"checkpoint: {path or instead}")
