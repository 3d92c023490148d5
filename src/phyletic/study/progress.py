"""How far a study is: a frozen snapshot, and the words it is told in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from phyletic.records import Budget, Metric, Timings, Trial, Value

__all__ = [
    "MemberProgress",
    "Progress",
    "change_text",
    "duration",
    "lineage_text",
    "number_text",
    "short_names",
    "sorted_members",
    "summary_lines",
    "time_left",
    "totals_text",
    "value_text",
]


class MemberProgress(msgspec.Struct, frozen=True, kw_only=True):
    """One member now.

    Attributes:
        member: Its place in the population.
        state: ``"running"``, ``"waiting"`` (its trial waits for a worker), ``"idle"`` (it waits for others' results),
            ``"failed"`` (its latest trial failed), ``"done"`` (at the budget's limit).
        step: Step along the lineage it has reached, as far as known.
        limit: Step at which it is done; None without one.
        score: Score of its latest trial that has one; may be NaN; None before the first.
        best: Best finite score its trials ever had; None before the first.
        hyperparameters: Of its current trial (its latest one while it has none), by flat path.
        before: Those of its previous trial; empty before the second.
        trial: Number of that current trial; None before the first.
        parent: The trial whose checkpoint it started from; None for a newborn.
        donor: The member that checkpoint was taken from, where it was another one; else None.
        worker: Who runs it; None while nobody does.
    """

    member: int
    state: Literal["running", "waiting", "idle", "failed", "done"]
    step: int = 0
    limit: int | None = None
    score: float | None = None
    best: float | None = None
    hyperparameters: dict[str, Value] = {}
    before: dict[str, Value] = {}
    trial: int | None = None
    parent: int | None = None
    donor: int | None = None
    worker: str | None = None


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """A study now.

    Attributes:
        study: Its name.
        storage: Its storage's URL, without a password.
        metric: What members are ranked by.
        budget: How far it goes.
        members: Each member, in order.
        completed: Trials told with a score.
        open: Trials waiting or running.
        exploits: Trials that began with another member's checkpoint.
        rescues: Trials that replaced a failed one, or one whose score was not finite.
        failures: Trials that failed.
        nonfinite: Scores that were NaN or infinite.
        member_steps: Steps trained by all members together.
        seconds: Seconds since this run began.
        active_seconds: Seconds that count against ``budget.seconds``.
        timings: Where workers' time went, summed over the trials that ended.
        best: The best trial; None before the first finite score.
    """

    study: str
    storage: str
    metric: Metric
    budget: Budget
    members: tuple[MemberProgress, ...]
    completed: int = 0
    open: int = 0
    exploits: int = 0
    rescues: int = 0
    failures: int = 0
    nonfinite: int = 0
    member_steps: int = 0
    seconds: float = 0.0
    active_seconds: float = 0.0
    timings: Timings = Timings()
    best: Trial | None = None


def time_left(first: Progress, now: Progress) -> float | None:
    """Estimate the seconds until the first limit of the budget is reached; None while nothing is known.

    Args:
        first: The run's first snapshot: what is older than it says nothing about this run's speed.
        now: The latest snapshot.
    """
    passed = now.seconds - first.seconds
    estimates = []
    if now.budget.seconds is not None:
        estimates.append(now.budget.seconds - now.active_seconds)
    if now.budget.trials is not None and now.completed > first.completed and passed > 0:
        speed = (now.completed - first.completed) / passed
        estimates.append((now.budget.trials - now.completed) / speed)
    limits = [member for member in now.members if member.limit is not None]
    if limits and now.member_steps > first.member_steps and passed > 0:
        speed = (now.member_steps - first.member_steps) / passed
        estimates.append(sum(max(0, (member.limit or 0) - member.step) for member in limits) / speed)
    return max(0.0, min(estimates)) if estimates else None


def duration(seconds: float) -> str:
    """Write a time as ``h:mm:ss``.

    Example:
        >>> duration(3723.4)
        '1:02:03'
    """
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def number_text(number: float | None, digits: int = 4) -> str:
    """Write a score in few characters; ``-`` for None.

    Example:
        >>> number_text(0.97216), number_text(float("nan")), number_text(None)
        ('0.9722', 'nan', '-')
    """
    return "-" if number is None else f"{number:.{digits}g}"


def value_text(value: Value, width: int = 12, digits: int = 3) -> str:
    """Write a hyperparameter's value in few characters.

    Example:
        >>> value_text(0.00312345), value_text("nesterov-momentum"), value_text(True)
        ('0.00312', 'nesterov-mo…', 'True')
    """
    text = f"{value:.{digits}g}" if isinstance(value, float) else str(value)
    return text if len(text) <= width else text[: width - 1] + "…"


def change_text(before: Value, after: Value) -> str:
    """Say how a value changed; ``""`` if it did not.

    Example:
        >>> change_text(0.1, 0.08), change_text(2, 3), change_text("sgd", "adam"), change_text(1, 1)
        ('×0.8', '↑2', '←sgd', '')
    """
    if before == after:
        return ""
    if isinstance(before, float) and isinstance(after, float) and before * after > 0:
        ratio = after / before
        return f"×{ratio:.2g}" if ratio < 99.5 else f"×{ratio:.0f}"
    if isinstance(before, (int, float)) and isinstance(after, (int, float)) and not isinstance(after, bool):
        return f"{'↑' if after > before else '↓'}{value_text(before, 6)}"
    return f"←{value_text(before, 6)}"


def short_names(paths: Sequence[str], width: int = 12) -> dict[str, str]:
    """Return a short name for each flat path: its last parts, as many as make it unique, cut to ``width``.

    Example:
        >>> short_names(["optimizer.sgd.lr", "head.lr", "learning_rate_init"])
        {'optimizer.sgd.lr': 'sgd.lr', 'head.lr': 'head.lr', 'learning_rate_init': 'learning_ra…'}
    """
    names = {}
    for path in paths:
        parts = path.split(".")
        ends = (".".join(parts[-count:]) for count in range(1, len(parts) + 1))
        names[path] = next((end for end in ends if sum(_ends(other, end) for other in paths) == 1), path)
    cut = {path: name if len(name) <= width else name[: width - 1] + "…" for path, name in names.items()}
    # Names that begin alike are told apart by their ends.
    alike = {name for name in cut.values() if list(cut.values()).count(name) > 1}
    return {path: "…" + names[path][1 - width :] if name in alike else name for path, name in cut.items()}


def _ends(path: str, end: str) -> bool:
    return path == end or path.endswith("." + end)


def totals_text(progress: Progress) -> str:
    """Write the counts on one line; those that ought to be none are left out while they are."""
    trials = f"{progress.completed}/{progress.budget.trials}" if progress.budget.trials else str(progress.completed)
    parts = [f"{trials} trial{_s(progress.completed)}", f"{progress.open} open"]
    parts.append(f"{progress.exploits} exploit{_s(progress.exploits)}")
    if progress.rescues:
        parts.append(f"{progress.rescues} rescue{_s(progress.rescues)}")
    if progress.failures:
        parts.append(f"{progress.failures} failed")
    if progress.nonfinite:
        parts.append(f"{progress.nonfinite} score{_s(progress.nonfinite)} not finite")
    parts.append(f"{progress.member_steps} member-steps")
    return ", ".join(parts)


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def lineage_text(lineage: Sequence[Trial], most: int = 6) -> str:
    """Write a lineage as the members it went through.

    Args:
        lineage: A trial's ancestors and itself, root first.
        most: Of more members, those in the middle are only counted.
    """
    parts: list[str] = []
    for place, trial in enumerate(lineage):
        if place + 1 == len(lineage) or lineage[place + 1].member != trial.member:
            step = trial.end_step if trial.end_step is not None else trial.start_step
            parts.append(f"member {trial.member} to step {step}")
    if len(parts) > most:
        first, last = most // 2, most - most // 2
        parts = [*parts[:first], f"{len(parts) - most} other members", *parts[-last:]]
    return ", then ".join(parts)


def summary_lines(
    progress: Progress, lineage: Sequence[Trial] = (), places: Mapping[str, str] | None = None
) -> list[str]:
    """Return the lines that end a run: what was found, where it came from, and where things are.

    Args:
        progress: The last snapshot.
        lineage: The best trial's ancestors and itself, root first.
        places: Where things are, by what they are, such as ``{"checkpoint": "/home/me/..."}``.
    """
    lines = []
    best, metric = progress.best, progress.metric
    if best is None:
        lines.append(f"no trial of {progress.study} has a finite {metric.name} yet")
    else:
        where = f"trial {best.number} of member {best.member}" + (f", step {best.end_step}" if best.end_step else "")
        lines.append(f"best {metric.name} {number_text(best.score, 6)} ({metric.mode}): {where}")
        names = short_names(list(best.hyperparameters), 40)
        values = ", ".join(f"{names[path]} {value_text(value, 40, 5)}" for path, value in best.hyperparameters.items())
        lines.append(f"  hyperparameters at its end: {values}")
        if lineage:
            lines.append(f"  lineage of {len(lineage)} trial{_s(len(lineage))}: {lineage_text(lineage)}")
    lines.append(f"{totals_text(progress)}, in {duration(progress.seconds)}")
    if progress.nonfinite:
        count = progress.nonfinite
        lines.append(f"  scores that were NaN or infinite: {count}; they rank worst, and their members are rescued")
    for name, place in {"storage": progress.storage, **(places or {})}.items():
        lines.append(f"{name}: {place}")
    return lines


def sorted_members(progress: Progress) -> list[MemberProgress]:
    """Return the members, best latest score first; those without a finite one last."""
    sign = -1.0 if progress.metric.mode == "max" else 1.0

    def rank(member: MemberProgress) -> tuple[float, int]:
        known = member.score is not None and math.isfinite(member.score)
        return (sign * (member.score or 0.0) if known else math.inf, member.member)

    return sorted(progress.members, key=rank)
