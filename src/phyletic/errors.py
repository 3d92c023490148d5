"""Every error phyletic raises on purpose.

::

    PhyleticError
    ├── InvalidArgument (ValueError)      an argument is wrong: names it, its value, and what is allowed
    │   └── InvalidSpace                  a search space, or values for it
    ├── NotFound (KeyError)               a study, trial or checkpoint that does not exist
    ├── MissingDependency (ImportError)   an optional library is needed: names the extra to install
    ├── StudyMismatch                     a study is opened with another identity: names the difference
    ├── StorageError                      the database could not be used
    │   ├── StorageOwned                  another process writes this file: names it
    │   ├── StorageUnsupported            the place cannot hold a study safely (a network file system)
    │   └── StorageBusy                   the database stayed locked or failed a write: try again
    ├── CheckpointError                   a checkpoint could not be written or read
    │   └── CheckpointDamaged             its bytes are not those that were published
    ├── Unreachable                       the study's owner does not answer
    ├── LeaseLost                         the right to write this trial was given to someone else
    ├── TellConflict                      this trial was told already, with another result
    ├── TrainingError                     the training code broke the contract of the loop
    │   ├── MetricMissing                 a trial ended without the metric it is ranked by
    │   ├── HyperparameterUnused          a hyperparameter was neither read nor applied
    │   ├── HyperparameterDrift           what was applied is not what is in effect at the end
    │   ├── ApplyFailed                   a target of apply is not known, or did not take a value
    │   └── StateUnsupported              something `build` returned cannot be saved
    ├── TrialFailed                       a trial raised: carries the traceback of the worker
    └── StudyFailed                       failures without a completion between them stopped the study
"""

from __future__ import annotations

__all__ = [
    "ApplyFailed",
    "CheckpointDamaged",
    "CheckpointError",
    "HyperparameterDrift",
    "HyperparameterUnused",
    "InvalidArgument",
    "InvalidSpace",
    "LeaseLost",
    "MetricMissing",
    "MissingDependency",
    "NotFound",
    "PhyleticError",
    "StateUnsupported",
    "StorageBusy",
    "StorageError",
    "StorageOwned",
    "StorageUnsupported",
    "StudyFailed",
    "StudyMismatch",
    "TellConflict",
    "TrainingError",
    "TrialFailed",
    "Unreachable",
]


class PhyleticError(Exception):
    """The root: ``except ph.errors.PhyleticError`` catches all that phyletic raises on purpose."""


class InvalidArgument(PhyleticError, ValueError):
    """An argument is wrong.

    Args:
        name: The argument, as the caller wrote it (``"budget.trials"``, ``"space['lr'].high"``).
        value: What was given.
        allowed: What would have been accepted, as the end of "must be ...".
        hint: What to do, where that is not plain from ``allowed``.

    Example:
        >>> print(InvalidArgument("workers", -1, "an integer of at least 0"))
        workers is -1, but must be an integer of at least 0
    """

    def __init__(self, name: str, value: object, allowed: str, hint: str = "") -> None:
        self.name = name
        self.value = value
        self.allowed = allowed
        self.hint = hint
        try:
            shown = repr(value)
        except Exception:  # an object may have a repr that fails, and a whole number too many digits for one
            shown = f"a {type(value).__name__} that cannot be shown"
        if len(shown) > 200:
            shown = shown[:197] + "..."
        super().__init__(f"{name} is {shown}, but must be {allowed}" + (f". {hint}" if hint else ""))

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.name, self.value, self.allowed, self.hint))


class InvalidSpace(InvalidArgument):
    """A search space, or the values given for one, cannot be used."""


class NotFound(PhyleticError, KeyError):
    """What was asked for does not exist."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class MissingDependency(PhyleticError, ImportError):
    """An optional library is needed for what was asked.

    Args:
        library: The library that could not be imported.
        extra: The extra of phyletic that brings it.
        purpose: What it is needed for.
    """

    def __init__(self, library: str, extra: str, purpose: str) -> None:
        self.library, self.extra, self.purpose = library, extra, purpose
        super().__init__(f"{purpose} needs {library}: pip install 'phyletic[{extra}]'")

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.library, self.extra, self.purpose))


class StudyMismatch(PhyleticError):
    """A study is opened with an identity other than the one it was created with."""


class StorageError(PhyleticError):
    """The database could not be used."""


class StorageOwned(StorageError):
    """Another process writes this database; the message names it."""


class StorageUnsupported(StorageError):
    """The place cannot hold a study safely, or the URL is of a kind that is not supported."""


class StorageBusy(StorageError):
    """The database stayed locked, or a write to it failed; nothing of the transaction is visible."""


class CheckpointError(PhyleticError):
    """A checkpoint could not be written or read."""


class CheckpointDamaged(CheckpointError):
    """The bytes of a checkpoint are not those that were published."""


class Unreachable(PhyleticError):
    """The study's owner did not answer; it may have decided what it was sent, or not."""


class LeaseLost(PhyleticError):
    """The right to write this trial is no longer held: it was granted again, or has ended."""


class TellConflict(PhyleticError):
    """This trial was told already, with another result; the first result stands."""


class TrainingError(PhyleticError):
    """The training code broke the contract of the loop; trying again would not help."""


class MetricMissing(TrainingError):
    """A trial ended without a report of the metric that the study ranks by."""


class HyperparameterUnused(TrainingError):
    """A hyperparameter was neither read nor applied during a trial, so exploring it changes nothing."""


class HyperparameterDrift(TrainingError):
    """A value that was applied is not the value in effect at the trial's end."""


class ApplyFailed(TrainingError):
    """A target of ``apply`` is of no known kind, or did not take a value."""


class StateUnsupported(TrainingError):
    """Something that ``build`` returned cannot be saved as a checkpoint."""


class TrialFailed(PhyleticError):
    """A trial raised in a worker; the message ends with the worker's traceback."""


class StudyFailed(PhyleticError):
    """Trials failed one after another without a completion between them, so the study stopped."""
