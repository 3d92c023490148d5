"""A study's identity, which never changes, and its control, which may."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from phyletic.errors import InvalidArgument
from phyletic.records.checkpoint import CheckpointReference
from phyletic.records.encodings import is_unicode
from phyletic.space.values import Value
from phyletic.unknown_arguments import explain_unknown_arguments

_LARGEST = sys.float_info.max


class Metric(msgspec.Struct, frozen=True):
    """A number that the training code reports, and whether higher or lower is better.

    Attributes:
        name: The name in reports, such as ``"accuracy"`` or ``"val/acc"``; 1 to 200 characters.
        mode: ``"max"`` if higher is better, ``"min"`` if lower is better.

    Raises:
        InvalidArgument: The name or the mode is not allowed.
    """

    name: str
    mode: Literal["min", "max"]

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not 1 <= len(self.name) <= 200 or not is_unicode(self.name):
            raise InvalidArgument("metric", self.name, "a name of 1 to 200 characters")
        if not isinstance(self.mode, str) or self.mode not in ("min", "max"):
            raise InvalidArgument("mode", self.mode, '"min" or "max"')


@explain_unknown_arguments
@dataclass(frozen=True, kw_only=True)
class Budget:
    """How far a study goes: the first limit reached ends it. A limit that you leave out is none.

    A larger budget continues a finished study.

    Args:
        steps: Age of every member, in steps along its lineage, at least 1; the last trial is shortened to fit.
        trials: Completed trials of the whole study, at least 1; exact.
        seconds: Time during which trials were running, in seconds above 0, over all runs of the study; it leaves out
            the machine's sleep.
        target: Score at which the study ends, finite.
        patience: How many trials in a row may complete without a new best before the study ends, at least 1.

    Raises:
        InvalidArgument: A limit is out of its range.

    Example:
        >>> Budget(steps=3000, trials=25)
        Budget(steps=3000, trials=25, seconds=None, target=None, patience=None)
    """

    steps: int | None = None
    trials: int | None = None
    seconds: float | None = None
    target: float | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        for name, limit in (("steps", self.steps), ("trials", self.trials), ("patience", self.patience)):
            if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit < 2**53):
                raise InvalidArgument(f"budget.{name}", limit, "a whole number of at least 1, or None")
        for name, number in (("seconds", self.seconds), ("target", self.target)):
            if number is None:
                continue
            if isinstance(number, bool) or not isinstance(number, (int, float)) or not abs(number) <= _LARGEST:
                raise InvalidArgument(f"budget.{name}", number, "a finite number, or None")
        if self.seconds is not None and self.seconds <= 0:
            raise InvalidArgument("budget.seconds", self.seconds, "above 0, or None")

    @property
    def unlimited(self) -> bool:
        """Whether no limit is set."""
        return self == Budget()


class StudyIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """The facts that define a study; opening it with other facts is an error.

    Attributes:
        uuid: 32 hexadecimal digits, drawn when the study was created.
        name: The study's name, unique in its storage.
        space: The search space's JSON form.
        metrics: The reported metrics; the first one ranks members.
        algorithm: The algorithm's JSON form, with the initial population.
        seed: The study derives all its randomness from it.
        initial: The user's values for the first members, by flat path; each may be incomplete.
        initial_functions: For each of them, the functions that gave values, by path, as name and hash.
        sampling: How the other first values are drawn: ``"random"``, ``"sobol"`` or ``"latin"``.
        warm_start: The checkpoint, in the study's own store, that every newborn loads; None if it loads none.
    """

    uuid: str
    name: str
    space: dict[str, Any]
    metrics: tuple[Metric, ...]
    algorithm: dict[str, Any]
    seed: int
    initial: tuple[dict[str, Value], ...] = ()
    initial_functions: tuple[dict[str, str], ...] = ()
    sampling: Literal["random", "sobol", "latin"] = "random"
    warm_start: CheckpointReference | None = None

    @property
    def metric(self) -> Metric:
        """The metric that ranks members."""
        return self.metrics[0]


class StudyControl(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that may change while a study runs; each change is a recorded event.

    Attributes:
        budget: How far the study goes.
        population: The present number of members.
        paused: Whether the study grants no new trials.
        max_failures: How many attempts at a trial may raise before its member fails.
        max_losses: How many attempts at a trial may be lost with their worker before its member fails.
        keep_best: How many of the best trials keep their checkpoints.
        enqueued: Values that wait for the next members that are decided, by flat path.
        checkpoints: Absolute path of the folder of checkpoints; None means the folder beside the storage, which moves
            with it.
    """

    budget: Budget
    population: int
    paused: bool = False
    max_failures: int = 3
    max_losses: int = 10
    keep_best: int = 1
    checkpoints: str | None = None
    enqueued: tuple[dict[str, Value], ...] = ()
