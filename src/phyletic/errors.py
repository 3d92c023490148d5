"""Every error that phyletic raises on purpose.

::

    PhyleticError
    ├── InvalidArgument (ValueError)      an argument is wrong; names it, its value, and what is allowed
    │   └── InvalidSpace                  a search space, or a value for it, is wrong
    ├── UnknownArgument (TypeError)       a call has an argument that does not exist; names ours
    ├── NotFound (KeyError)               a study, trial or checkpoint does not exist
    ├── MissingDependency (ImportError)   an optional library is missing; names the extra to install
    ├── StudyMismatch                     the study exists with another identity; names the difference
    ├── StorageError                      phyletic cannot use the database
    │   ├── StorageOwned                  another process writes this file; names the process
    │   ├── StorageUnsupported            the place cannot hold a study safely (a network file system)
    │   └── StorageBusy                   the database stayed locked, or a write failed; try again
    ├── CheckpointError                   phyletic cannot write or read a checkpoint
    │   ├── CheckpointDamaged             its bytes are not those that were published
    │   └── StoreUnreachable              the object store did not answer, or refused, for store_timeout seconds
    ├── Unreachable                       the study's owner does not answer
    ├── NotAuthenticated                  a request to a service came without a token that it knows
    ├── NotAllowed                        the token of a request does not allow the call; names what would
    ├── LimitExceeded                     a request would pass a limit of the service; names the limit
    ├── LeaseLost                         the right to write this trial was given to someone else
    ├── TellConflict                      this trial already has another result
    ├── TrainingError                     the training code broke the contract of the loop
    │   ├── NotATrial (AttributeError)    the training code used the source of trials as one trial
    │   ├── MetricMissing                 a trial ended without the metric that ranks it
    │   ├── HyperparameterUnused          the training code neither read nor applied a hyperparameter
    │   ├── HyperparameterDrift           an applied value is not in effect at the trial's end
    │   ├── ApplyFailed                   `apply` does not know a target, or the target did not take a value
    │   ├── StateUnsupported              no adapter can save something that `build` returned
    │   └── ReportInvalid                 a command wrote a line in its report that is not a JSON object of numbers
    ├── TrialFailed                       a trial raised; has the worker's traceback
    │   └── CommandFailed                 a command failed; has the end of its standard error
    └── StudyFailed                       trials failed one after another, so the study stopped
"""

from __future__ import annotations

__all__ = [
    "ApplyFailed",
    "CheckpointDamaged",
    "CheckpointError",
    "CommandFailed",
    "HyperparameterDrift",
    "HyperparameterUnused",
    "InvalidArgument",
    "InvalidSpace",
    "LeaseLost",
    "LimitExceeded",
    "MetricMissing",
    "MissingDependency",
    "NotATrial",
    "NotAllowed",
    "NotAuthenticated",
    "NotFound",
    "PhyleticError",
    "ReportInvalid",
    "StateUnsupported",
    "StorageBusy",
    "StorageError",
    "StorageOwned",
    "StorageUnsupported",
    "StoreUnreachable",
    "StudyFailed",
    "StudyMismatch",
    "TellConflict",
    "TrainingError",
    "TrialFailed",
    "UnknownArgument",
    "Unreachable",
]


class PhyleticError(Exception):
    """The root: ``except ph.errors.PhyleticError`` catches every error that phyletic raises on purpose."""


class InvalidArgument(PhyleticError, ValueError):
    """An argument is wrong.

    Args:
        name: The argument, as the caller wrote it (``"budget.trials"``, ``"space['lr'].high"``).
        value: The value given.
        allowed: What is allowed, as the end of "must be ...".
        hint: What to do, if ``allowed`` does not say it.

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
        except Exception:  # a repr may fail, and Python refuses to print a whole number with too many digits
            shown = f"a {type(value).__name__} that cannot be shown"
        if len(shown) > 200:
            shown = shown[:197] + "..."
        super().__init__(f"{name} is {shown}, but must be {allowed}" + (f". {hint}" if hint else ""))

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.name, self.value, self.allowed, self.hint))


class InvalidSpace(InvalidArgument):
    """A search space, or a value for it, is wrong."""


class UnknownArgument(PhyleticError, TypeError):
    """A call has an argument that does not exist; the message names the one that phyletic has for it."""


class NotFound(PhyleticError, KeyError):
    """A study, trial or checkpoint does not exist."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class MissingDependency(PhyleticError, ImportError):
    """An optional library is missing.

    Args:
        library: The missing library.
        extra: The extra of phyletic that installs it.
        purpose: What needs the library.
    """

    def __init__(self, library: str, extra: str, purpose: str) -> None:
        self.library, self.extra, self.purpose = library, extra, purpose
        super().__init__(f"{purpose} needs {library}: pip install 'phyletic[{extra}]'")

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.library, self.extra, self.purpose))


class StudyMismatch(PhyleticError):
    """The study was created with another identity; the message names the difference."""


class StorageError(PhyleticError):
    """phyletic cannot use the database."""


class StorageOwned(StorageError):
    """Another process writes this database; the message names the process."""


class StorageUnsupported(StorageError):
    """The place cannot hold a study safely, or phyletic does not support this kind of URL."""


class StorageBusy(StorageError):
    """The database stayed locked, or a write failed; nothing of the transaction is visible."""


class CheckpointError(PhyleticError):
    """phyletic cannot write or read a checkpoint."""


class CheckpointDamaged(CheckpointError):
    """The bytes of a checkpoint differ from those that were published."""


class StoreUnreachable(CheckpointError):
    """An object store did not answer, or refused, for as long as ``store_timeout`` allows; names it and the reason."""


class Unreachable(PhyleticError):
    """The study's owner did not answer; it may have decided what it was sent, or not."""


class NotAuthenticated(PhyleticError):
    """A request to a service came without a token, or with one that is unknown, revoked or expired."""


class NotAllowed(PhyleticError):
    """The token of a request does not allow the call; the message names the role or the study that would."""


class LimitExceeded(PhyleticError):
    """A request would pass a limit of the service, which changed nothing; the message names the limit."""


class LeaseLost(PhyleticError):
    """This session may no longer write for the trial: the trial was granted again, or has ended."""


class TellConflict(PhyleticError):
    """This trial already has another result, which stands."""


class TrainingError(PhyleticError):
    """The training code broke the contract of the loop; trying again would not help."""


class NotATrial(TrainingError, AttributeError):
    """The training code used the source of trials as if it were one trial."""


class MetricMissing(TrainingError):
    """A trial ended without a report of the metric that ranks it."""


class HyperparameterUnused(TrainingError):
    """The training code neither read nor applied a hyperparameter, so exploring it changes nothing."""


class HyperparameterDrift(TrainingError):
    """An applied value is not in effect at the trial's end."""


class ApplyFailed(TrainingError):
    """``apply`` does not know a target, or the target did not take a value."""


class StateUnsupported(TrainingError):
    """No adapter can save something that ``build`` returned."""


class ReportInvalid(TrainingError):
    """A command wrote a line in its report that is not a JSON object of numbers; the message has the line."""


class TrialFailed(PhyleticError):
    """A trial raised in a worker; the message ends with the worker's traceback."""


class CommandFailed(TrialFailed):
    """A command failed, which counts as a failed attempt; the message has the end of its standard error."""


class StudyFailed(PhyleticError):
    """Trials failed one after another and none completed between them, so the study stopped."""
