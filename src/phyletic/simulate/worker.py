"""A simulated worker and the attempt that it runs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from phyletic.coordinator.messages import Command, Fail, Grant, Tell
from phyletic.randomness import RandomStream
from phyletic.records import CheckpointReference, Evaluation, Timings
from phyletic.simulate.world import World

Fate = Literal["ends", "crashes", "sleeps", "raises", "damaged"]


@dataclass
class Worker:
    """One worker.

    Attributes:
        name: Its name.
        session: Its current session.
        seconds_per_step: How long one step takes it.
        joined: When it came.
        detached: Whether the owner cannot look at it.
        left: When it left or died; None while it is there.
        attempt: The attempt that it runs, if any.
        memory: The number of the trial whose end it has in memory, if any.
        awaited: The number of the request whose answer it waits for, if any.
        request: The commands of that request.
        idle: Whether it was told that there is no trial, now or for good.
        cut_until: The time until which it reaches nobody.
        asleep: Whether it is suspended.
        busy: Seconds of attempts whose results were accepted.
    """

    name: str
    session: str
    seconds_per_step: float
    joined: float
    detached: bool = False
    left: float | None = None
    attempt: Attempt | None = None
    memory: int | None = None
    awaited: int | None = None
    request: tuple[Command, ...] = ()
    idle: bool = False
    cut_until: float = 0.0
    asleep: bool = False
    busy: float = 0.0


@dataclass(frozen=True)
class Attempt:
    """What becomes of a granted trial; drawn when it begins.

    Attributes:
        grant: The trial.
        fate: How the attempt ends.
        seconds: How long it takes.
        loss: The loss at its end.
        steps_done: The steps trained by then.
        partial: Whether the trial is handed back early.
    """

    grant: Grant
    fate: Fate
    seconds: float
    loss: float
    steps_done: int
    partial: bool = False

    def incidents(self) -> dict[str, int]:
        """Return what went wrong in the training code, by the names of :class:`~phyletic.simulate.Incidents`."""
        if self.fate in ("raises", "damaged"):
            return {"raised": self.fate == "raises", "damaged": self.fate == "damaged"}
        uneven = self.grant.trial.steps not in (None, self.steps_done) and not self.partial
        return {"partial": self.partial, "uneven": uneven, "not_finite": not math.isfinite(self.loss)}

    def result(self, world: World) -> Tell | Fail:
        """Return what the worker reports at the end."""
        trial, lease, metric = self.grant.trial, self.grant.lease, world.metric
        if self.fate == "raises":
            return Fail(lease=lease, error="the training code raised")
        if self.fate == "damaged":
            return Fail(lease=lease, error="the parent's checkpoint is damaged", cause="damaged")
        end = trial.start_step + self.steps_done
        score = self.loss if metric.mode == "min" else -self.loss
        evaluations: tuple[Evaluation, ...] = ()
        if not self.partial:
            regret = world.curve.regret(self.loss, end)
            evaluations = (Evaluation(end, metric.name, score), Evaluation(end, "regret", regret))
        return Tell(
            lease=lease,
            evaluations=evaluations,
            steps_done=self.steps_done,
            checkpoint=CheckpointReference(self.grant.checkpoint, loss_digest(self.loss), 8),
            partial=self.partial,
            timings=Timings(training=self.seconds),
        )


def loss_digest(loss: float) -> str:
    """Return the digest of a checkpoint that holds a loss."""
    return f"loss:{loss!r}"


def draw_attempt(world: World, worker: Worker, grant: Grant, loss: float) -> Attempt:
    """Draw what becomes of an attempt.

    Args:
        world: The world of the simulation.
        worker: The worker that runs it.
        grant: The trial.
        loss: The loss in the checkpoint of its parent, or at birth.
    """
    trial, faults, chance = grant.trial, world.faults, world.chance
    steps = trial.steps if trial.steps is not None else max(1, round((trial.seconds or 1.0) / worker.seconds_per_step))
    partial = steps > 1 and world.happens(faults.partial)
    if partial:
        steps = 1 + chance.integer(steps - 1)
    elif world.happens(faults.uneven):
        steps = 1 + chance.integer(2 * steps)
    loss = _train(world, grant, loss, steps)
    seconds = world.speeds.overhead + steps * worker.seconds_per_step
    fate: Fate = "ends"
    if grant.parent is not None and world.happens(faults.damaged):
        fate, seconds = "damaged", world.speeds.overhead
    elif trial.member in faults.cursed or world.happens(faults.fail):
        fate, seconds = "raises", seconds * chance.random()
    elif world.happens(faults.crash):
        fate, seconds = "crashes", seconds * chance.random()
    elif world.happens(faults.pause):
        fate = "sleeps"
    return Attempt(grant, fate, seconds, loss, steps, partial)


def _train(world: World, grant: Grant, loss: float, steps: int) -> float:
    """Return the loss after some steps of a trial; NaN or infinite if a fault makes it so.

    Args:
        world: The world of the simulation.
        grant: The trial.
        loss: The loss before it.
        steps: How many steps to train.
    """
    if not math.isfinite(loss):
        return loss
    trial, curve = grant.trial, world.curve
    stream = RandomStream(trial.seed) if curve.noise else None
    rate = float(trial.hyperparameters["lr"])  # type: ignore[arg-type]
    for step in range(trial.start_step, trial.start_step + steps):
        loss = curve.step(loss, rate, step, stream)
    if world.happens(world.faults.not_finite):
        return world.chance.choice((math.nan, math.inf, -math.inf))
    return loss
