"""A worker's memory: the state that ``build`` returned, and the trial at whose end it is."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from phyletic.checkpoints.checkpoints import Checkpoints
from phyletic.checkpoints.open_checkpoint import OpenCheckpoint
from phyletic.errors import CheckpointDamaged, CheckpointError, StateUnsupported
from phyletic.records import CheckpointReference, Value
from phyletic.workers.attempt import State
from phyletic.workers.live_trial import LiveTrial, attempt_of
from phyletic.workers.seeding import seed_everything
from phyletic.workers.targets.target import ancestry

Save = Callable[[Any, Path], object]
Load = Callable[[Any, Path], object]


class Memory:
    """The state in one worker's memory, and the checkpoints that it is saved to and loaded from.

    Args:
        store: The study's checkpoints.
        build: Makes a member at birth; returns a mapping from names to objects to save.
        save: Writes the state into a folder, in place of the adapters.
        load: Reads the state from such a folder.
        reload: ``"changed"`` loads a state only if it is not in memory already, ``"always"`` loads every time.

    Attributes:
        state: The state in memory.
        trial: Number of the told trial at whose end the state is; None if it is at none's.
        untold: Number of the trial at whose end the state is, if its checkpoint is still being uploaded.
    """

    def __init__(
        self,
        store: Checkpoints,
        build: Callable[[LiveTrial], Mapping[str, Any]],
        *,
        save: Save | None = None,
        load: Load | None = None,
        reload: str = "changed",
    ) -> None:
        self._store = store
        self._build = build
        self._save = save
        self._load = load
        self._reload = reload
        self.state = State()
        self.trial: int | None = None
        self.untold: int | None = None
        self._fixed: dict[str, Value] | None = None
        self._built: frozenset[str] = frozenset()
        self._born: list[tuple[weakref.ref[Any], object]] = []

    def forget(self) -> None:
        """Drop the state, because nothing in memory can be trusted any more."""
        self.trial = self.untold = None
        self._fixed = None
        vars(self.state).clear()

    def prepare(self, trial: LiveTrial, fixed: Mapping[str, Value]) -> OpenCheckpoint | None:
        """Build or load the state from which the trial starts, unless it is in memory.

        Args:
            trial: The trial, for ``build``.
            fixed: The trial's fixed hyperparameters. If those in memory differ, build the state anew.

        Returns:
            The loaded checkpoint, which the caller verifies; None if the state was in memory or is newborn.

        Raises:
            CheckpointDamaged: The parent's checkpoint is not what was published.
            StateUnsupported: It lacks an entry that ``build`` returns.
        """
        attempt, record = attempt_of(trial), trial.record
        attempt.state, self.untold = self.state, None
        if self._goes_on(trial, fixed):
            return None
        if record.parent is not None and record.parent == self.trial and self._reload != "always":
            return None
        self.trial = None
        if record.parent is None or self._fixed != fixed:
            self._rebuild(trial, fixed)
        attempt.loaded = True
        if record.parent is None and attempt.grant.parent is None:
            return None
        if attempt.grant.parent is None:
            raise StateUnsupported(
                f"trial {record.number} starts from trial {record.parent}, which left no checkpoint to load"
            )
        return self._restore(attempt.grant.parent, record.parent)

    def _goes_on(self, trial: LiveTrial, fixed: Mapping[str, Value]) -> bool:
        """Load the latest save within the trial, if there is one that is whole; return whether it did.

        Args:
            trial: The trial.
            fixed: Its fixed hyperparameters.
        """
        attempt, record = attempt_of(trial), trial.record
        saved = record.saved
        if saved is None or (record.steps is not None and saved.step - record.start_step >= record.steps):
            return False
        self.trial = None
        if self._fixed != fixed or record.parent is None:
            self._rebuild(trial, fixed)
        try:
            self._restore(saved.checkpoint, record.number).verify()
        except CheckpointDamaged:
            self.forget()
            return False
        attempt.loaded, attempt.steps_before = True, saved.step - record.start_step
        for said in saved.evaluations:
            attempt.report(said.step, said.metric, said.value)
        return True

    def _rebuild(self, trial: LiveTrial, fixed: Mapping[str, Value]) -> None:
        # clear before calling build, so that memory never holds two members
        self.forget()
        seed_everything(trial.seed)
        hyperparameters = attempt_of(trial).hyperparameters
        read = set(hyperparameters.paths)
        built = self._build(trial)
        # a value that only build reads has no effect after birth, so do not count it as read
        hyperparameters.paths = read
        if not isinstance(built, Mapping) or not all(isinstance(name, str) and name for name in built):
            raise StateUnsupported(
                f"build returned {type(built).__name__}, but must return a dictionary from names to objects to "
                "save, such as dict(model=model, optimizer=optimizer)"
            )
        self._refuse_reused(built)
        vars(self.state).update(built)
        self._fixed = dict(fixed)
        self._built = frozenset(built)

    def _refuse_reused(self, built: Mapping[str, Any]) -> None:
        """Raise StateUnsupported if ``build`` returned an object again that another member has changed.

        An object that no member changes, such as a frozen encoder or a table, may be shared.

        Args:
            built: What it returned.
        """
        born = []
        before = {id(value): content for reference, content in self._born if (value := reference()) is not None}
        for path, value in _trainable(built):
            content = _content(value)
            if id(value) in before and before[id(value)] != content:
                raise StateUnsupported(
                    f"build returned the same {type(value).__qualname__} as {path!r} that it had returned for an "
                    "earlier member, so this one would be born trained: make it inside build"
                )
            with suppress(TypeError):  # not every object can be referred to weakly
                # weak, since memory must not hold two members
                born.append((weakref.ref(value), content))
        self._born = born

    def _restore(self, reference: CheckpointReference, parent: int | None) -> OpenCheckpoint:
        """Load a checkpoint into the state.

        Args:
            reference: The checkpoint.
            parent: The trial that left it; None for the one that newborns begin with.
        """
        opened = self._store.open(reference)
        if self._load is not None:
            opened.verify()
            self._load(self.state, opened.path)
            return opened
        if parent is None:
            return self._warm_start(opened)
        missing = sorted(self._built.difference(opened.entries)) if opened.packed else []
        if missing:
            opened.verify()  # raises if the cause is damage
            raise StateUnsupported(
                f"build returned {', '.join(map(repr, missing))}, but the checkpoint of trial {parent} has only "
                f"{', '.join(map(repr, sorted(opened.entries))) or 'nothing'}. build must return the same entries as "
                "long as a study goes on: make new ones in the loop's body "
                f"(if not hasattr(trial.state, {missing[0]!r}): ...), or begin another study; set entries that trials "
                "no longer need to None, and do not delete them"
            )
        opened.restore(vars(self.state))
        return opened

    def _warm_start(self, opened: OpenCheckpoint) -> OpenCheckpoint:
        """Load the checkpoint that newborns begin with; it must fit what ``build`` returned.

        Args:
            opened: The checkpoint.

        Raises:
            StateUnsupported: It lacks an entry, has another one, or an array of another shape.
        """
        for named, whose in (
            (self._built.difference(opened.entries), "build returned it, but the checkpoint of warm_start lacks it"),
            (set(opened.entries) - self._built, "the checkpoint of warm_start has it, but build did not return it"),
        ):
            if named and opened.packed:
                opened.verify()
                raise StateUnsupported(
                    f"entry {min(named)!r}: {whose}. Give a checkpoint of a study with the same build"
                )
        before = dict(_shapes(vars(self.state)))
        opened.restore(vars(self.state))
        after = dict(_shapes(vars(self.state)))
        for path, shape in before.items():
            if after.get(path) != shape:
                found = f"has the shape {list(after[path])}" if path in after else "is missing"
                raise StateUnsupported(
                    f"{path!r} {found} in the checkpoint of warm_start, but build returned one of {list(shape)}"
                )
        return opened

    def publish(self, checkpoint: str) -> CheckpointReference:
        """Publish the state under an id; it is durable once this returns.

        Raises:
            CheckpointError: The store or ``save`` could not write it.
        """
        if self._save is None:
            return self._store.publish(checkpoint, vars(self.state))
        return self.snapshot(checkpoint)()

    def snapshot(self, checkpoint: str) -> Callable[[], CheckpointReference]:
        """Copy the state, and return a function that publishes the copy; the state itself may change meanwhile.

        Args:
            checkpoint: The id to publish it under.

        Raises:
            CheckpointError: ``save`` could not write its files.
        """
        if self._save is None:
            return partial(self._store.publish, checkpoint, self._store.snapshot(vars(self.state)))
        folder = self._store.staging(checkpoint)
        try:
            self._save(self.state, folder)
        except OSError as error:
            # an error of the disk, not of the trial; numpy's errors for a full disk have no errno to recognise them
            raise CheckpointError(f"save could not write checkpoint {checkpoint} to {folder}: {error}") from error
        return partial(self._store.publish_folder, checkpoint, folder)


def _trainable(built: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Return the modules, optimizers and arrays of a state, which training changes in place, each with its place."""
    if isinstance(built, Mapping):
        for name, value in built.items():
            yield from _trainable(value, f"{path}.{name}" if path else str(name))
    elif isinstance(built, (list, tuple)):
        for place, value in enumerate(built):
            yield from _trainable(value, f"{path}[{place}]")
    elif callable(getattr(built, "load_state_dict", None)) or (
        ancestry(built, "keras") or ancestry(built, "sklearn") or _is_mutable_array(built)
    ):
        yield path, built


