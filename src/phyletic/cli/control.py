"""The commands that change a study, even while another process runs it: resize, pause, resume, stop, budget, pin."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from phyletic.cli.output import budget_text, echo_json
from phyletic.cli.shared_options import json_option, study_argument

if TYPE_CHECKING:
    from phyletic.study.study import Study

_Said = tuple[dict[str, Any], str]
"""The output of a command: a JSON document, and one line for people."""


def _control(
    short_help: str, example: str, *own: Callable[[Any], Any]
) -> Callable[[Callable[..., _Said]], click.Command]:
    """Make a command of a function that changes a study and returns the output.

    Args:
        short_help: For the list of commands.
        example: The arguments of an example, without the storage.
        *own: Decorators that add further arguments and options to STUDY, ``--storage`` and ``--json``.
    """

    def command(change: Callable[..., _Said]) -> click.Command:
        @functools.wraps(change)
        def run(study: Study, as_json: bool, **given: Any) -> None:
            document, line = change(study, **given)
            if as_json:
                echo_json({"study": study.name, **document})
            else:
                click.echo(f"{study.name}: {line}")

        decorated: Any = run
        for decorate in (json_option, *reversed(own), study_argument):
            decorated = decorate(decorated)
        epilog = f"Example: phyletic {change.__name__} {example} --storage sqlite:///digits.db"
        made: click.Command = click.command(short_help=short_help, epilog=epilog)(decorated)
        return made

    return command


def _changed(setting: str, before: object, after: object, line: str) -> _Said:
    """Return the output for a setting that was changed, or that already had the value.

    Args:
        setting: The setting's name.
        before: Its value before the command.
        after: Its value now.
        line: The text to print.
    """
    same = " already; nothing was changed" if before == after else ""
    return {"setting": setting, "before": before, "after": after}, line + same


@_control("Change the number of members.", "digits 12", click.argument("population", type=int))
def resize(study: Study, population: int) -> _Said:
    """Change the number of members of STUDY to POPULATION, also while it runs.

    New members are born; members with the highest numbers are removed once their running trials have ended.
    """
    before = study.control.population
    study.resize(population)
    line = f"{population} member{'s' * (population != 1)}" + (f", {before} before" if before != population else "")
    return _changed("population", before, population, line)


@_control("Grant no more trials for now.", "digits")
def pause(study: Study) -> _Said:
    """Grant no more trials of STUDY, also while it runs, until it is resumed; what runs goes on to its end."""
    before = study.control.paused
    study.pause()
    return _changed("paused", before, True, "paused")


@_control("Grant trials again.", "digits")
def resume(study: Study) -> _Said:
    """Grant trials of STUDY again, after it was paused."""
    before = study.control.paused
    study.resume()
    return _changed("paused", before, False, "grants trials")


@_control(
    "End the run of a study, as Ctrl-C does.",
    "digits",
    click.option("--now", is_flag=True, help="Release running trials at once, as a second Ctrl-C does."),
)
def stop(study: Study, now: bool) -> _Said:
    """End the run of STUDY that goes on in another process, once its running trials have finished.

    It goes on when it is run again.
    """
    study.stop(now=now)
    when = "now" if now else "when its running trials have finished"
    return {"stopping": when.replace("its ", "")}, f"its run ends {when}"


def _limit(kind: type[int] | type[float]) -> Callable[[str], Any]:
    """Return a function that reads a number of a kind, or the text ``none`` for no limit."""

    def read(text: str) -> Any:
        try:
            return "none" if text.lower() == "none" else kind(text)
        except ValueError:
            raise click.BadParameter(
                f"{text!r} is neither {'a whole number' if kind is int else 'a number'} nor none"
            ) from None

    return read


@_control(
    "Change how far a study goes.",
    "digits --steps 5000 --seconds none",
    click.option("--steps", type=_limit(int), metavar="N|none", help="Age of every member along its lineage."),
    click.option("--trials", type=_limit(int), metavar="N|none", help="Completed trials of the whole study."),
    click.option("--seconds", type=_limit(float), metavar="S|none", help="Time during which trials were running."),
    click.option("--target", type=_limit(float), metavar="SCORE|none", help="Score at which the study ends."),
    click.option("--patience", type=_limit(int), metavar="N|none", help="Trials in a row without a new best."),
)
def budget(study: Study, **limits: Any) -> _Said:
    """Change how far STUDY goes, also while it runs or after it has finished.

    Limits that are not named stay as they are; none removes one. The first limit that is reached ends the study.
    """
    named = {name: None if limit == "none" else limit for name, limit in limits.items() if limit is not None}
    if not named:
        raise click.UsageError("name a limit: --steps, --trials, --seconds, --target or --patience")
    before = study.control.budget
    after = dataclasses.replace(before, **named)
    study.set_budget(after)
    line = f"goes to {budget_text(after)}" + (f"; before, to {budget_text(before)}" if before != after else "")
    return _changed("budget", before, after, line)


@_control(
    "Delete a study.",
    "digits --yes",
    click.option("--yes", is_flag=True, help="Do not ask whether it is meant."),
)
def delete(study: Study, yes: bool) -> _Said:
    """Delete STUDY with all its trials and checkpoints, for good.

    It must not be running. Logs of workers are left.
    """
    from phyletic.study.study import delete_study

    if not yes:
        click.confirm(f"delete study {study.name} with {len(study.trials())} trials and their checkpoints?", abort=True)
    name, storage = study.name, study.storage
    study.close()
    delete_study(name, storage)
    return {"deleted": True}, "deleted"


@_control(
    "Keep a trial's checkpoint for good.",
    "digits 17",
    click.argument("trial", type=click.IntRange(min=0)),
    click.option("--unpin", is_flag=True, help="Keep it no longer than it is needed."),
)
def pin(study: Study, trial: int, unpin: bool) -> _Said:
    """Keep the checkpoint of trial number TRIAL of STUDY for good, also while the study runs."""
    study.pin(trial, keep=not unpin)
    kept = "no longer than it is needed" if unpin else "for good"
    return {"trial": trial, "pinned": not unpin}, f"the checkpoint of trial {trial} is kept {kept}"
