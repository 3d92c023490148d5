"""``phyletic doctor``."""

from __future__ import annotations

import click

from phyletic.cli.options import json_option

__all__ = ["doctor"]


@click.command(
    short_help="Check this machine and say what to do.",
    epilog="Example: phyletic doctor --storage sqlite:////data/studies.db",
)
@click.option(
    "--storage",
    envvar="PHYLETIC_STORAGE",
    show_envvar=True,
    metavar="URL",
    help="Check the disk of this storage, which need not exist.  [default: the current folder's]",
)
@json_option
def doctor(storage: str | None, as_json: bool) -> None:
    """Check this machine: Python, libraries, extras, SQLite, the storage's disk and the GPUs.

    Each finding that needs something done says what. The exit code is 1 if there is a problem, else 0.
    """
    from phyletic.cli.checks import examine
    from phyletic.cli.output import echo_json

    findings = examine(storage)
    if as_json:
        echo_json(findings)
    else:
        colour = {"ok": "green", "note": "yellow", "problem": "red"}
        width = max(len(finding.topic) for finding in findings)
        for finding in findings:
            mark = click.style(f"{finding.level:<8}", fg=colour[finding.level])
            click.echo(f"{mark}{finding.topic:<{width}}  {finding.text}")
            if finding.advice:
                click.echo(f"{'':<{8 + width}}  -> {finding.advice}")
    if any(finding.level == "problem" for finding in findings):
        click.get_current_context().exit(1)
