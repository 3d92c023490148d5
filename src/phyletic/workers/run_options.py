"""The arguments of a run, checked in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from phyletic.errors import InvalidArgument
from phyletic.evolution.arguments import check_number, check_one_of, check_sequence
from phyletic.workers.environment import check_devices, check_environment
from phyletic.workers.trial import check_steps

__all__ = ["RunOptions"]

_MOST_WORKERS = 10_000


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a study is run; :meth:`phyletic.Study.run` has the same arguments.

    Attributes:
        workers: Number of local processes; 0 runs in this process. None takes as many as there are devices, or 0.
        devices: What each worker sees of CUDA's devices: an entry per worker, a number, a name or a list of them; used
            in turn if there are fewer entries than workers. None changes nothing.
        threads: Threads of the numerical libraries in each worker; the same for any number of workers, because the
            order of a sum, and so its last bits, depend on it. None leaves the environment as it is.
        reload: ``"changed"`` loads a state only if it is not in memory already, ``"always"`` for every trial.
        verbose: 0 is silent, 1 a live display, 2 a line for each trial.
        trial_timeout: Seconds after which a trial is killed with its worker and counts as lost; None sets no limit.
        grace: Seconds that running trials have to hand back what they have once their worker was asked to end.
        environment: Further environment variables of the workers.

    Raises:
        InvalidArgument: An argument is out of range.

    Example:
        >>> RunOptions(devices=[0, 1]).count
        2
    """

    workers: int | None = None
    devices: Sequence[object] | None = None
    threads: int | None = 1
    reload: str = "changed"
    verbose: int = 1
    trial_timeout: float | None = None
    grace: float = 10.0
    environment: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if self.devices is not None:
            check_sequence("devices", self.devices, "a list such as [0, 1], or None")
        count = check_steps("workers", self.count, 0)
        if count == 0 and self.trial_timeout is not None:
            raise InvalidArgument(
                "trial_timeout", self.trial_timeout, "None with workers=0: in this process nothing can be killed"
            )
        if count > _MOST_WORKERS:
            raise InvalidArgument("workers", count, f"at most {_MOST_WORKERS}")
        check_devices(self.devices, count or len(self.devices or ()))
        if self.trial_timeout is not None:
            check_number("trial_timeout", self.trial_timeout, above=0)
        check_number("grace", self.grace, above=0)
        check_environment(self.threads, self.environment)
        check_one_of("reload", self.reload, ("changed", "always"))

    @property
    def count(self) -> int:
        """How many local processes; 0 for none."""
        return len(self.devices or ()) if self.workers is None else self.workers
