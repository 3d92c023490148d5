"""What ``chaos.py`` did and saw."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from phyletic.records import Trial

__all__ = ["Figures", "rows"]


@dataclass
class Figures:
    """What was done and seen."""

    kills: Counter[str] = field(default_factory=Counter)
    studies: Counter[str] = field(default_factory=Counter)
    owners: int = 0
    trials: int = 0
    attempts: int = 0
    acknowledged: int = 0
    verified: int = 0
    unfinished: int = 0
    opened: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def finished(self, kind: str, said: Sequence[Sequence[Any]], trials: Sequence[Trial]) -> None:
        """Take the figures of a study that has come to its end.

        Args:
            kind: What it is.
            said: What its processes noted.
            trials: Its trials.
        """
        self.studies[kind] += 1
        self.opened += [line[1] for line in said if line[0] == "opened"]
        self.acknowledged += len({line[1] for line in said if line[0] == "told"})
        self.trials += len(trials)
        self.attempts += sum(trial.attempts for trial in trials)


def rows(figures: Figures) -> list[dict[str, object]]:
    """Return the figures, for printing."""
    found: list[tuple[str, object]] = [("kills (SIGKILL)", sum(figures.kills.values()))]
    found += [(f"  {way}", count) for way, count in sorted(figures.kills.items())]
    found += [("studies run to their end", sum(figures.studies.values()))]
    found += [(f"  {kind}", count) for kind, count in sorted(figures.studies.items())]
    found += [
        ("openings of a study", figures.owners),
        ("trials completed", figures.trials),
        ("attempts that a kill ended", figures.attempts - figures.trials),
        ("acknowledged results compared", figures.acknowledged),
        ("checkpoints compared with their digest", figures.verified),
        ("unfinished checkpoints found and deleted", figures.unfinished),
        ("seconds to open, median and longest", _spread(figures.opened)),
        ("seconds until no process was left, likewise", _spread(figures.ended)),
        ("violations", len(figures.wrong)),
    ]
    return [{"what": what, "figure": figure} for what, figure in found]


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.3f}, {max(values):.3f}" if values else "none"
