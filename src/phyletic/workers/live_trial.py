"""The trial as training code sees it while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from phyletic.errors import ApplyFailed, InvalidArgument
from phyletic.evolution.arguments import check_flag
from phyletic.records import Trial, Value
from phyletic.records.encodings import is_unicode, whole_number
from phyletic.workers.apply import apply
from phyletic.workers.attempt import Attempt, State
from phyletic.workers.named_settings import optimizers, unmoved
from phyletic.workers.targets.target import ancestry


class LiveTrial:
    """One trial while it runs: what it is, its hyperparameters and state, and how to report."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._lineage: str | None = None

    def __repr__(self) -> str:
        return f"LiveTrial(number={self.number}, member={self.member}, hyperparameters={self.hyperparameters!r})"

    @property
    def record(self) -> Trial:
        """The frozen facts of the trial, such as its decision."""
        return self._attempt.record

    @property
    def hyperparameters(self) -> Mapping[str, Value]:
        """The values by flat path; reading one counts as using it."""
        return self._attempt.hyperparameters

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
        """The numbers of its ancestors, the newborn's first, and its own, each followed by a comma: ``"1,6,12,20,"``.

        The first reading asks the owner for them, so that the cost of a trial does not grow with its age.
        """
        if self._lineage is None:
            ancestors = self._attempt.ancestors
            numbers = () if self.newborn or ancestors is None else ancestors(self.number)
            self._lineage = "".join(f"{number}," for number in numbers or (self.number,))
        return self._lineage

    @property
    def founder(self) -> int:
        """The number of the newborn that its lineage begins with; asks as :attr:`lineage` does."""
        return int(self.lineage.partition(",")[0])

    @property
    def donor(self) -> int | None:
        """The number of the donor's trial, whose weights or hyperparameters it took over; None without a donor."""
        return self.record.decision.donor

    @property
    def newborn(self) -> bool:
        """Whether it starts without a parent's checkpoint."""
        return self.record.newborn

    @property
    def start_step(self) -> int:
        """Steps trained along its lineage before it."""
        return self.record.start_step

    @property
    def first_step(self) -> int:
        """The step that this attempt begins at: ``start_step``, or that of the save from which it goes on."""
        return self.start_step + self._attempt.steps_before

    @property
    def steps(self) -> int | None:
        """Steps to train; None if the interval is in seconds."""
        return self.record.steps

    @property
    def seed(self) -> int:
        """A seed below 2**32, for the trial's random states."""
        return self.record.seed

    @property
    def loaded(self) -> bool:
        """Whether the weights changed since this worker's previous trial: then reset environments and buffers."""
        return self._attempt.loaded

    @property
    def load_from(self) -> Path | None:
        """The parent's checkpoint, a folder or a packed file, to read only; a newborn has that of ``warm_start``."""
        parent = self._attempt.grant.parent
        return None if parent is None else self._attempt.load_from(parent.id)

    @property
    def save_to(self) -> Path:
        """An empty folder; the files in it at the trial's end become its checkpoint.

        Raises:
            InvalidArgument: The loop is over ``attach(build)``, which only saves the entries that ``build`` returned.
        """
        attempt = self._attempt
        if attempt.state is not None:
            raise InvalidArgument(
                "trial.save_to",
                None,
                "used in a loop without attach(build)",
                "With build, the checkpoint holds the entries that it returned: put the state there, or write files "
                "by attach(build, save=..., load=...)",
            )
        if attempt.saved_to is None:
            attempt.saved_to = attempt.save_to(attempt.grant.checkpoint)
        return attempt.saved_to

    @property
    def state(self) -> State:
        """The entries that ``build`` returned, as attributes; an assignment replaces an entry."""
        if self._attempt.state is None:
            raise InvalidArgument(
                "trial.state",
                None,
                "used in a loop over trials.attach(build)",
                "Without build, use load_from and save_to",
            )
        return self._attempt.state

    def __getitem__(self, path: str) -> Any:
        """Return a hyperparameter's value, or the values below a group's path as a nested dictionary.

        Raises:
            NotFound: No hyperparameter has that name.
        """
        if not isinstance(path, str):
            raise InvalidArgument("path", path, "a hyperparameter's name, as in trial['lr']")
        return self._attempt.hyperparameters[path]

    @property
    def should_stop(self) -> bool:
        """Whether the trial should end early: then report the present score, and end the loop's body."""
        return self._attempt.heed()

    def range(self) -> Iterator[int]:
        """Count the trial's steps, absolute along the lineage; end early if the trial should stop.

        Example:
            ``for step in trial.range(): train_step(...)``
        """
        attempt, record = self._attempt, self.record
        # start the clock here: loading and building would use up an interval in seconds
        limit = None if record.seconds is None else time.monotonic() + record.seconds
        step, every = self.first_step, attempt.grant.save_every
        end = None if record.steps is None else record.start_step + record.steps
        counted = attempt.steps_counted = attempt.steps_before
        while end is None or step < end:
            if attempt.heed() or (limit is not None and counted and time.monotonic() >= limit):
                break
            attempt.in_step = True
            try:
                yield step
            finally:
                attempt.in_step, asked, attempt.save_asked = False, attempt.save_asked, False
            step += 1
            counted = attempt.steps_counted = step - record.start_step
            if attempt.settings and not counted & (counted - 1):
                # looking at powers of two finds a schedule of the body's own, which may end where it began
                attempt.settings = unmoved(attempt.settings)
            due = every is not None and counted % every == 0 and step != end
            if (asked or due) and attempt.save is not None:
                attempt.save()
        attempt.ranged = time.monotonic()

    def save(self) -> None:
        """Save the state: if the trial is lost or fails, the next attempt at it goes on from here.

        In the body of a loop over :meth:`range` it is saved once the present step has ended, else at once. The next
        attempt has the same hyperparameters, nothing is decided, and the save goes when the trial ends. Of reports
        from before the save, it has the latest of each metric. ``PBT(save_every=...)`` saves in ``range`` by itself.

        Raises:
            InvalidArgument: The loop is not over ``attach(build)``, the body has ended, or neither :meth:`range` nor
                ``report(steps_done=...)`` says how far it has come.
        """
        if self._attempt.save is None:
            raise InvalidArgument("trial.save", None, "called in the body of a loop over trials.attach(build)")
        self._attempt.check_steps_known()
        if self._attempt.in_step:
            self._attempt.save_asked = True
        else:
            self._attempt.save()

    def report(
        self,
        values: Mapping[str, float] | None = None,
        /,
        *,
        step: int | None = None,
        steps_done: int | None = None,
        **metrics: float,
    ) -> None:
        """Report measurements, at the trial's end and at any time during it.

        The last value of the study's first metric is the trial's score. A tensor on a device is fetched when it is
        needed (by a heartbeat, or at the trial's end), so reporting at each step does not wait for the device.

        Args:
            values: Values by name, for names that cannot be keywords, such as ``{"val/acc": 0.97}``.
            step: Step along the lineage of the measurement; the present one if left out.
            steps_done: Steps trained in this trial, for code that overshoots or stops early; the steps that ``range``
                counted if left out.
            **metrics: Values by name.

        Raises:
            InvalidArgument: A value is not a number, or a step is out of range.
        """
        if values is not None and not isinstance(values, Mapping):
            raise InvalidArgument("metrics", values, 'a dictionary such as {"val/acc": 0.97}')
        attempt = self._attempt
        reported = {**(values or {}), **metrics}
        checked = {check_metric_name(name): _measured(name, value) for name, value in reported.items()}
        if steps_done is not None:
            attempt.steps_reported = check_steps("steps_done", steps_done, 1)
        at = self.start_step + (attempt.steps_trained or 0) if step is None else check_steps("step", step, 0)
        for name, value in checked.items():
            attempt.report(at, name, value)
        attempt.beat_if_due()

    def apply(
        self,
        target: object,
        *,
        group: int | str | None = None,
        scheduler: object | None = None,
        read: Callable[[], Mapping[str, Value]] | None = None,
        fresh: bool = False,
        **names: str,
    ) -> dict[str, Value]:
        """Set hyperparameters where the training code reads them, and check that they took effect.

        Call it in the loop's body, after the loop has loaded the state, so that no checkpoint undoes an exploration.

        Args:
            target: An optimizer, an estimator, a mapping, or a function that takes the hyperparameters and returns a
                mapping of the values that took effect.
            group: One parameter group of an optimizer, by index or name; all if left out.
            scheduler: The learning rate scheduler of the optimizer: the value becomes its base rate. ``build`` must
                have returned it, so that it is saved and loaded.
            read: For a function: returns the values in force by path, now and at the trial's end. Without it, the
                trial's record says that the values were not read back.
            fresh: Whether the optimizer is meant to begin without moments, although the trial has a parent.
            **names: A target's own name for a hyperparameter, such as ``lr="head_lr"``.

        Returns:
            The values that took effect, by path.

        Raises:
            ApplyFailed: The target is of an unknown kind or did not take a value, the optimizer has lost its moments,
                or ``build`` did not return the scheduler.
        """
        if read is not None and not callable(read):
            raise InvalidArgument("read", read, "a function that returns the values in force by path, or None")
        values, state = dict(self.record.hyperparameters), self._attempt.state
        if scheduler is not None and state is not None and not _holds(vars(state), scheduler):
            raise ApplyFailed(
                f"scheduler is a {type(scheduler).__name__} that build did not return, so each trial begins its "
                "schedule anew: return it from build, as in dict(model=..., optimizer=..., scheduler=scheduler)"
            )
        entries = {} if state is None else vars(state)
        fresh = check_flag("fresh", fresh) or any(target is one for one in self._attempt.begun_anew)
        # one that had made no step before this trial either has lost nothing
        begins = any(target is one and name in self._attempt.unstepped for name, one, _ in optimizers(entries))
        applied = apply(
            values,
            target,
            group=group,
            scheduler=scheduler,
            names=names,
            read=read,
            parent=None if begins else self.parent,
            fresh=fresh,
        )
        if fresh:
            self._attempt.begun_anew.append(target)
        self._attempt.applied.append(applied)
        self._attempt.hyperparameters.paths.update(applied.values)
        return dict(applied.values)


