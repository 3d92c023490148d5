"""What a study is (its identity, which never changes) and how far it shall go (its control, which may)."""

from __future__ import annotations

import sys
from typing import Any, Literal

import msgspec

from phyletic.errors import InvalidArgument
from phyletic.records.values import Value, is_unicode

__all__ = ["Budget", "Metric", "StudyControl", "StudyIdentity"]

_LARGEST = sys.float_info.max


class Metric(msgspec.Struct, frozen=True):
    """A number that the training code reports, and which way is better.

    Attributes:
        name: As it is reported, such as ``"accuracy"`` or ``"val/acc"``.
        mode: ``"max"`` where higher is better, ``"min"`` where lower is.
    """

    name: str
    mode: Literal["min", "max"]

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not 1 <= len(self.name) <= 200 or not is_unicode(self.name):
            raise InvalidArgument("metric", self.name, "a name of 1 to 200 characters")
        if not isinstance(self.mode, str) or self.mode not in ("min", "max"):
            raise InvalidArgument("mode", self.mode, '"min" or "max"')


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """How far a study goes; what is left out sets no limit, and the first limit reached ends the study.

    Raising a budget continues a finished study.

    Args:
        steps: Age of every member, in steps along its lineage; the last trial is cut to fit.
        trials: Completed trials of the whole study, exactly.
        seconds: Time during which trials were running, summed over all sessions of the study; a sleep of the machine
            does not count.
        target: Score at which the study ends.

    Raises:
        InvalidArgument: A limit is not a positive number (``target``: a finite one).

    Example:
        >>> Budget(steps=3000, trials=25)
        Budget(steps=3000, trials=25, seconds=None, target=None)
    """

    steps: int | None = None
    trials: int | None = None
    seconds: float | None = None
    target: float | None = None

    def __post_init__(self) -> None:
        for name, limit in (("steps", self.steps), ("trials", self.trials)):
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
        return self.steps is None and self.trials is None and self.seconds is None and self.target is None


class StudyIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """What makes a study this study: opening it with anything else is an error.

    Attributes:
        uuid: 32 hexadecimal digits, drawn when the study was created.
        name: The study's name, unique in its storage.
        space: The search space's JSON form.
        metrics: What is reported; the first is what members are ranked by.
        algorithm: The algorithm's JSON form, with the initial population.
        seed: From which all randomness of the study is derived.
        initial: Values given by the user for the first members, by flat path; each may be partly filled.
        sampling: How other first values are drawn: ``"random"``, ``"sobol"`` or ``"latin"``.
    """

    uuid: str
    name: str
    space: dict[str, Any]
    metrics: tuple[Metric, ...]
    algorithm: dict[str, Any]
    seed: int
    initial: tuple[dict[str, Value], ...] = ()
    sampling: Literal["random", "sobol", "latin"] = "random"

    @property
    def metric(self) -> Metric:
        """The metric that members are ranked by."""
        return self.metrics[0]


class StudyControl(msgspec.Struct, frozen=True, kw_only=True):
    """What may change while a study runs, each time by a recorded event.

    Attributes:
        budget: How far the study goes.
        population: How many members it has now.
        paused: Whether new trials are withheld.
        max_failures: Attempts at a trial that may raise before its member is failed.
        max_losses: Attempts at a trial that may be lost with their worker before its member is failed.
        keep_best: How many of the best trials' checkpoints are kept.
        checkpoints: Absolute path of the folder of its checkpoints; None where that is the one beside the storage,
            which moves with it.
    """

    budget: Budget
    population: int
    paused: bool = False
    max_failures: int = 3
    max_losses: int = 10
    keep_best: int = 1
    checkpoints: str | None = None
