"""``phyletic budget``."""

from __future__ import annotations

from typing import Any

import click

from phyletic.cli.options import json_option, storage_option

__all__ = ["budget"]

_NONE = "none"


class Limit(click.ParamType[Any]):
    """A number, or the text ``none`` for no limit.

    Args:
        whole: Whether it counts something.
    """

    def __init__(self, *, whole: bool) -> None:
        self.name = "whole number" if whole else "number"
        self._whole = whole

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number."""
        if str(value).lower() == _NONE:
            return _NONE
        try:
            return int(value) if self._whole else float(value)
        except ValueError:
            self.fail(f"{value!r} is neither a {self.name} nor {_NONE}", param, ctx)


@click.command(
    short_help="Change how far a study goes.",
    epilog="Example: phyletic budget digits --steps 5000 --seconds none --storage sqlite:///digits.db",
)
@click.argument("study")
@storage_option
@click.option("--steps", type=Limit(whole=True), metavar="N|none", help="Age of every member along its lineage.")
@click.option("--trials", type=Limit(whole=True), metavar="N|none", help="Completed trials of the whole study.")
@click.option("--seconds", type=Limit(whole=False), metavar="S|none", help="Time during which trials were running.")
@click.option("--target", type=Limit(whole=False), metavar="SCORE|none", help="Score at which the study ends.")
@json_option
def budget(study: str, storage: str, as_json: bool, **limits: Any) -> None:
    """Change how far STUDY goes, also while it runs or after it has finished.

    Limits that are not named stay as they are; none removes one. The first limit that is reached ends the study.
    """
    import msgspec

    from phyletic.cli.changing import budget_text, echo_change
    from phyletic.cli.opening import open_study

    named = {name: limit for name, limit in limits.items() if limit is not None}
    if not named:
        raise click.UsageError("name a limit: --steps, --trials, --seconds or --target")
    opened = open_study(study, storage)
    before = opened.control.budget
    after = msgspec.structs.replace(
        before, **{name: None if limit == _NONE else limit for name, limit in named.items()}
    )
    opened.set_budget(after)
    text = f"goes to {budget_text(after)}" + (f"; before, to {budget_text(before)}" if before != after else "")
    echo_change(study, "budget", before, after, text, as_json)
