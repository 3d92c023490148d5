"""The trial as training code sees it while it runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phyletic.coordinator.messages import HOPELESS, MOST_EVALUATIONS, Done, Grant, Heartbeat, Refused
from phyletic.errors import InvalidArgument
from phyletic.records import CheckpointReference, Evaluation, Trial, Value
from phyletic.records.values import is_unicode, whole_number
from phyletic.workers.apply import Applied, apply
from phyletic.workers.read_hyperparameters import ReadHyperparameters

if TYPE_CHECKING:
    from phyletic.workers.state import State

__all__ = ["LiveTrial"]

_BEAT_SECONDS = 0.5


class LiveTrial:
    """One trial, from its grant to its end.

    Attributes:
        record: The facts of the trial.
        loaded: Whether the weights are others than at this worker's previous trial (reset environments and buffers).
        state: The namespace of what ``build`` returned.
    """

    def __init__(self, grant: Grant, *, load_from: Callable[[str], Path], save_to: Callable[[str], Path]) -> None:
        self.grant = grant
        self.record: Trial = grant.trial
        self.hyperparameters = ReadHyperparameters(grant.trial.hyperparameters)
        self.loaded = False
        self.stop = ""
        self.hopeless = False
        self.refused: Refused | None = None
        self.heeded = False
        self.applied: list[Applied] = []
        self.evaluations: list[Evaluation] = []
        self.saved_to: Path | None = None
        self.published: CheckpointReference | None = None
        self.publishing = threading.Lock()
        self.beat: Callable[[], None] | None = None
        self.ancestors: Callable[[int], tuple[int, ...]] | None = None
        self.ranged: float | None = None
        self._load_from = load_from
        self._save_to = save_to
        self._state: State | None = None
        self._lineage: str | None = None
        self._done: int | None = None
        self._said_done: int | None = None
        self._heard = 0
        self._beaten = time.monotonic()

    def __repr__(self) -> str:
        return f"LiveTrial(number={self.number}, member={self.member}, hyperparameters={self.hyperparameters!r})"

    @property
    def number(self) -> int:
        """Counts the trials of the study from 0."""
        return self.record.number

    @property
    def member(self) -> int:
        """Place in the population, from 0."""
        return self.record.member

    @property
    def generation(self) -> int:
        """How many trials its member had before."""
        return self.record.generation

    @property
    def parent(self) -> int | None:
        """Number of the trial it starts from; None for a newborn."""
        return self.record.parent

    @property
    def lineage(self) -> str:
        """The numbers of its ancestors, the newborn's first, and its own, each with a comma after: ``"1,6,12,20,"``.

        They are asked for when it is read for the first time: what a trial costs does not grow with its age.
        """
        if self._lineage is None:
            asked = () if self.newborn or self.ancestors is None else self.ancestors(self.number)
            self._lineage = "".join(f"{number}," for number in asked or (self.number,))
        return self._lineage

    @property
    def newborn(self) -> bool:
        """Whether it starts without a parent's checkpoint."""
        return self.record.newborn

    @property
    def start_step(self) -> int:
        """Steps trained along its lineage before it."""
        return self.record.start_step

    @property
    def steps(self) -> int | None:
        """Steps to train; None where the interval is in seconds."""
        return self.record.steps

    @property
    def steps_asked(self) -> int | None:
        """Steps that count as trained where nothing else is said; None where the interval is in seconds."""
        return None if self.record.seconds is not None else self.record.steps

    @property
    def seed(self) -> int:
        """A seed below 2**32, for the trial's random states."""
        return self.record.seed

    @property
    def load_from(self) -> Path | None:
        """The parent's checkpoint: a folder, or a packed file; None for a newborn. Read it, never change it."""
        parent = self.grant.parent
        return None if parent is None else self._load_from(parent.id)

    @property
    def save_to(self) -> Path:
        """An empty folder; what is in it at the trial's end is its checkpoint.

        Raises:
            InvalidArgument: The loop is one over ``attach(build)``, which saves what ``build`` returned and no more.
        """
        if self._state is not None:
            raise InvalidArgument(
                "trial.save_to",
                None,
                "used in a loop without attach(build)",
                "With build, the checkpoint is what it returned: put the state there, or write files by "
                "attach(build, save=..., load=...)",
            )
        if self.saved_to is None:
            self.saved_to = self._save_to(self.grant.checkpoint)
        return self.saved_to

    @property
    def state(self) -> State:
        """The namespace of what ``build`` returned; assigning to an attribute replaces an entry."""
        if self._state is None:
            raise InvalidArgument(
                "trial.state",
                None,
                "used in a loop over trials.attach(build)",
                "Without build, use load_from and save_to",
            )
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        self._state = state

    def __getitem__(self, path: str) -> Any:
        """Return a hyperparameter's value, or what is below a group's path as a nested dictionary.

        Raises:
            NotFound: There is none of that name.
        """
        if not isinstance(path, str):
            raise InvalidArgument("path", path, "a hyperparameter's name, as in trial['lr']")
        return self.hyperparameters[path]

    def sign_of_life(self, step: int | None) -> Heartbeat:
        """Return a heartbeat with what its owner has not heard yet, at a step along the lineage where that is known."""
        return Heartbeat(
            lease=self.grant.lease,
            step=step,
            first=self._heard,
            evaluations=tuple(self.evaluations[self._heard : self._heard + MOST_EVALUATIONS]),
        )

    def hear(self, answer: Done) -> None:
        """Take in the answer to a heartbeat: how much was heard, and why the trial should end if it should.

        What was given up stays given up, also where an owner that came since knows nothing of it; a reason that the
        training code knows of stays, too.
        """
        self._heard = answer.received
        self.hopeless = self.hopeless or answer.stop == HOPELESS
        if answer.stop or not (self.hopeless or self.heeded or self.stop == "preempted"):
            self.stop = answer.stop

    @property
    def should_stop(self) -> bool:
        """Whether the trial should end early: report what there is, and leave the loop's body."""
        self._beat_if_due()
        self.heeded = bool(self.stop)
        return self.heeded

    def range(self) -> Iterator[int]:
        """Count the trial's steps, absolute along the lineage; ends early when the trial should stop.

        Example:
            ``for step in trial.range(): train_step(...)``
        """
        record = self.record
        # loading and building are not training: with an interval in seconds they would leave less and less of it
        limit = None if record.seconds is None else time.monotonic() + record.seconds
        step = record.start_step
        end = None if record.steps is None else step + record.steps
        self._done = 0
        while end is None or step < end:
            if self.should_stop or (limit is not None and self._done and time.monotonic() >= limit):
                break
            yield step
            step += 1
            self._done = step - record.start_step
        self.ranged = time.monotonic()

    @property
    def steps_done(self) -> int | None:
        """Steps trained so far, as far as the trial knows: said in a report, or counted by ``range``."""
        return self._said_done if self._said_done is not None else self._done

    def report(
        self,
        values: Mapping[str, float] | None = None,
        /,
        *,
        step: int | None = None,
        steps_done: int | None = None,
        **metrics: float,
    ) -> None:
        """Report what was measured: at the trial's end, and as often as wanted during it.

        The last value of the study's first metric is the trial's score.

        Args:
            values: Values by name, for names that are no keywords, such as ``{"val/acc": 0.97}``.
            step: Step along the lineage at which it was measured; the present one where left out.
            steps_done: Steps trained in this trial, for code that overshoots or stops early; counted by ``range`` else.
            **metrics: Values by name.

        Raises:
            InvalidArgument: A value is not a number, or a step is out of range.
        """
        if values is not None and not isinstance(values, Mapping):
            raise InvalidArgument("metrics", values, 'a dictionary such as {"val/acc": 0.97}')
        reported = {**(values or {}), **metrics}
        checked = {check_metric_name(name): check_metric_value(name, value) for name, value in reported.items()}
        if steps_done is not None:
            self._said_done = check_steps("steps_done", steps_done, 1)
        done = self.steps_done
        if done is None:
            done = self.steps_asked or 0
        at = self.start_step + done if step is None else check_steps("step", step, 0)
        self.evaluations.extend(Evaluation(step=at, metric=name, value=value) for name, value in checked.items())
        self._beat_if_due()

    def apply(
        self, target: object, *, group: int | str | None = None, scheduler: object | None = None, **names: str
    ) -> dict[str, Value]:
        """Set hyperparameters where the training code takes them from, and check that they took.

        Call it in the loop's body, after the state was loaded, so that no checkpoint undoes an exploration.

        Args:
            target: An optimizer, an estimator, a mapping, or a function from the hyperparameters to a mapping of what
                took effect.
            group: Which parameter group of an optimizer, by index or name; all where left out.
            scheduler: The learning rate scheduler of the optimizer: the value becomes its base rate.
            **names: A target's own name for a hyperparameter, such as ``lr="head_lr"``.

        Returns:
            What took effect, by path.

        Raises:
            ApplyFailed: The target is of no known kind, or did not take a value.
        """
        values = dict(self.record.hyperparameters)
        applied = apply(values, target, group=group, scheduler=scheduler, names=names)
        self.applied.append(applied)
        self.hyperparameters.paths.update(applied.values)
        return dict(applied.values)

    def _beat_if_due(self) -> None:
        if self.beat is not None:
            now = time.monotonic()
            if now - self._beaten >= _BEAT_SECONDS:
                self._beaten = now
                self.beat()


def check_metric_name(name: object) -> str:
    """Return a metric's name, or raise InvalidArgument."""
    if not isinstance(name, str) or not 1 <= len(name) <= 200 or not is_unicode(name):
        raise InvalidArgument("metrics", name, "names of 1 to 200 characters")
    return name


def check_metric_value(name: str, value: object) -> float:
    """Return a metric's value as a float, or raise InvalidArgument; NaN and infinities are values."""
    # float() reads numbers from text, also from numpy's, and drops imaginary parts
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if isinstance(value, (str, bytes, bytearray, memoryview)) or kind in ("S", "U", "c", "M", "m"):
        raise InvalidArgument(f"metrics[{name!r}]", value, "a number")
    try:
        return float(value)  # type: ignore[arg-type]
    except Exception:  # whatever an object does when it is asked for its value
        raise InvalidArgument(f"metrics[{name!r}]", value, "a number") from None


def check_steps(name: str, value: object, least: int) -> int:
    """Return a number of steps, or raise InvalidArgument."""
    steps = whole_number(value)
    if steps is None or not least <= steps < 2**53:
        raise InvalidArgument(name, value, f"a whole number of at least {least}, below 2**53")
    return steps
