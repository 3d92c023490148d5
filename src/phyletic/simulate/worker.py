"""A simulated worker: what it trains and what becomes of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from phyletic.coordinator.messages import Command, Fail, Grant, Tell
from phyletic.randomness import RandomStream
from phyletic.records import CheckpointReference, Evaluation, Timings
from phyletic.simulate.curve import DriftingCurve
from phyletic.simulate.faults import Faults, Speeds

__all__ = ["Attempt", "Fate", "Worker", "attempt_at", "happens"]

Fate = Literal["ends", "crashes", "sleeps", "raises", "damaged"]


@dataclass
class Worker:
    """One worker.

    Attributes:
        name: Its name.
        session: The present incarnation.
        seconds_per_step: How fast it is.
        joined: When it came.
        left: When it left for good, or died; None while it is there.
        attempt: What it runs; None while it does not.
        memory: Number of the trial whose end it has in memory.
        awaited: Number of the request whose answer it waits for; None while it waits for none.
        request: That request.
        idle: Whether it was told that there is nothing to run now.
        finished: Whether it was told that there is nothing left to run.
        detached: Whether the owner cannot look at it.
        cut: Until when it reaches nobody.
        asleep: Whether it is suspended.
        busy: Seconds of attempts whose results were taken.
    """

    name: str
    session: str
    seconds_per_step: float
    joined: float
    left: float | None = None
    attempt: Attempt | None = None
    memory: int | None = None
    awaited: int | None = None
    request: tuple[Command, ...] = ()
    idle: bool = False
    finished: bool = False
    detached: bool = False
    cut: float = 0.0
    asleep: bool = False
    busy: float = 0.0


@dataclass(frozen=True)
class Attempt:
    """What will become of a granted trial; decided when it begins.

    Attributes:
        grant: The trial.
        fate: How it ends.
        seconds: After how long.
        loss: The loss at its end.
        steps_done: Steps trained by then.
        partial: Whether it is handed back early.
    """

    grant: Grant
    fate: Fate
    seconds: float
    loss: float
    steps_done: int
    partial: bool = False

    def incidents(self) -> dict[str, int]:
        """Return what of it went wrong in the training code, by the names of :class:`~phyletic.simulate.Incidents`."""
        if self.fate in ("raises", "damaged"):
            return {"raised": self.fate == "raises", "damaged": self.fate == "damaged"}
        uneven = self.grant.trial.steps not in (None, self.steps_done) and not self.partial
        return {"partial": self.partial, "uneven": uneven, "not_finite": not math.isfinite(self.loss)}

    def result(self, metric: str, mode: str, curve: DriftingCurve) -> Tell | Fail:
        """Return what is said of it at its end."""
        trial, lease = self.grant.trial, self.grant.lease
        if self.fate == "raises":
            return Fail(lease=lease, error="the training code raised")
        if self.fate == "damaged":
            return Fail(lease=lease, error="the parent's checkpoint is damaged", cause="damaged")
        end = trial.start_step + self.steps_done
        score = self.loss if mode == "min" else -self.loss
        evaluations: tuple[Evaluation, ...] = ()
        if not self.partial:
            evaluations = (Evaluation(end, metric, score), Evaluation(end, "regret", curve.regret(self.loss, end)))
        return Tell(
            lease=lease,
            evaluations=evaluations,
            steps_done=self.steps_done,
            checkpoint=CheckpointReference(self.grant.checkpoint, f"loss:{self.loss!r}", 8),
            partial=self.partial,
            timings=Timings(training=self.seconds),
        )


def attempt_at(
    grant: Grant,
    loss: float,
    worker: Worker,
    *,
    curve: DriftingCurve,
    speeds: Speeds,
    faults: Faults,
    chance: RandomStream,
) -> Attempt:
    """Decide what becomes of an attempt.

    Args:
        grant: The trial.
        loss: The loss in its parent's checkpoint, or at birth.
        worker: Who runs it.
        curve: How it learns.
        speeds: How long it takes.
        faults: What may go wrong.
        chance: Whether it does.
    """
    trial = grant.trial
    steps = trial.steps if trial.steps is not None else max(1, round((trial.seconds or 1.0) / worker.seconds_per_step))
    partial = steps > 1 and happens(faults.partial, chance)
    if partial:
        steps = 1 + chance.integer(steps - 1)
    elif happens(faults.uneven, chance):
        steps = 1 + chance.integer(2 * steps)
    stream = RandomStream(trial.seed) if curve.noise else None
    rate = float(trial.hyperparameters["lr"])  # type: ignore[arg-type]
    if math.isfinite(loss):
        for step in range(trial.start_step, trial.start_step + steps):
            loss = curve.step(loss, rate, step, stream)
        if happens(faults.not_finite, chance):
            loss = chance.choice((math.nan, math.inf, -math.inf))
    seconds = speeds.overhead + steps * worker.seconds_per_step
    fate: Fate = "ends"
    if grant.parent is not None and happens(faults.damaged, chance):
        fate, seconds = "damaged", speeds.overhead
    elif trial.member in faults.cursed or happens(faults.fail, chance):
        fate, seconds = "raises", seconds * chance.random()
    elif happens(faults.crash, chance):
        fate, seconds = "crashes", seconds * chance.random()
    elif happens(faults.pause, chance):
        fate = "sleeps"
    return Attempt(grant, fate, seconds, loss, steps, partial)


def happens(probability: float, chance: RandomStream) -> bool:
    """Return whether something of a probability happens; draws nothing where it cannot."""
    return probability > 0 and chance.random() < probability
