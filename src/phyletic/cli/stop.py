"""``phyletic stop``."""

from __future__ import annotations

import click

from phyletic.cli.options import json_option, storage_option

__all__ = ["stop"]


@click.command(
    short_help="End the run of a study, as Ctrl-C does.",
    epilog="Example: phyletic stop digits --storage sqlite:///digits.db",
)
@click.argument("study")
@storage_option
@click.option("--now", is_flag=True, help="Release running trials at once, as a second Ctrl-C does.")
@json_option
def stop(study: str, storage: str, now: bool, as_json: bool) -> None:
    """End the run of STUDY that goes on in another process, once its running trials have finished.

    It goes on when it is run again.
    """
    from phyletic.cli.opening import open_study
    from phyletic.cli.output import echo_json

    open_study(study, storage).stop(now=now)
    if as_json:
        echo_json({"study": study, "stopping": "now" if now else "when running trials have finished"})
    else:
        click.echo(f"{study}: its run ends {'now' if now else 'when its running trials have finished'}")
