"""Early stopping: ending trials that are not worth finishing (Li et al. 2019, arXiv 1902.01894).

A rule compares the reports of a running trial with those of others at the same point. A stopped trial completes with
its reports so far, and its member then copies a donor, whatever the exploit rule says. Reports come at different times
in each run, so a study with early stopping depends on the number of workers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

from phyletic.errors import InvalidArgument
from phyletic.evolution.arguments import check_integer
from phyletic.evolution.user_function import function_hash, qualified_name
from phyletic.unknown_arguments import explain_unknown_arguments

Mode = Literal["max", "min"]
MOST_CURVES = 64
"""How many ended trials a running one is compared with: those with the highest numbers."""


class TrialCurve(msgspec.Struct, frozen=True, kw_only=True):
    """The reports of a trial.

    Attributes:
        trial: The trial's number.
        member: Its member.
        start_step: Its first step along the lineage.
        running: Whether it still runs.
        points: ``(step, value)`` of the metric that members are ranked by, in the order of the reports; the steps are
            along the lineage.
        latest: The latest value of each metric that was reported.
    """

    trial: int
    member: int
    start_step: int
    running: bool
    points: tuple[tuple[int, float], ...]
    latest: Mapping[str, float] = {}


EarlyStopFunction = Callable[[TrialCurve, Sequence[TrialCurve]], bool]
"""A user's rule: ``(curve, others) -> whether to stop``."""


@runtime_checkable
class EarlyStop(Protocol):
    """A rule that decides whether a running trial is worth finishing."""

    def hopeless(self, curve: TrialCurve, others: Sequence[TrialCurve], mode: Mode) -> bool:
        """Whether a running trial is not worth finishing.

        Args:
            curve: The reports of the trial.
            others: The reports of the other running trials and of the latest ended ones.
            mode: Which way the metric is better.
        """
        ...


@dataclass(frozen=True)
class NonFiniteStopping:
    """Stop a trial whose latest value of any metric is NaN or infinite.

    Example:
        >>> curve = TrialCurve(trial=3, member=0, start_step=0, running=True, points=(), latest={"loss": float("nan")})
        >>> NonFiniteStopping().hopeless(curve, (), "max")
        True
    """

    def hopeless(self, curve: TrialCurve, others: Sequence[TrialCurve], mode: Mode) -> bool:
        """Whether a latest value is not finite."""
        return not all(map(math.isfinite, curve.latest.values()))


@explain_unknown_arguments
@dataclass(frozen=True)
class MedianStopping:
    """Stop a trial whose best value so far is worse than the median of the others' averages up to the same step.

    The median stopping rule of Golovin et al. 2017 ("Google Vizier"), on steps along the lineage, so that a member is
    compared with others at the same age.

    Args:
        grace: Reports that a trial makes before it can be stopped, at least 1.
        least: Others that must have reported up to that step, at least 1.

    Raises:
        InvalidArgument: An argument is out of its range.
    """

    grace: int = 2
    least: int = 3

    def __post_init__(self) -> None:
        check_integer("grace", self.grace, 1)
        check_integer("least", self.least, 1)

    def hopeless(self, curve: TrialCurve, others: Sequence[TrialCurve], mode: Mode) -> bool:
        """Whether the best value so far is on the wrong side of the median of running averages."""
        values = [value for _, value in curve.points if math.isfinite(value)]
        if len(curve.points) < self.grace or not values:
            return False
        at = curve.points[-1][0]
        averages = []
        for other in others:
            reached = [value for step, value in other.points if step <= at and math.isfinite(value)]
            if reached and other.points[-1][0] >= at > other.start_step:
                averages.append(fmean(reached))
        if len(averages) < self.least:
            return False
        middle = median(averages)
        return max(values) < middle if mode == "max" else min(values) > middle


@dataclass(frozen=True)
class EarlyStopRule:
    """A user's function as a rule; a study remembers its name and a hash of its source."""

    qualified_name: str
    hash: str
    function: EarlyStopFunction | None = field(default=None, compare=False, repr=False)

    def hopeless(self, curve: TrialCurve, others: Sequence[TrialCurve], mode: Mode) -> bool:
        """Call the function.

        Raises:
            InvalidArgument: The function is not known in this process.
        """
        if self.function is None:
            raise InvalidArgument(
                "early_stopping",
                self.qualified_name,
                "a function that this process has",
                "Pass the same algorithm again",
            )
        return bool(self.function(curve, others))


def as_early_stop(given: Any) -> tuple[EarlyStop, ...]:
    """Return the rules of a user's argument; a function becomes a rule.

    Args:
        given: None, a rule, a function, or a list of rules and functions.

    Raises:
        InvalidArgument: The argument is anything else.
    """
    if given is None:
        return ()
    if isinstance(given, (list, tuple)):
        return tuple(rule for item in given for rule in as_early_stop(item))
    if isinstance(given, EarlyStop) and not isinstance(given, type):
        return (given,)
    if callable(given) and not isinstance(given, type):
        return (EarlyStopRule(qualified_name(given), function_hash(given), given),)
    allowed = "NonFiniteStopping(), MedianStopping(), a function (curve, others) -> bool, a list of these, or None"
    raise InvalidArgument("early_stopping", given, allowed)


def stopped_by_rules(rules: Sequence[EarlyStop], curves: Sequence[TrialCurve], mode: Mode) -> tuple[int, ...]:
    """Return the numbers of the running trials that at least one rule would stop.

    Args:
        rules: The rules.
        curves: The reports of the running trials and of the latest ended ones.
        mode: Which way the metric is better.
    """
    found = []
    for curve in curves:
        if curve.running:
            others = [other for other in curves if other.trial != curve.trial]
            if any(rule.hopeless(curve, others, mode) for rule in rules):
                found.append(curve.trial)
    return tuple(found)
