"""One attempt at a trial, from its grant to its end: the worker's side of what training code sees."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from phyletic.checkpoints.open_checkpoint import OpenCheckpoint
from phyletic.coordinator.messages import HOPELESS, MOST_EVALUATIONS, Done, Grant, Heartbeat, Refused
from phyletic.errors import InvalidArgument, PhyleticError, StoreUnreachable, TrialFailed
from phyletic.records import CheckpointReference, Evaluation, Trial, Value
from phyletic.space.paths import lookup
from phyletic.workers.apply import Applied
from phyletic.workers.named_settings import NamedSetting

LOST = "lost"
"""The reason to stop an attempt whose trial belongs to another session now."""
PREEMPTED = "preempted"
"""The reason to stop an attempt that the worker should hand back with its state."""
_BEAT_SECONDS = 0.5


class ReadHyperparameters(Mapping[str, Value]):
    """A trial's values by flat path, which remembers the paths that training code read.

    ``trial["lr"]`` reads one value; the path of a group (``trial["optimizer"]``) reads all values below it, as a nested
    dictionary.

    Args:
        values: Values by flat path.

    Example:
        >>> read = ReadHyperparameters({"lr": 0.1, "optimizer.momentum": 0.9})
        >>> read["optimizer"], sorted(read.paths)
        ({'momentum': 0.9}, ['optimizer.momentum'])
        >>> read.copy(), sorted(read.paths)
        ({'lr': 0.1, 'optimizer.momentum': 0.9}, ['optimizer.momentum'])
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

    def copy(self) -> dict[str, Value]:
        """Return the values as a plain dictionary, for logging: this counts as reading none of them."""
        return dict(self._values)


class State(SimpleNamespace):
    """The namespace ``trial.state``: one attribute for each entry that ``build`` returned.

    Assigning to an attribute replaces the entry, for objects that training does not change in place (JAX trees,
    boosters).

    Example:
        >>> state = State()
        >>> state.weights = [0.9, 0.9]
        >>> state
        State(weights=[0.9, 0.9])
    """

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"trial.state has no {name!r}; build returned: {', '.join(sorted(vars(self))) or 'nothing'}"
        )