def _content(value: Any) -> object:
    """Return what tells whether training has changed an object: sums of its arrays, or what its optimizer keeps.

    Args:
        value: A module, an optimizer, an estimator, an array, or another object with a ``state_dict``.
    """
    if ancestry(value, "keras"):
        as_numpy = sys.modules["keras"].ops.convert_to_numpy
        return tuple(_sums(as_numpy(one)) for one in getattr(value, "variables", ()))
    if ancestry(value, "sklearn"):
        return _sums_within({name: one for name, one in vars(value).items() if name.endswith("_")})
    if callable(getattr(value, "state_dict", None)):
        return _sums_within(value.state_dict())
    return _sums(value)


def _sums_within(content: Any) -> object:
    if isinstance(content, Mapping):
        return tuple((str(key), _sums_within(one)) for key, one in content.items())
    if isinstance(content, (list, tuple)):
        return tuple(map(_sums_within, content))
    return _sums(content) if hasattr(content, "shape") else repr(content)


def _sums(array: Any) -> object:
    if array.dtype is None or ("float" not in str(array.dtype) and "int" not in str(array.dtype)):
        return (tuple(array.shape), repr(array))
    plain = array.detach().double() if hasattr(array, "detach") else array.astype(float)
    # two sums, since one alone would not see values that change places or signs
    return tuple(array.shape), float(plain.sum()), float((plain * plain).sum())


def _shapes(built: Any, path: str = "") -> Iterator[tuple[str, tuple[int, ...]]]:
    """Return the shape of each array in a state's trees, with its place."""
    if isinstance(built, Mapping):
        for name, value in built.items():
            yield from _shapes(value, f"{path}.{name}" if path else str(name))
    elif isinstance(built, (list, tuple)):
        for place, value in enumerate(built):
            yield from _shapes(value, f"{path}[{place}]")
    elif isinstance(getattr(built, "shape", None), tuple) and hasattr(built, "dtype"):
        yield path, tuple(built.shape)


def _is_mutable_array(value: Any) -> bool:
    if ancestry(value, "torch"):
        return hasattr(value, "requires_grad")
    return bool(ancestry(value, "numpy")) and bool(getattr(getattr(value, "flags", None), "writeable", False))
