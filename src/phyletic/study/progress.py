"""The progress of a study: a frozen snapshot, and the texts that show it to people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from phyletic.records import Budget, Metric, Timings, Trial, TrialState, Value
from phyletic.storage.changes import Counters
from phyletic.workers.fleet_protocol import Starting

MemberState = Literal["running", "waiting", "idle", "failed", "done"]


class MemberProgress(msgspec.Struct, frozen=True, kw_only=True):
    """One member now.

    Attributes:
        member: Its place in the population.
        state: ``"running"``, ``"waiting"`` (its trial waits for a worker), ``"idle"`` (it waits for others' results),
            ``"failed"`` (its latest trial failed), ``"done"`` (at the budget's limit).
        step: The last known step along its lineage.
        score: Score of its latest trial that has one; may be NaN; None before the first.
        best: Best finite score its trials ever had; None before the first.
        reported: What its open trial reported last of the metric; None if nothing.
        trial: Its open trial, or its latest one if none is open; None before the first.
    """

    member: int
    state: MemberState
    step: int = 0
    score: float | None = None
    best: float | None = None
    reported: float | None = None
    trial: Trial | None = None

    @property
    def donor(self) -> int | None:
        """The member whose checkpoint its trial took; None if it went on from its own."""
        donor = None if self.trial is None else self.trial.decision.donor_member
        return None if donor == self.member else donor

    @property
    def hyperparameters(self) -> dict[str, Value]:
        """The values of its trial, by flat path."""
        return {} if self.trial is None else self.trial.hyperparameters

    @property
    def changes(self) -> dict[str, str]:
        """How its trial changed values, by flat path, in few characters."""
        changes = () if self.trial is None else self.trial.decision.changes
        return {
            change.path: change_text(change.before, change.after) for change in changes if change.before is not None
        }


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """A study now.

    Attributes:
        study: Its name.
        storage: Its storage's URL, without a password.
        metric: The metric that members are ranked by.
        budget: How far the study goes.
        limit: Step at which a member is done; None without a limit.
        members: Each member, in order.
        counters: What is counted over the whole study.
        open: Trials waiting or running.
        seconds: Seconds since this run began.
        timings: How workers spent their time, summed over the trials that ended.
        best: The best trial; None before the first finite score.
        failed_attempts: How many attempts failed in this run.
        starting: The local workers that have not asked for a trial yet; None if all have.
    """

    study: str
    storage: str
    metric: Metric
    budget: Budget
    limit: int | None
    members: tuple[MemberProgress, ...]
    counters: Counters
    open: int = 0
    seconds: float = 0.0
    timings: Timings = Timings()
    best: Trial | None = None
    failed_attempts: int = 0
    starting: Starting | None = None

    @property
    def member_steps(self) -> int:
        """Steps trained, with those of the trials that run."""
        running = [one for one in self.members if one.state == "running" and one.trial is not None]
        return self.counters.member_steps + sum(max(0, one.step - one.trial.start_step) for one in running if one.trial)


def time_left(first: Progress, now: Progress) -> float | None:
    """Estimate the seconds until the first limit of the budget is reached; None while the speed is unknown.

    Args:
        first: The run's first snapshot, from which the speed is measured.
        now: The latest snapshot.
    """
    passed, budget, counters = now.seconds - first.seconds, now.budget, now.counters
    completed = counters.completed - first.counters.completed
    trained = now.member_steps - first.member_steps
    estimates = []
    if budget.seconds is not None:
        estimates.append(budget.seconds - counters.active_seconds)
    if budget.trials is not None and completed > 0 and passed > 0:
        estimates.append((budget.trials - counters.completed) * passed / completed)
    if now.limit is not None and trained > 0 and passed > 0:
        estimates.append(sum(max(0, now.limit - member.step) for member in now.members) * passed / trained)
    return max(0.0, min(estimates)) if estimates else None


def starting_text(starting: Starting) -> str:
    """Say how far the workers are that import libraries before they ask for a trial.

    Example:
        >>> starting_text(Starting(workers=2, ready=0, seconds=8.4)), starting_text(
        ...     Starting(workers=2, ready=1, seconds=95.0)
        ... )
        ('starting 2 workers, 8 s', '1 of 2 workers ready, 95 s')
    """
    if starting.ready:
        return f"{starting.ready} of {starting.workers} workers ready, {starting.seconds:.0f} s"
    passed = f", {starting.seconds:.0f} s" if starting.seconds >= 0.5 else ""
    return f"starting {starting.workers} worker{_s(starting.workers)}{passed}"


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

    Args:
        value: The value.
        width: Most characters; a longer text is cut.
        digits: Significant digits of a float.

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
    # names that begin alike differ in their ends
    alike = {name for name in cut.values() if list(cut.values()).count(name) > 1}
    return {path: "…" + names[path][1 - width :] if name in alike else name for path, name in cut.items()}


def _ends(path: str, end: str) -> bool:
    return path == end or path.endswith("." + end)


def totals_text(progress: Progress) -> str:
    """Write the counts on one line; counts of mishaps only if they are not 0."""
    counts, most = progress.counters, progress.budget.trials
    trials = f"{counts.completed}/{most}" if most else str(counts.completed)
    parts = [f"{trials} trial{_s(counts.completed)}", f"{progress.open} open"]
    parts.append(f"{counts.exploits} exploit{_s(counts.exploits)}")
    if counts.rescues:
        parts.append(f"{counts.rescues} rescue{_s(counts.rescues)}")
    if counts.failed:
        parts.append(f"{counts.failed} failed")
    if counts.nonfinite:
        parts.append(f"{counts.nonfinite} score{_s(counts.nonfinite)} not finite")
    return ", ".join([*parts, f"{counts.member_steps} member-steps"])


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def lineage_text(lineage: Sequence[Trial], most: int = 6) -> str:
    """Write a lineage as the members it went through.

    Args:
        lineage: A trial's ancestors and itself, root first.
        most: Most members to name; of more, those in the middle are only counted.
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
    """Return the lines that end a run: the best trial, its lineage, the counts and the places of files.

    Args:
        progress: The last snapshot.
        lineage: The best trial's ancestors and itself, root first.
        places: Paths by name, such as ``{"checkpoint": "/home/me/..."}``.
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
        ranked = [one for one in progress.members if one.score is not None and math.isfinite(one.score)]
        sign = 1.0 if metric.mode == "max" else -1.0
        head = max(ranked, key=lambda one: (sign * (one.score or 0.0), one.step), default=None)
        if head is not None and (head.score, head.member) != (best.score, best.member):
            lines.append(f"  best member now: {head.member}, {metric.name} {number_text(head.score, 6)}")
        if lineage:
            lines.append(f"  lineage of {len(lineage)} trial{_s(len(lineage))}: {lineage_text(lineage)}")
    lines.append(f"{totals_text(progress)}, in {duration(progress.seconds)}")
    if count := progress.counters.nonfinite:
        lines.append(f"  scores that were NaN or infinite: {count}; they rank worst, and their members are rescued")
    if progress.failed_attempts:
        count = progress.failed_attempts
        lines.append(f"{count} attempt{_s(count)} failed in this run: study.errors has each")
    for name, place in {"storage": progress.storage, **(places or {})}.items():
        lines.append(f"{name}: {place}")
    return lines


def progress_text(progress: Progress, left: float | None) -> str:
    """Return the study's state on one line.

    Args:
        progress: The study now.
        left: Estimated seconds left; None if unknown.
    """
    steps = [member.step for member in progress.members]
    least, most = min(steps, default=0), max(steps, default=0)
    reached = f"step {least}" if least == most else f"steps {least}-{most}"
    parts = [duration(progress.seconds), reached, totals_text(progress)]
    if (best := progress.best) is not None:
        parts.append(f"best {progress.metric.name} {number_text(best.score, 5)} (trial {best.number})")
    if left:
        parts.append(f"about {duration(left)} left")
    return " | ".join(parts)


def exploit_text(trial: Trial) -> str:
    """Return on one line what a member took from another, and which values changed."""
    decision, source = trial.decision, "starts afresh"
    if decision.donor_member is not None:
        taken = "weights and hyperparameters" if decision.inherited == "both" else decision.inherited
        source = f"takes {taken} of member {decision.donor_member} at step {trial.start_step}"
    changed = ", ".join(
        f"{change.path} {value_text(change.before, 30, 5)} to {value_text(change.after, 30, 5)}"
        for change in decision.changes
    )
    return f"member {trial.member} {decision.kind}: {source}" + (f"; {changed}" if changed else "")


def failure_text(trial: Trial) -> str:
    """Return on one line that a trial failed, and its error."""
    lines = (trial.error or "no error was recorded").strip().splitlines()
    return f"member {trial.member} trial {trial.number} failed after {trial.attempts} attempts: {lines[-1]}"


def damage_text(given_up: Trial, trial: Trial) -> str:
    """Return on one line that a checkpoint was damaged, and which trial replaces the one that loaded it.

    Args:
        given_up: The trial that was given up.
        trial: The trial that replaces it.
    """
    origin = "the beginning" if trial.parent is None else f"trial {trial.parent}"
    return (
        f"warning: the checkpoint of trial {given_up.parent} is damaged, so trial {given_up.number} of member "
        f"{given_up.member} was given up; trial {trial.number} takes its place and starts from {origin}"
    )


def ended_text(trial: Trial) -> str:
    """Return a trial's result on one line."""
    score = "handed back early" if trial.state is TrialState.PARTIAL else f"score {number_text(trial.score, 5)}"
    values = ", ".join(f"{path} {value_text(value)}" for path, value in trial.hyperparameters.items())
    return (
        f"member {trial.member} trial {trial.number}: step {trial.start_step} to {trial.end_step}, {score}; {values}"
        f" ({trial.timings.training:.2f} s training)"
    )
