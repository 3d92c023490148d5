"""How local workers are watched, and how a run with them ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from phyletic.coordinator.messages import Finished
from phyletic.errors import InvalidArgument

if TYPE_CHECKING:
    from phyletic.workers.local_worker import LocalWorker

__all__ = ["Outcome", "Supervision", "overdue", "slow_start"]


class Supervision(msgspec.Struct, frozen=True, kw_only=True):
    """How workers are watched; times are in seconds.

    Attributes:
        trial_timeout: A trial that takes longer is killed with its worker and counts as lost; None sets no limit. It
            begins with the grant: how long imports and data take before the first trial is no part of it.
        quiet_start: A worker that has not asked for a trial for so long is told of, and again at each doubling.
        grace: How long running trials have to hand back what they have once this process or their worker's was asked
            to end.
        exit_grace: How long a worker may take to end once there is nothing to run any more.
        stopped_after: A worker that was suspended (SIGSTOP) and silent for so long is killed.
        beat_seconds: Time between a worker's heartbeats.
        ask_again: Time after which a worker's question is asked again although nothing was said.
        early_deaths: A worker that dies so often in a row before it asks for a trial is not started again.
    """

    trial_timeout: float | None = None
    quiet_start: float = 60.0
    grace: float = 10.0
    exit_grace: float = 30.0
    stopped_after: float = 10.0
    beat_seconds: float = 1.0
    ask_again: float = 0.5
    early_deaths: int = 3

    def __post_init__(self) -> None:
        for name in ("grace", "exit_grace"):
            if not getattr(self, name) >= 0:
                raise InvalidArgument(name, getattr(self, name), "a number of seconds, 0 or more")
        if self.trial_timeout is not None and not self.trial_timeout > 0:
            raise InvalidArgument("trial_timeout", self.trial_timeout, "a number of seconds above 0, or None")


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a run with local workers ended.

    Attributes:
        finished: Why there was nothing to run any more; None where the run was interrupted before that.
        interrupted: ``""``, ``"drained"`` (the first Ctrl-C: running trials were finished), ``"stopped"`` (the second)
            or ``"terminated"`` (a signal asked this process to end: running trials were handed back).
        lost: How many workers died while they were needed.
    """

    finished: Finished | None = None
    interrupted: Literal["", "drained", "stopped", "terminated"] = ""
    lost: int = 0


def overdue(worker: LocalWorker, watch: Supervision, now: float) -> str | None:
    """Return why a worker that lives is to be killed; None where it is not.

    Args:
        worker: The worker.
        watch: How it is watched.
        now: In seconds of the monotonic clock.
    """
    if worker.finished is not None:
        if now - worker.finished > watch.exit_grace:
            return f"{worker.name} (pid {worker.pid}) had not ended {watch.exit_grace:g} s after its last trial"
        return None
    asked = worker.asked_to_end
    if asked is not None and (worker.urged or now - asked > watch.grace):
        late = "was asked to end twice" if worker.urged else f"had not ended {watch.grace:g} s after it was asked to"
        return f"{worker.name} (pid {worker.pid}) {late}"
    limit = watch.trial_timeout
    if worker.lease is not None and limit is not None and now - worker.granted > limit:
        return f"trial {worker.lease.trial} took longer than trial_timeout={limit:g} s on {worker.name}"
    if now - worker.heard > watch.stopped_after and worker.stopped():
        return f"{worker.name} (pid {worker.pid}) was suspended for more than {watch.stopped_after:g} s"
    return None


def slow_start(worker: LocalWorker, watch: Supervision, now: float) -> str | None:
    """Return what to tell of a worker that does not get as far as asking for a trial; None where there is nothing new.

    It holds nothing, so nobody waits for it and it is not killed: loading data may take its time. But where all workers
    hang so, only a person can tell.

    Args:
        worker: The worker; how often it was told of is noted in it.
        watch: How it is watched.
        now: In seconds of the monotonic clock.
    """
    waited = now - worker.heard
    if worker.asked or worker.pending is not None or waited <= watch.quiet_start * 2**worker.told_of:
        return None
    worker.told_of += 1
    text = f"{worker.name} (pid {worker.pid}) has not asked for a trial in the {waited:.0f} s since it was started"
    return f"{text}: it still imports, loads its data, or hangs; its output is in {worker.log}"
