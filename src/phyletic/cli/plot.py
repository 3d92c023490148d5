"""``phyletic plot``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from phyletic.cli.shared_options import setting, study_argument
from phyletic.disk import local_path
from phyletic.errors import InvalidArgument

if TYPE_CHECKING:
    from phyletic.study.study import Study


@click.command(
    short_help="Draw a study.",
    epilog="Example: phyletic plot digits --kind lineage -o lineage.svg --storage sqlite:///digits.db",
)
@study_argument
@setting(
    "--kind",
    click.Choice(["summary", "scores", "schedule", "lineage", "parameters", "parallel", "animate"]),
    "summary",
    "What to draw: scores and schedules, one of these alone, the tree of lineages, hyperparameters by step or in "
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
    help="With --kind lineage: founder or score; with --kind scores, schedule or animate, and with --pair: founder or "
    "member.  [default: founder]",
)
@click.option("--dpi", type=click.IntRange(20, 600), help="Resolution.  [default: 120, and 72 for .gif]")
def plot(
    study: Study,
    kind: str,
    output: Path,
    metric: str | None,
    pair: tuple[str, str] | None,
    colour: str | None,
    dpi: int | None,
) -> None:
    """Draw STUDY into a file; the study may be running."""
    from phyletic import plots
    from phyletic.plots.kinds import metric_of, metrics_of

    endings = (".gif",) if kind == "animate" else (".png", ".svg", ".pdf")
    if output.suffix.lower() not in endings:
        fits = f"{str(output)!r} has to end in {' or '.join(endings)} with --kind {kind}"
        raise click.BadParameter(fits, param_hint="--output")
    options: dict[str, Any] = {"pair": pair, "colour": colour, "dpi": dpi if kind == "animate" else None}
    options = {name: value for name, value in options.items() if value is not None}
    if kind == "animate":
        options["kind"] = "scores" if pair is None else "parameters"
        chosen, trials = metric_of(study, metric), study.trials()
        options["reports"] = study.reports(metrics_of(options["kind"], chosen, pair))
        plots.animate(trials, study.space, chosen, **options).save(output)
    else:
        figure = plots.plot(study, kind, metric=metric, **options)
        try:
            figure.savefig(output, dpi=dpi or 120)
        except OSError as error:
            raise InvalidArgument("--output", str(output), f"a file that can be written ({error.strerror})") from error
    click.echo(f"picture: {output.resolve()}")
