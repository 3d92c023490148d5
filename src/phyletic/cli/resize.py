"""``phyletic resize``."""

from __future__ import annotations

import click

from phyletic.cli.options import json_option, storage_option

__all__ = ["resize"]


@click.command(
    short_help="Change the number of members.",
    epilog="Example: phyletic resize digits 12 --storage sqlite:///digits.db",
)
@click.argument("study")
@click.argument("population", type=int)
@storage_option
@json_option
def resize(study: str, population: int, storage: str, as_json: bool) -> None:
    """Change the number of members of STUDY to POPULATION, also while it runs.

    Members that are added are born; those with the highest numbers are taken out, once what they run has ended.
    """
    from phyletic.cli.changing import echo_change
    from phyletic.cli.opening import open_study

    opened = open_study(study, storage)
    before = opened.control.population
    opened.resize(population)
    text = f"{population} member{'s' * (population != 1)}" + (f", {before} before" if before != population else "")
    echo_change(study, "population", before, population, text, as_json)