def attempt_of(trial: LiveTrial) -> Attempt:
    """Return the attempt behind a trial, for the code that runs it."""
    return trial._attempt


def _holds(container: object, wanted: object) -> bool:
    """Whether a state holds an object itself, as an entry or in a list, tuple or dictionary."""
    if isinstance(container, Mapping):
        return any(_holds(value, wanted) for value in container.values())
    if isinstance(container, (list, tuple)):
        return any(_holds(value, wanted) for value in container)
    return container is wanted


def _measured(name: str, value: Any) -> Any:
    """Return a reported value: a float, or a copy of an array of one element that lies on a device.

    Raises:
        InvalidArgument: It is not a number.
    """
    if callable(getattr(value, "detach", None)):
        value = value.detach()
        if getattr(value, "numel", int)() == 1 and getattr(value.device, "type", "cpu") != "cpu":
            return value.clone()  # training code may change it in place
    elif ancestry(value, "jaxlib") and getattr(value, "size", 0) == 1 and value.dtype.kind in "fiub":
        return value.copy()  # JAX computes it in the background; a donated buffer would be gone
    return check_metric_value(name, value)


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
    except Exception:  # an object's __float__ may raise anything
        raise InvalidArgument(f"metrics[{name!r}]", value, "a number") from None


def check_steps(name: str, value: object, least: int) -> int:
    """Return a number of steps as an int, or raise InvalidArgument.

    Args:
        name: The argument.
        value: Its value.
        least: The smallest number that is allowed.
    """
    steps = whole_number(value)
    if steps is None or not least <= steps < 2**53:
        raise InvalidArgument(name, value, f"a whole number of at least {least}, below 2**53")
    return steps
