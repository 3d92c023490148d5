"""``phyletic resume``."""

from __future__ import annotations

import click

from phyletic.cli.options import json_option, storage_option

__all__ = ["resume"]


@click.command(
    short_help="Grant trials again.",
    epilog="Example: phyletic resume digits --storage sqlite:///digits.db",
)
@click.argument("study")
@storage_option
@json_option
def resume(study: str, storage: str, as_json: bool) -> None:
    """Grant trials of STUDY again, after it was paused."""
    from phyletic.cli.changing import echo_change
    from phyletic.cli.opening import open_study

    opened = open_study(study, storage)
    before = opened.control.paused
    opened.resume()
    echo_change(study, "paused", before, False, "grants trials", as_json)
