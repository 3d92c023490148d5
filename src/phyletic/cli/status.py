"""The commands that print the status of studies: studies, show."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from phyletic.cli.output import budget_text, echo_json, echo_table, moment
from phyletic.cli.shared_options import json_option, setting, storage_option, study_argument

if TYPE_CHECKING:
    from phyletic.records import Event, Trial
    from phyletic.study.status import StudyStatus
    from phyletic.study.study import Study


@click.command(
    short_help="List the studies in a storage.", epilog="Example: phyletic studies --storage sqlite:///digits.db"
)
@storage_option
@json_option
def studies(storage: str, as_json: bool) -> None:
    """List the studies in a storage, in the order in which they were created."""
    from phyletic.study import study
    from phyletic.study.progress import number_text

    found = [study.Study(identity.name, storage=storage).status() for identity in study.studies(storage)]
    if as_json:
        echo_json(found)
        return
    if not found:
        click.echo(f"{storage} holds no study")
        return
    rows = [
        [
            status.name,
            status.state,
            f"{status.metric.name} ({status.metric.mode})",
            number_text(status.best_score, 6),
            str(status.population),
            str(status.trials.get("completed", 0)),
            moment(status.created),
        ]
        for status in found
    ]
    echo_table(["study", "state", "metric", "best", "members", "completed", "created"], rows, left=(0, 1, 2, 6))


@click.command(
    short_help="Print how far a study is.",
    epilog="Example: phyletic show digits --storage sqlite:///digits.db --events 5",
)
@study_argument
@setting("--events", click.IntRange(min=0), 10, "How many of the latest events to print.")
@json_option
def show(study: Study, events: int, as_json: bool) -> None:
    """Print how far STUDY is: its state, budget, members, latest events and log files."""
    from phyletic.study.status import details_of

    details = details_of(study, events)
    if as_json:
        echo_json(details)
        return
    _echo_status(details.status)
    click.echo()
    _echo_members(details.members)
    for title, lines in (
        ("latest events:", [_event_text(event) for event in details.events]),
        ("other versions:", details.versions),
        ("log files:", details.status.logs),
    ):
        if lines:
            click.echo("\n  ".join([f"\n{title}", *lines]))


def _echo_status(status: StudyStatus) -> None:
    from phyletic.study.progress import duration, number_text

    counted = ", ".join(f"{count} {state}" for state, count in status.trials.items() if count)
    best = "none yet" if status.best is None else f"{number_text(status.best_score, 6)} in trial {status.best}"
    head = "none yet"
    if status.best_head is not None:
        head = f"{status.best_member}, {number_text(status.best_head_score, 6)} now in trial {status.best_head}"
    for name, text in (
        ("study", f"{status.name} ({status.state})"),
        ("storage", status.storage),
        ("created", moment(status.created)),
        ("metric", f"{status.metric.name} ({status.metric.mode})"),
        ("best", best),
        ("best member", head),
        ("algorithm", f"{status.algorithm}, {status.population} members"),
        ("budget", budget_text(status.budget)),
        ("trials", counted or "none yet"),
        ("trained", f"{status.member_steps} member-steps in {duration(status.active_seconds)}"),
        ("checkpoints", status.checkpoints),
    ):
        click.echo(f"{name:<12}{text}")


def _echo_members(heads: Sequence[Trial]) -> None:
    from phyletic.study.progress import number_text, short_names, value_text

    if not heads:
        click.echo("no trial yet")
        return
    names = short_names(list(dict.fromkeys(path for trial in heads for path in trial.hyperparameters)))
    rows = []
    for trial in heads:
        step = trial.end_step if trial.end_step is not None else trial.start_step
        given = trial.hyperparameters
        values = [value_text(given[path], digits=4) if path in given else "" for path in names]
        facts = (trial.member, trial.number, trial.state, step)
        rows.append([*map(str, facts), number_text(trial.score, 5), *values])
    echo_table(["member", "trial", "state", "step", "score", *names.values()], rows, left=(2,))


def _event_text(event: Event) -> str:
    facts = event.payload if event.trial is None else {"trial": event.trial, **event.payload}
    particulars = json.dumps(facts, default=str, ensure_ascii=False) if facts else ""
    if len(particulars) > 160:
        particulars = particulars[:159] + "…"
    return f"{moment(event.at)}  {event.kind}  {particulars}".rstrip()
