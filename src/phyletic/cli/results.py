"""The commands that print what a study found: best, schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from phyletic.cli.output import echo_json, echo_table
from phyletic.cli.shared_options import json_option, setting, study_argument

if TYPE_CHECKING:
    from phyletic.records import Value
    from phyletic.study.schedule import Schedule
    from phyletic.study.study import Study


@click.command(
    short_help="Print the best trial of a study.",
    epilog="Example: phyletic best digits --storage sqlite:///digits.db --json",
)
@study_argument
@json_option
def best(study: Study, as_json: bool) -> None:
    """Print the best trial of STUDY: score, hyperparameters, lineage and checkpoint."""
    from phyletic.errors import CheckpointError, NotFound
    from phyletic.study.progress import lineage_text, number_text, value_text

    trial = study.best
    lineage = study.lineage(trial)
    path, instead = None, "none is kept"
    try:
        path = str(study.checkpoint_path(trial))
    except NotFound:
        pass
    except CheckpointError as error:
        instead = str(error)
    if as_json:
        numbers = [ancestor.number for ancestor in lineage]
        echo_json({"trial": trial, "lineage": numbers, "checkpoint_path": path})
        return
    metric = study.metrics[0]
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
@study_argument
@click.option(
    "--trial",
    type=click.IntRange(min=0),
    metavar="N",
    help="Number of the trial whose lineage it is.  [default: the best trial]",
)
@setting(
    "--format",
    click.Choice(["table", "json", "csv"]),
    "table",
    "For people, or for programs: JSON is what Study.replay reads, CSV what spreadsheets do.",
)
def schedule(study: Study, trial: int | None, format: str) -> None:
    """Print the hyperparameters along a lineage of STUDY by step: the schedule that was found."""
    found = study.schedule(trial)
    if format == "table":
        echo_schedule(found)
    else:
        click.echo(found.to_json() if format == "json" else found.to_csv(), nl=format == "json")


def echo_schedule(found: Schedule) -> None:
    """Print a schedule as a table: a row for each change."""
    from phyletic.study.progress import change_text, short_names, value_text

    names = short_names(found.paths, 20)
    rows = []
    before: dict[str, Value] = {}
    for segment in found.segments:
        values, row = segment.hyperparameters, [f"{segment.start_step}-{segment.end_step}"]
        for path in names:
            change = change_text(before[path], values[path]) if path in before and path in values else ""
            row.append(f"{value_text(values[path], 16, 4)} {change}".rstrip() if path in values else "")
        rows.append(row)
        before = values
    echo_table(["steps", *names.values()], rows, left=range(1 + len(names)))
