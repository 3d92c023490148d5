"""``phyletic schedule``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from phyletic.cli.opening import open_study
from phyletic.cli.options import storage_option, trial_option

if TYPE_CHECKING:
    from phyletic.study.schedule import Schedule

__all__ = ["echo_schedule", "schedule"]


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
    from phyletic.cli.output import echo_table
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
