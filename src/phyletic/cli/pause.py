"""``phyletic pause``."""

from __future__ import annotations

import click

from phyletic.cli.options import json_option, storage_option

__all__ = ["pause"]


@click.command(
    short_help="Grant no more trials for now.",
    epilog="Example: phyletic pause digits --storage sqlite:///digits.db",
)
@click.argument("study")
@storage_option
@json_option
def pause(study: str, storage: str, as_json: bool) -> None:
    """Grant no more trials of STUDY, also while it runs, until it is resumed; what runs goes on to its end."""
    from phyletic.cli.changing import echo_change
    from phyletic.cli.opening import open_study

    opened = open_study(study, storage)
    before = opened.control.paused
    opened.pause()
    echo_change(study, "paused", before, True, "paused", as_json)
