"""``phyletic pin``."""

from __future__ import annotations

import click

from phyletic.cli.options import json_option, storage_option

__all__ = ["pin"]


@click.command(
    short_help="Keep a trial's checkpoint for good.",
    epilog="Example: phyletic pin digits 17 --storage sqlite:///digits.db",
)
@click.argument("study")
@click.argument("trial", type=click.IntRange(min=0))
@storage_option
@click.option("--unpin", is_flag=True, help="Keep it no longer than it is needed.")
@json_option
def pin(study: str, trial: int, storage: str, unpin: bool, as_json: bool) -> None:
    """Keep the checkpoint of trial number TRIAL of STUDY for good, also while the study runs."""
    from phyletic.cli.opening import open_study
    from phyletic.cli.output import echo_json

    open_study(study, storage).pin(trial, keep=not unpin)
    if as_json:
        echo_json({"study": study, "trial": trial, "pinned": not unpin})
    else:
        kept = "no longer than it is needed" if unpin else "for good"
        click.echo(f"{study}: the checkpoint of trial {trial} is kept {kept}")
