"""What a worker holds in memory: the state that ``build`` returned, and the trial that left it so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from phyletic.checkpoints.checkpoints import Checkpoints
from phyletic.checkpoints.open_checkpoint import OpenCheckpoint
from phyletic.errors import CheckpointError, StateUnsupported
from phyletic.records import CheckpointReference, Value
from phyletic.workers.seeding import seed_everything
from phyletic.workers.trial import LiveTrial, attempt_of

__all__ = ["Memory", "State"]

Save = Callable[[Any, Path], object]
Load = Callable[[Any, Path], object]


class State:
    """The namespace ``trial.state``: one attribute for each entry that ``build`` returned.

    Assigning to an attribute replaces the entry, for state that is not changed in place (JAX trees, boosters).

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

    def __setattr__(self, name: str, value: Any) -> None:
        vars(self)[name] = value

    def __delattr__(self, name: str) -> None:
        if name not in vars(self):
            raise AttributeError(name)
        del vars(self)[name]

    def __repr__(self) -> str:
        return f"State({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class Memory:
    """The state in one worker's memory, and the checkpoints that it is saved to and loaded from.

    Args:
        store: The study's checkpoints.
        build: Makes a member at birth; returns a mapping from names to objects to save.
        save: Writes the state into a folder, in place of the adapters.
        load: Reads the state from such a folder.
        reload: ``"changed"`` loads a state only if it is not in memory already, ``"always"`` loads every time.
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
        self._fixed: dict[str, Value] | None = None
        self._built: frozenset[str] = frozenset()

    def forget(self) -> None:
        """Drop the state: nothing in memory is trusted any more."""
        self.trial = None
        self._fixed = None
        vars(self.state).clear()

    def prepare(self, trial: LiveTrial, fixed: Mapping[str, Value]) -> OpenCheckpoint | None:
        """Make the state what the trial starts from.

        Args:
            trial: The trial, for ``build``.
            fixed: The trial's fixed hyperparameters; if they are not those in memory, the state is built anew.

        Returns:
            The loaded checkpoint, which the caller verifies; None if the state was in memory or is newborn.

        Raises:
            CheckpointDamaged: The parent's checkpoint is not what was published.
            StateUnsupported: It lacks what ``build`` returns.
        """
        attempt, record = attempt_of(trial), trial.record
        attempt.state = self.state
        in_memory = record.parent is not None and record.parent == self.trial
        if in_memory and self._reload != "always":
            return None
        self.trial = None
        if record.parent is None or self._fixed != fixed:
            self._rebuild(trial, fixed)
        attempt.loaded = True
        if record.parent is None:
            return None
        if attempt.grant.parent is None:
            raise StateUnsupported(
                f"trial {record.number} starts from trial {record.parent}, which left no checkpoint to load"
            )
        return self._restore(attempt.grant.parent, record.parent)

    def _rebuild(self, trial: LiveTrial, fixed: Mapping[str, Value]) -> None:
        # clear before calling build, so that memory never holds two members
        self.forget()
        seed_everything(trial.seed)
        hyperparameters = attempt_of(trial).hyperparameters
        read = set(hyperparameters.paths)
        built = self._build(trial)
        # a value that only build reads has no effect after birth, so it does not count as read
        hyperparameters.paths = read
        if not isinstance(built, Mapping) or not all(isinstance(name, str) and name for name in built):
            raise StateUnsupported(
                f"build returned {type(built).__name__}, but must return a dictionary from names to objects to "
                "save, such as dict(model=model, optimizer=optimizer)"
            )
        vars(self.state).update(built)
        self._fixed = dict(fixed)
        self._built = frozenset(built)

    def _restore(self, reference: CheckpointReference, parent: int) -> OpenCheckpoint:
        opened = self._store.open(reference)
        if self._load is None:
            if opened.packed:
                self._require_built(opened, parent)
            opened.restore(vars(self.state))
        else:
            opened.verify()
            self._load(self.state, opened.path)
        return opened

    def _require_built(self, opened: OpenCheckpoint, parent: int) -> None:
        """Raise StateUnsupported if ``build`` now returns entries that the checkpoint lacks."""
        missing = sorted(self._built.difference(opened.entries))
        if missing:
            opened.verify()  # raises if the cause is damage
            raise StateUnsupported(
                f"build returned {', '.join(map(repr, missing))}, but the checkpoint of trial {parent} has only "
                f"{', '.join(map(repr, sorted(opened.entries))) or 'nothing'}. What build returns stays the same while "
                f"a study goes on: make what is new in the loop's body (if not hasattr(trial.state, {missing[0]!r}): "
                "...), or begin another study; what a trial needs no more is set to None, not deleted"
            )

    def publish(self, checkpoint: str) -> CheckpointReference:
        """Publish the state under an id. It is durable once this returns.

        Raises:
            CheckpointError: It could not be written, by the store or by ``save``.
        """
        if self._save is None:
            return self._store.publish(checkpoint, vars(self.state))
        folder = self._store.staging(checkpoint)
        try:
            self._save(self.state, folder)
        except OSError as error:
            # says nothing about the trial; numpy's errors for a full disk have no number to tell it by
            raise CheckpointError(f"save could not write checkpoint {checkpoint} to {folder}: {error}") from error
        return self._store.publish_folder(checkpoint, folder)
