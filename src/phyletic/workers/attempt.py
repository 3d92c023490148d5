"""One attempt at a trial, from its grant to its end: what a worker keeps of it behind what training code sees."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phyletic.checkpoints.open_checkpoint import OpenCheckpoint
from phyletic.coordinator.messages import HOPELESS, MOST_EVALUATIONS, Done, Grant, Heartbeat, Refused
from phyletic.errors import PhyleticError, TrialFailed
from phyletic.records import CheckpointReference, Evaluation, Trial, Value
from phyletic.space.paths import lookup
from phyletic.workers.apply import Applied

if TYPE_CHECKING:
    from phyletic.workers.state import State

__all__ = ["LOST", "PREEMPTED", "Attempt", "ReadHyperparameters", "worth_another_attempt"]

LOST = "lost"
"""Why an attempt should stop whose trial belongs to another session now."""
PREEMPTED = "preempted"
"""Why an attempt should stop that is to be handed back with what it has."""
_BEAT_SECONDS = 0.5


class ReadHyperparameters(Mapping[str, Value]):
    """A trial's values by flat path, which remembers the paths that were read.

    ``trial["lr"]`` reads one value; the path of a group (``trial["optimizer"]``) reads all below it, as a nested
    dictionary.

    Args:
        values: Values by flat path.

    Example:
        >>> read = ReadHyperparameters({"lr": 0.1, "optimizer.momentum": 0.9})
        >>> read["optimizer"], sorted(read.paths)
        ({'momentum': 0.9}, ['optimizer.momentum'])
    """

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = dict(values)
        self.paths: set[str] = set()

    def __getitem__(self, path: str) -> Any:
        if path in self._values:
            self.paths.add(path)
            return self._values[path]
        found = lookup(self._values, path)
        self.paths.update(known for known in self._values if known.startswith(f"{path}."))
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)


class Attempt:
    """One attempt at a trial.

    Args:
        grant: The trial and the right to run it.
        load_from: Returns where the checkpoint with some id is.
        save_to: Returns an empty folder for the checkpoint with some id.

    Attributes:
        record: The facts of the trial.
        hyperparameters: Its values, and which of them were read.
        state: The namespace of what ``build`` returned; None in a loop without ``build``.
        loaded: Whether the weights are others than at this worker's previous trial.
        stop: Why it should end early; empty while it should go on.
        heeded: Whether the training code has seen that it should.
        hopeless: Whether the algorithm gave it up.
        refused: The answer to a heartbeat that found an error; raised when the body ends.
        applied: What was applied, to which targets.
        evaluations: What was reported, in order.
        steps_counted: Steps that ``range`` counted; None if it was not used.
        steps_reported: Steps that a report said were done; None if none said it.
        ranged: When ``range`` ended, in seconds of the monotonic clock.
        waiting: Seconds that the worker waited for it.
        loading: Seconds until its body began.
        began: When its body began, in seconds of the monotonic clock.
        opened: The checkpoint that was loaded, still to be verified; None if none was.
        saved_to: The folder that the training code asked for.
        published: The checkpoint that was published first.
        publishing: Held while a checkpoint is published.
        send_heartbeat: Sends a heartbeat; None outside a loop's body.
        ancestors: Returns the numbers of a trial and its ancestors.
        beaten: When the last heartbeat was due, in seconds of the monotonic clock.
    """

    def __init__(self, grant: Grant, *, load_from: Callable[[str], Path], save_to: Callable[[str], Path]) -> None:
        self.grant = grant
        self.record: Trial = grant.trial
        self.hyperparameters = ReadHyperparameters(grant.trial.hyperparameters)
        self.state: State | None = None
        self.loaded = False
        self.stop = ""
        self.heeded = False
        self.hopeless = False
        self.refused: Refused | None = None
        self.applied: list[Applied] = []
        self.evaluations: list[Evaluation] = []
        self.steps_counted: int | None = None
        self.steps_reported: int | None = None
        self.ranged: float | None = None
        self.waiting = 0.0
        self.loading = 0.0
        self.began = 0.0
        self.opened: OpenCheckpoint | None = None
        self.saved_to: Path | None = None
        self.published: CheckpointReference | None = None
        self.publishing = threading.Lock()
        self.send_heartbeat: Callable[[], None] | None = None
        self.ancestors: Callable[[int], tuple[int, ...]] | None = None
        self.beaten = time.monotonic()
        self._load_from = load_from
        self._save_to = save_to
        self._received = 0

    @property
    def steps_asked(self) -> int | None:
        """Steps that count as trained unless the code says otherwise; None if the interval is in seconds."""
        return None if self.record.seconds is not None else self.record.steps

    @property
    def steps_done(self) -> int | None:
        """Steps trained so far: reported, or counted by ``range``; None if neither."""
        return self.steps_counted if self.steps_reported is None else self.steps_reported

    @property
    def load_from(self) -> Path | None:
        """The parent's checkpoint; None for a newborn."""
        parent = self.grant.parent
        return None if parent is None else self._load_from(parent.id)

    @property
    def save_to(self) -> Path:
        """An empty folder for the checkpoint."""
        if self.saved_to is None:
            self.saved_to = self._save_to(self.grant.checkpoint)
        return self.saved_to

    def heartbeat(self, step: int | None) -> Heartbeat:
        """Return a heartbeat with the reports that its owner does not have yet.

        Args:
            step: Step along the lineage that was reached; None if unknown.
        """
        first = self._received
        unsent = tuple(self.evaluations[first : first + MOST_EVALUATIONS])
        return Heartbeat(lease=self.grant.lease, step=step, first=first, evaluations=unsent)

    def take_answer(self, answer: Done) -> None:
        """Take the answer to a heartbeat: how many reports the owner has, and why the trial should end.

        An attempt that was given up stays given up, even if a newer owner does not know of it; and a reason to stop
        stays once the training code has seen it.
        """
        self._received = answer.received
        self.hopeless = self.hopeless or answer.stop == HOPELESS
        if answer.stop or not (self.hopeless or self.heeded or self.stop == PREEMPTED):
            self.stop = answer.stop

    def heed(self) -> bool:
        """Return whether the trial should end early, and note that the training code has seen it."""
        self.beat_if_due()
        self.heeded = bool(self.stop)
        return self.heeded

    def beat_if_due(self) -> None:
        """Send a heartbeat if the last one is half a second old."""
        if self.send_heartbeat is not None:
            now = time.monotonic()
            if now - self.beaten >= _BEAT_SECONDS:
                self.beaten = now
                self.send_heartbeat()


def worth_another_attempt(error: BaseException) -> bool:
    """Return whether an exception of the training code counts against its trial, which is then tried again.

    What phyletic itself raises (a misuse, a state that cannot be saved, a full disk) would come again for every trial,
    and a person who presses Ctrl-C says nothing about the trial.
    """
    return isinstance(error, Exception) and (not isinstance(error, PhyleticError) or isinstance(error, TrialFailed))