class Attempt:
    """One attempt at a trial.

    Args:
        grant: The trial and the right to run it.
        load_from: Returns the place of the checkpoint with an id.
        save_to: Returns an empty folder for the checkpoint with an id.

    Attributes:
        record: The facts of the trial.
        hyperparameters: Its values, and which of them training code read.
        state: The namespace of what ``build`` returned; None in a loop without ``build``.
        loaded: Whether the weights differ from those at the end of this worker's previous trial.
        stop: Why it should end early; empty while it should go on.
        heeded: Whether the training code has seen that it should end.
        handed_back: Whether the training code hands the trial back early, without being asked.
        hopeless: Whether the algorithm gave it up.
        refused: The refusal of a heartbeat, which the loop raises at the end of the body.
        applied: The results of ``apply``, in order.
        settings: The optimizers' settings that have a hyperparameter's name and have not moved since the body began.
        unstepped: The entries whose optimizers had made no step when the body began.
        begun_anew: The optimizers that were applied to and are meant to begin without moments.
        steps_counted: Steps that ``range`` counted; None if training code did not use it.
        steps_reported: Steps done according to a report; None if no report said so.
        ranged: When ``range`` ended, in seconds of the monotonic clock.
        waiting: Seconds that the worker waited for it.
        loading: Seconds from its grant until its body began.
        began: When its body began, in seconds of the monotonic clock.
        opened: The loaded checkpoint, still to be verified; None if the state was in memory.
        saved_to: The folder that the training code asked for.
        upload: Publishes the checkpoint in the background; None if the trial has none, or the loop published it.
        published: The checkpoint that was published first.
        publishing: Lock for publishing a checkpoint.
        steps_before: Steps of the trial that an earlier attempt trained and saved, from which this one goes on.
        saves: How often this attempt has saved its state.
        in_step: Whether the body is within a step of ``range``.
        save_asked: Whether the state is to be saved once that step has ended.
        save: Saves the state; None outside a loop's body, and in a loop without ``build``.
        agree: In a gang: takes the reason to stop that this rank knows, and returns the one on which all ranks agree.
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
        self.handed_back = False
        self.hopeless = False
        self.refused: Refused | None = None
        self.applied: list[Applied] = []
        self.settings: list[NamedSetting] = []
        self.unstepped: set[str] = set()
        self.begun_anew: list[object] = []
        self._waiting: deque[tuple[int, str, Any]] = deque()
        self._evaluations: list[Evaluation] = []
        self._fetching = threading.Lock()
        self.steps_counted: int | None = None
        self.steps_reported: int | None = None
        self.ranged: float | None = None
        self.waiting = 0.0
        self.loading = 0.0
        self.began = 0.0
        self.opened: OpenCheckpoint | None = None
        self.saved_to: Path | None = None
        self.upload: Callable[[], CheckpointReference] | None = None
        self.published: CheckpointReference | None = None
        self.publishing = threading.Lock()
        self.steps_before = 0
        self.saves = 0
        self.in_step = False
        self.save_asked = False
        self.save: Callable[[], None] | None = None
        self.agree: Callable[[str], str] | None = None
        self.send_heartbeat: Callable[[], None] | None = None
        self.ancestors: Callable[[int], tuple[int, ...]] | None = None
        self.beaten = time.monotonic()
        self.load_from = load_from
        self.save_to = save_to
        self._received = 0

    def report(self, step: int, metric: str, value: Any) -> None:
        """Note a measurement.

        Args:
            step: The step along the lineage.
            metric: Its name.
            value: Its value: a number, or an array of one element on a device, which is fetched when it is needed.
        """
        self._waiting.append((step, metric, value))

    @property
    def evaluations(self) -> list[Evaluation]:
        """The reports, in order; fetches those that still lie on a device."""
        with self._fetching:
            while self._waiting:
                step, metric, value = self._waiting.popleft()
                self._evaluations.append(Evaluation(step=step, metric=metric, value=_fetched(metric, value)))
            return self._evaluations

    @property
    def latest_evaluations(self) -> tuple[Evaluation, ...]:
        """The latest report of each metric."""
        return tuple({said.metric: said for said in self.evaluations}.values())

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a person should know about how the trial trained, each once."""
        remarks = [applied.remark for applied in self.applied if applied.remark]
        if self.steps_done is None and self.record.steps is not None:
            remarks.append(
                "the body neither used trial.range() nor said steps_done, so the whole interval was booked: loop by "
                "for step in trial.range(), or say trial.report(..., steps_done=n)"
            )
        return tuple(dict.fromkeys(remarks))

    @property
    def steps_done(self) -> int | None:
        """Steps trained so far: reported, or counted by ``range``; None if neither."""
        return self.steps_counted if self.steps_reported is None else self.steps_reported

    @property
    def steps_to_save(self) -> int:
        """Steps that a save made now has: those that ``range`` counted, or else those reported."""
        return (self.steps_reported or 0) if self.steps_counted is None else self.steps_counted

    def check_steps_known(self) -> None:
        """Raise InvalidArgument if nothing says how far the body has come, so that a save has no step."""
        if self.steps_done is None:
            raise InvalidArgument(
                "trial.save",
                None,
                "called where phyletic knows the step: within trial.range(), or after trial.report(..., steps_done=n)",
            )

    @property
    def steps_trained(self) -> int | None:
        """Steps that count at the end: those done, or else those asked; None if neither are known."""
        return self.record.steps if self.steps_done is None and self.record.seconds is None else self.steps_done

    @property
    def values_applied(self) -> dict[str, Value]:
        """The values that took effect, by path."""
        return {path: value for applied in self.applied for path, value in applied.values.items()}

    def heartbeat(self, step: int | None = None) -> Heartbeat:
        """Return a heartbeat with the reports that the owner does not have yet.

        Args:
            step: The current step along the lineage; None takes it from the steps done.
        """
        if step is None and self.steps_done is not None:
            step = self.record.start_step + self.steps_done
        first = self._received
        unsent = tuple(self.evaluations[first : first + MOST_EVALUATIONS])
        return Heartbeat(lease=self.grant.lease, step=step, first=first, evaluations=unsent)

    def take_answer(self, answer: Done) -> None:
        """Take the answer to a heartbeat: how many reports the owner has, and why the trial should end.

        A hopeless attempt stays hopeless even if a newer owner does not know it, and a reason to stop stays once the
        training code has seen it.
        """
        self._received = answer.received
        self.hopeless = self.hopeless or answer.stop == HOPELESS
        if answer.stop or not (self.hopeless or self.heeded or self.stop == PREEMPTED):
            self.stop = answer.stop

    def heed(self) -> bool:
        """Return whether the trial should end early, and note that the training code has seen it."""
        self.beat_if_due()
        if self.agree is None:
            self.heeded = bool(self.stop)
        else:
            agreed = self.agree(self.stop)
            self.stop, self.heeded = agreed or self.stop, bool(agreed)
        return self.heeded

    def beat_if_due(self) -> None:
        """Send a heartbeat if the last one is half a second old."""
        if self.send_heartbeat is not None:
            now = time.monotonic()
            if now - self.beaten >= _BEAT_SECONDS:
                self.beaten = now
                self.send_heartbeat()


def _fetched(metric: str, value: Any) -> float:
    try:
        return float(value)
    except Exception as error:
        raise InvalidArgument(f"metrics[{metric!r}]", value, "a number") from error


def worth_another_attempt(error: BaseException) -> bool:
    """Return whether an exception of the training code counts against its trial, which then gets another attempt.

    Errors of phyletic's own (a misuse, a state that cannot be saved, a full disk) would meet every trial, and a person
    who presses Ctrl-C says nothing about the trial. An object store that does not answer may answer the next time.
    """
    again = (TrialFailed, StoreUnreachable)
    return isinstance(error, Exception) and (not isinstance(error, PhyleticError) or isinstance(error, again))
