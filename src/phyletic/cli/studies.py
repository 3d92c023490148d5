"""``phyletic studies``."""

from __future__ import annotations

import click

from phyletic.cli.options import json_option, storage_option

__all__ = ["studies"]


@click.command(
    short_help="List the studies in a storage.", epilog="Example: phyletic studies --storage sqlite:///digits.db"
)
@storage_option
@json_option
def studies(storage: str, as_json: bool) -> None:
    """List the studies in a storage, in the order in which they were created."""
    from phyletic.cli.output import echo_json, echo_table, moment
    from phyletic.study.progress import number_text
    from phyletic.study.study import Study
    from phyletic.study.study import studies as stored

    found = [Study(identity.name, storage=storage).status() for identity in stored(storage)]
    if as_json:
        echo_json(found)
        return
    if not found:
        click.echo(f"{storage} holds no study")
        return
    rows = [
        [
            status.name,
            status.state,
            f"{status.metric.name} ({status.metric.mode})",
            number_text(status.best_score, 6),
            str(status.population),
            str(status.trials.get("completed", 0)),
            moment(status.created),
        ]
        for status in found
    ]
    echo_table(["study", "state", "metric", "best", "members", "completed", "created"], rows, left=(0, 1, 2, 6))
