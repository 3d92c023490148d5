"""What the commands that change a study print."""

from __future__ import annotations

import click

from phyletic.records import Budget

__all__ = ["budget_text", "echo_change"]


def echo_change(study: str, setting: str, before: object, after: object, text: str, as_json: bool) -> None:
    """Say in one line what a command changed, or that it was so already.

    Args:
        study: The study's name.
        setting: What was changed, as JSON names it.
        before: Its value before.
        after: Its value now.
        text: What holds now, for people.
        as_json: Whether to print ``{"study": ..., "setting": ..., "before": ..., "after": ...}`` instead.
    """
    from phyletic.cli.output import echo_json

    if as_json:
        echo_json({"study": study, "setting": setting, "before": before, "after": after})
    else:
        click.echo(f"{study}: {text}" + (" already; nothing was changed" if before == after else ""))


def budget_text(budget: Budget) -> str:
    """Write a budget's limits."""
    limits = {
        "steps of each member": budget.steps,
        "trials": budget.trials,
        "seconds": budget.seconds,
        "as target": budget.target,
    }
    return ", ".join(f"{limit:.15g} {name}" for name, limit in limits.items() if limit is not None) or "no limit"
