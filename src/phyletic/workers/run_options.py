"""The arguments of a run, checked in one place, and the environment that each worker gets from them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

import phyletic
from phyletic.errors import InvalidArgument
from phyletic.evolution.arguments import check_integer, check_mapping, check_number, check_one_of
from phyletic.records.encodings import whole_number
from phyletic.workers.background_upload import UPLOADS
from phyletic.workers.live_trial import check_steps
from phyletic.workers.ray_workers import RayWorkers
from phyletic.workers.reaper import MARKER

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_DEVICES = "CUDA_VISIBLE_DEVICES"
_MOST_WORKERS = 10_000


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to run a study; :meth:`phyletic.Study.run` has the same arguments.

    Attributes:
        workers: Number of local processes, or Ray actors; 0 runs in this process. None takes as many as there are
            devices, or 0.
        devices: The CUDA devices that each worker sees: an entry per worker, a number, a name (``"1"``, ``"cuda:1"``,
            ``"GPU-8f2e..."``) or a list of them. Workers use the entries in turn if there are fewer; an empty list is a
            worker without devices. None changes nothing.
        threads: Threads of the numerical libraries in each worker; the same for any number of workers, because the
            order of a sum, and so its last bits, depend on it. None leaves the environment as it is.
        reload: ``"changed"`` loads a state only if it is not in memory already, ``"always"`` for every trial.
        upload: ``"before_tell"`` publishes a trial's checkpoint before anything else, ``"background"`` while the next
            trial trains.
        verbose: 0 is silent, 1 a live display, 2 a line for each trial.
        trial_timeout: Seconds after which the run kills a trial's worker and counts the trial as lost; None sets no
            limit.
        grace: Seconds that running trials have to hand back their state after their worker was asked to end.
        environment: Further environment variables of the workers.

    Raises:
        InvalidArgument: An argument is out of range.

    Example:
        >>> RunOptions(devices=[0, 1]).count
        2
    """

    workers: int | RayWorkers | None = None
    devices: Sequence[object] | None = None
    threads: int | None = 1
    reload: str = "changed"
    upload: str = "before_tell"
    verbose: int = 1
    trial_timeout: float | None = None
    grace: float = 10.0
    environment: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.workers, RayWorkers):
            if self.devices is not None:
                raise InvalidArgument("devices", self.devices, "None with RayWorkers: Ray assigns devices by num_gpus")
            if self.workers.gang > 1 and self.upload == "background":
                raise InvalidArgument("upload", self.upload, "'before_tell' with a gang")
        elif self.workers is not None:
            check_steps("workers", self.workers, 0)
        if self.devices is not None:
            _check_devices(self.devices, self.count)
        if self.count > _MOST_WORKERS:
            raise InvalidArgument("workers", self.count, f"at most {_MOST_WORKERS}")
        if self.trial_timeout is not None:
            if self.count == 0:
                allowed = "None with workers=0: in this process nothing can be killed"
                raise InvalidArgument("trial_timeout", self.trial_timeout, allowed)
            check_number("trial_timeout", self.trial_timeout, above=0)
        check_number("grace", self.grace, above=0)
        if self.threads is not None:
            check_integer("threads", self.threads, 1)
        if self.environment is not None:
            _check_variables(self.environment)
        check_one_of("reload", self.reload, ("changed", "always"))
        check_one_of("upload", self.upload, UPLOADS)

    @property
    def ray(self) -> RayWorkers | None:
        """The Ray actors; None without Ray."""
        return self.workers if isinstance(self.workers, RayWorkers) else None

    @property
    def count(self) -> int:
        """How many workers outside this process; 0 for none."""
        if isinstance(self.workers, RayWorkers):
            return self.workers.most
        return len(self.devices or ()) if self.workers is None else self.workers


def worker_environment(options: RunOptions, place: int, session: str) -> dict[str, str]:
    """Return the environment of a worker, which must be set before its first import of a numerical library.

    Args:
        options: Their threads go before this process's variables, and their environment before all others.
        place: The worker's place, from 0.
        session: Identity of its session, by which the reaper finds its descendants.
    """
    environment = {**os.environ, **run_variables(options, place)}
    environment[MARKER] = " ".join([*environment.get(MARKER, "").split(), session])
    # the worker must find this package even if this process found it through a changed sys.path; it restores the
    # variable once it has begun
    package = str(Path(phyletic.__file__).parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, environment.get("PYTHONPATH", "")]))
    return environment


def run_variables(options: RunOptions, place: int) -> dict[str, str]:
    """Return the environment variables that a run's arguments set for a worker, or for the commands of this process.

    Args:
        options: The arguments; their environment goes before their threads and devices.
        place: The worker's place, from 0.
    """
    variables: dict[str, str] = {}
    if options.threads is not None:
        variables.update(dict.fromkeys(THREAD_VARIABLES, str(options.threads)))
    if options.devices is not None:
        variables[_DEVICES] = visible_devices(options.devices, place)
    return {**variables, **(options.environment or {})}


def visible_devices(devices: Sequence[object], place: int) -> str:
    """Return ``CUDA_VISIBLE_DEVICES`` of a worker.

    Numbers count the devices that this process sees, so they go through its own ``CUDA_VISIBLE_DEVICES``.

    Args:
        devices: An entry per worker, as in :class:`RunOptions`.
        place: The worker's place, from 0.

    Raises:
        InvalidArgument: An entry is not a device, or this process does not see it.

    Example:
        >>> visible_devices([["cuda:GPU-8f2e", "GPU-b"]], 0)
        'GPU-8f2e,GPU-b'
    """
    index = place % len(devices)
    entry = devices[index]
    return ",".join(
        _device(f"devices[{index}]", device) for device in (entry if isinstance(entry, (list, tuple)) else [entry])
    )


def _device(name: str, device: object) -> str:
    text = device.removeprefix("cuda:") if isinstance(device, str) else ""
    if text and "," not in text and not text.isdigit():
        return text
    number = int(text) if text.isdecimal() else whole_number(device)
    if number is None or number < 0:
        raise InvalidArgument(name, device, 'a device such as 0, "cuda:0" or "GPU-8f2e...", or a list of them')
    seen = os.environ.get(_DEVICES)
    if seen is None:
        return str(number)
    visible = [entry.strip() for entry in seen.split(",") if entry.strip()]
    if number >= len(visible):
        raise InvalidArgument(name, device, f"below {len(visible)}, since {_DEVICES} is {seen!r}")
    return visible[number]


def _check_devices(devices: Sequence[object], workers: int) -> None:
    if isinstance(devices, (str, bytes)) or not isinstance(devices, Sequence) or not devices:
        raise InvalidArgument("devices", devices, "a list with one entry per worker, such as [0, 1], or None")
    if workers and len(devices) > workers:
        raise InvalidArgument(
            "devices",
            devices,
            f"at most {workers} entries, one per worker",
            "Give one worker several devices by a list: [[0, 1], [2, 3]]",
        )
    for place in range(len(devices)):
        visible_devices(devices, place)


def _check_variables(environment: object) -> None:
    allowed = 'a dictionary from the names of environment variables to their texts, such as {"NAME": "value"}'
    for name, text in check_mapping("environment", environment, allowed).items():
        try:
            wrong = not name or "=" in name or b"\0" in os.fsencode(name) + os.fsencode(text)
        except (TypeError, UnicodeEncodeError):
            wrong = True
        if wrong or not (isinstance(name, str) and isinstance(text, str)):
            raise InvalidArgument("environment", {name: text}, allowed)
