"""The commands that print what a study found: best, schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from phyletic.cli.output import echo_json, echo_table
from phyletic.cli.shared_options import json_option, open_study, storage_option, trial_option

if TYPE_CHECKING:
    from phyletic.study.schedule import Schedule

__all__ = ["best", "echo_schedule", "schedule"]


@click.command(
    short_help="Print the best trial of a study.",
    epilog="Example: phyletic best digits --storage sqlite:///digits.db --json",
)
@click.argument("study")
@storage_option
@json_option
def best(study: str, storage: str, as_json: bool) -> None:
    """Print the best trial of STUDY: score, hyperparameters, lineage and checkpoint."""
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


@click.command(
    short_help="Print the schedule that a study found.",
    epilog="Example: phyletic schedule digits --storage sqlite:///digits.db --format csv > schedule.csv",
)
@click.argument("study")
@storage_option
@trial_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="For people, or for programs: JSON is what Study.replay reads, CSV what spreadsheets do.",
)
def schedule(study: str, storage: str, trial: int | None, form: str) -> None:
    """Print the hyperparameters along a lineage of STUDY by step: the schedule that was found."""
    found = open_study(study, storage).schedule(trial)
    if form == "table":
        echo_schedule(found)
    else:
        click.echo(found.to_json() if form == "json" else found.to_csv(), nl=form == "json")


def echo_schedule(found: Schedule) -> None:
    """Print a schedule as a table: a row for each change."""
    from phyletic.study.progress import change_text, short_names, value_text

    names = short_names(found.paths, 20)
    rows = []
    before: dict[str, object] = {}
    for segment in found.segments:
        row = [f"{segment.start_step}-{segment.end_step}"]
        for path in found.paths:
            value = segment.hyperparameters.get(path)
            changed = path in before and path in segment.hyperparameters
            change = change_text(before[path], value) if changed else ""  # type: ignore[arg-type]
            row.append(f"{value_text(value, 16, 4)} {change}".rstrip() if path in segment.hyperparameters else "")
        rows.append(row)
        before = dict(segment.hyperparameters)
    echo_table(["steps", *names.values()], rows, left=range(1 + len(names)))
