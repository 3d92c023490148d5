"""One short training segment."""

from __future__ import annotations

import enum
import math
from typing import Protocol

import msgspec

from phyletic.errors import InvalidArgument
from phyletic.records.checkpoint import CheckpointReference, SavedState
from phyletic.records.decision import Decision
from phyletic.records.notebook import html_table, value_text
from phyletic.space.values import Value

_MOST_VALUES = 20


class _Printer(Protocol):
    """What IPython prints to."""

    def text(self, text: str) -> None: ...


class TrialState(enum.StrEnum):
    """The state of a trial."""

    WAITING = "waiting"
    """Decided, and ready to be granted."""
    RUNNING = "running"
    """Granted to a session."""
    COMPLETED = "completed"
    """Told, with a score."""
    PARTIAL = "partial"
    """Handed back early, with a checkpoint and without a score; its member continues from there."""
    FAILED = "failed"
    """Given up after too many attempts; its member is rescued."""

    @property
    def open(self) -> bool:
        """Whether the trial has not ended yet."""
        return self is TrialState.WAITING or self is TrialState.RUNNING


class Timings(msgspec.Struct, frozen=True, omit_defaults=True):
    """The parts of an attempt's time, in seconds."""

    waiting: float = 0.0
    loading: float = 0.0
    training: float = 0.0
    evaluating: float = 0.0
    saving: float = 0.0


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One training segment: fixed hyperparameters, from a parent's checkpoint, for a number of steps.

    Attributes:
        number: The trial's number in the study, from 0, in the order of decisions.
        member: Place in the population, from 0.
        generation: How many trials its member had before.
        parent: Number of the trial whose checkpoint it starts from; None for a newborn.
        hyperparameters: Values by flat path.
        start_step: Steps along the lineage before it: the parent's ``end_step``.
        steps: Steps asked for; None if ``seconds`` limits it.
        seconds: Seconds asked for; None if ``steps`` limits it.
        seed: Seed of its training code, below 2**32.
        state: The trial's state.
        decision: Why it has its parent and its hyperparameters.
        end_step: ``start_step`` plus the steps done; None while it is open, or if it failed.
        score: The value of the study's first metric; None without one.
        metrics: Final values by name.
        checkpoint: The checkpoint it left; None if it left none.
        saved: The latest save within it, from which a retry goes on; None once it has ended.
        worker: Name of the worker that runs its latest attempt, or ran it.
        attempts: How often it was granted.
        failures: How many attempts raised.
        losses: How many attempts were lost with their worker.
        timings: The parts of the completing attempt's time.
        applied: The values that took effect, by path, as ``apply`` read them back.
        remarks: What a person should know about how it trained, such as a value that nothing could read back.
        error: The error of its latest failed attempt; None if no attempt failed.
        created: When it was decided, in seconds since 1970.
        started: When its latest attempt was granted, in seconds since 1970; None before.
        finished: When it ended, in seconds since 1970; None before.
    """

    number: int
    member: int
    generation: int
    parent: int | None
    hyperparameters: dict[str, Value]
    start_step: int
    steps: int | None
    seconds: float | None = None
    seed: int
    state: TrialState
    decision: Decision
    end_step: int | None = None
    score: float | None = None
    metrics: dict[str, float] = {}
    checkpoint: CheckpointReference | None = None
    saved: SavedState | None = None
    worker: str | None = None
    attempts: int = 0
    failures: int = 0
    losses: int = 0
    timings: Timings = Timings()
    applied: dict[str, Value] = {}
    remarks: tuple[str, ...] = ()
    error: str | None = None
    created: float = 0.0
    started: float | None = None
    finished: float | None = None

    def __post_init__(self) -> None:
        if self.number < 0 or self.member < 0 or self.generation < 0:
            raise InvalidArgument("trial", (self.number, self.member, self.generation), "counted from 0")
        if self.parent is not None and not 0 <= self.parent < self.number:
            raise InvalidArgument("trial.parent", self.parent, f"an earlier trial than {self.number}")
        if self.start_step < 0:
            raise InvalidArgument("trial.start_step", self.start_step, "at least 0")
        if self.steps is not None and self.steps < 1:
            raise InvalidArgument("trial.steps", self.steps, "at least 1, or None")
        if self.end_step is not None and self.end_step < self.start_step:
            raise InvalidArgument("trial.end_step", self.end_step, f"at least start_step, {self.start_step}")

    def __str__(self) -> str:
        shown = [f"\n  {path} {value_text(value)}" for path, value in self.hyperparameters.items()]
        if len(shown) > _MOST_VALUES:
            shown[_MOST_VALUES:] = [f"\n  and {len(shown) - _MOST_VALUES} more hyperparameters"]
        if self.state is TrialState.FAILED:
            shown.append(f"\n  error: {self._last_error}")
        score = "" if self.score is None else f", score {value_text(self.score)}"
        return f"trial {self.number} of member {self.member}, {self.state}, steps {self._span}{score}{''.join(shown)}"

    def _repr_pretty_(self, printer: _Printer, cycle: bool) -> None:
        """Print it as ``print`` does in IPython, also within lists."""
        printer.text(str(self))

    def _repr_html_(self) -> str:
        """Return a table for notebooks: state, steps, score and hyperparameters."""
        facts = [("state", self.state), ("steps", self._span), ("score", self.score), ("decision", self.decision.kind)]
        if self.state is TrialState.FAILED:
            facts.append(("error", self._last_error))
        caption = f"trial {self.number} of member {self.member}"
        return html_table(caption, [], [*facts, *self.hyperparameters.items()])

    @property
    def _span(self) -> str:
        end = self.end_step
        if end is None and self.steps is not None:
            end = self.start_step + self.steps
        return f"{self.start_step} to {'?' if end is None else end}"

    @property
    def _last_error(self) -> str:
        return (self.error or "").strip().rpartition("\n")[2]

    @property
    def newborn(self) -> bool:
        """Whether the trial starts without a parent's checkpoint."""
        return self.parent is None

    @property
    def steps_done(self) -> int | None:
        """Steps trained; None while it is open, or if it failed."""
        return None if self.end_step is None else self.end_step - self.start_step

    @property
    def finite(self) -> bool:
        """Whether the trial has a score that is a finite number."""
        return self.score is not None and math.isfinite(self.score)
