"""``phyletic plot``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from phyletic.cli.shared_options import open_study, storage_option
from phyletic.disk import local_folder, local_path
from phyletic.errors import InvalidArgument

__all__ = ["plot"]

_KINDS = ("summary", "scores", "schedule", "lineage", "parameters", "parallel", "animate")
_SUFFIXES = (".png", ".svg", ".pdf", ".gif")


@click.command(
    short_help="Draw a study.",
    epilog="Example: phyletic plot digits --kind lineage -o lineage.svg --storage sqlite:///digits.db",
)
@click.argument("study")
@storage_option
@click.option(
    "--kind",
    type=click.Choice(_KINDS),
    default="summary",
    show_default=True,
    help="What to draw: scores and schedules, one of these alone, the tree of lineages, hyperparameters by step or in "
    "pairs, all of them in parallel, or the scores (with --pair two hyperparameters) as they grew.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    callback=lambda context, option, given: local_path("--output", given, "the name of a file"),
    metavar="FILE",
    help="Where to; its ending is the format: .png, .svg or .pdf, and .gif with --kind animate.",
)
@click.option(
    "--metric", metavar="NAME", help="One of the study's metrics.  [default: the one that members are ranked by]"
)
@click.option(
    "--pair",
    nargs=2,
    metavar="X Y",
    help="With --kind parameters or animate: two hyperparameters or metrics, drawn against each other.",
)
@click.option(
    "--colour",
    type=click.Choice(["founder", "score", "member"]),
    help="With --kind lineage: founder or score; with --pair: founder or member.  [default: founder]",
)
@click.option("--dpi", type=click.IntRange(20, 600), help="Resolution.  [default: 120, and 72 for .gif]")
def plot(
    study: str,
    storage: str,
    kind: str,
    output: Path,
    metric: str | None,
    pair: tuple[str, str] | None,
    colour: str | None,
    dpi: int | None,
) -> None:
    """Draw STUDY into a file; the study may be running."""
    options = _options(kind, output, pair, colour)

    from phyletic import plots
    from phyletic.plots.kinds import metric_of

    opened = open_study(study, storage)
    if kind == "animate":
        if dpi is not None:
            options["dpi"] = dpi
        plots.animate(opened.trials(), opened.space, metric_of(opened, metric), **options).save(output)
    else:
        figure = plots.plot(opened, kind, metric=metric, **options)
        try:
            figure.savefig(output, dpi=dpi or 120)
        except OSError as error:
            raise InvalidArgument("--output", str(output), f"a file that can be written ({error.strerror})") from error
    click.echo(f"picture: {output.resolve()}")


def _options(kind: str, output: Path, pair: tuple[str, str] | None, colour: str | None) -> dict[str, Any]:
    """Return what the drawing function is given.

    Raises:
        click.UsageError: Two options do not go together, or the file's format is not known.
    """
    suffix = output.suffix.lower()
    if suffix not in _SUFFIXES or (suffix == ".gif") != (kind == "animate"):
        wanted = ".gif" if kind == "animate" else ".png, .svg or .pdf"
        raise click.BadParameter(f"{str(output)!r} has to end in {wanted} with --kind {kind}", param_hint="--output")
    try:
        local_folder("--output", output.parent, "a file in a folder that exists")
    except InvalidArgument as error:
        raise click.BadParameter(f"there is no folder {str(output.parent)!r}", param_hint="--output") from error
    options: dict[str, Any] = {}
    if pair is not None:
        if kind not in ("parameters", "animate"):
            raise click.BadParameter(f"it does not go with --kind {kind}", param_hint="--pair")
        options["pair"] = pair
        if kind == "animate":
            options["kind"] = "parameters"
    if colour is not None:
        allowed = {"lineage": ("founder", "score")}.get(kind, ("founder", "member") if pair else ())
        if colour not in allowed:
            fits = f"use {' or '.join(allowed)}" if allowed else "it goes with --kind lineage, or with --pair"
            raise click.BadParameter(f"{colour!r} does not go with --kind {kind}: {fits}", param_hint="--colour")
        options["colour"] = colour
    return options
