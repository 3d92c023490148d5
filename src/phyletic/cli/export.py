"""``phyletic export``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from phyletic.cli.output import echo_json
from phyletic.cli.shared_options import json_option, study_argument

if TYPE_CHECKING:
    from phyletic.study.study import Study


@click.command(
    short_help="Write the best model with its schedule and lineage.",
    epilog="Example: phyletic export digits best-model --storage sqlite:///digits.db",
)
@study_argument
@click.argument("folder")
@click.option(
    "--trial", type=click.IntRange(min=0), metavar="N", help="Number of the trial.  [default: the best trial]"
)
@click.option(
    "--build",
    metavar="MODULE:build",
    help="The training code's build, to write Keras models whole; MODULE is a module's name or a .py file.",
)
@json_option
def export(study: Study, folder: str, trial: int | None, build: str | None, as_json: bool) -> None:
    """Write the best model of STUDY with its schedule and lineage to FOLDER, as files that need no phyletic to read.

    FOLDER must not exist, or be empty. Its README.md says what each file is and how to load it. A scikit-learn
    estimator stays the pickle it is, and is not opened. A checkpoint holds a Keras model's variables, not what it is
    made of: only with --build, which imports MODULE and calls the function, is a .keras file written too.
    """
    from phyletic.study.progress import number_text

    function = None
    if build is not None:
        from phyletic.cli.run import load, split_reference

        module, name = split_reference(build)
        if not module:
            raise click.BadParameter(f"{build!r} is not of the form MODULE:NAME", param_hint="--build")
        function = load(module, name)
    record = study.best if trial is None else study.trial(trial)
    target = study.export(folder, record, function)
    written = sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file())
    if as_json:
        echo_json({"study": study.name, "trial": record, "folder": str(target), "files": written})
        return
    metric = study.metrics[0]
    click.echo(
        f"trial {record.number} of study {study.name} ({metric.name} {number_text(record.score, 6)}) in {target}:"
    )
    for path in written:
        click.echo(f"  {path}")
