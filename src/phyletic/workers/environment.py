"""The environment of a local worker: what must be set before the first import of a numerical library."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import phyletic
from phyletic.errors import InvalidArgument
from phyletic.evolution.arguments import check_integer, check_mapping
from phyletic.workers.reaper import MARKER

__all__ = ["THREAD_VARIABLES", "check_devices", "check_environment", "visible_devices", "worker_environment"]

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_DEVICES = "CUDA_VISIBLE_DEVICES"


def worker_environment(
    session: str,
    *,
    devices: str | None,
    threads: int | None,
    additions: Mapping[str, str] | None = None,
    inherited: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the environment that a worker starts with.

    Args:
        session: Identity of its session; its descendants are found by it.
        devices: Value of ``CUDA_VISIBLE_DEVICES``; None leaves it as it is.
        threads: Threads of each numerical library, the same whatever the number of workers, because the order of a
            sum depends on it; None leaves the variables as they are.
        additions: Variables that the user sets; they go before all others.
        inherited: Variables to start from; this process's if left out.
    """
    environment = dict(os.environ if inherited is None else inherited)
    if threads is not None:
        environment.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    if devices is not None:
        environment[_DEVICES] = devices
    environment.update(additions or {})
    environment[MARKER] = " ".join([*environment.get(MARKER, "").split(), session])
    # found by the worker even where this process found it through a changed sys.path; put back once it has begun
    package = str(Path(phyletic.__file__).parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, environment.get("PYTHONPATH", "")]))
    return environment


def check_environment(threads: object, environment: object) -> None:
    """Check what was given for every worker's environment.

    Raises:
        InvalidArgument: There are no so many threads, or no such environment variables.
    """
    if threads is not None:
        check_integer("threads", threads, 1)
    if environment is not None:
        allowed = 'a dictionary from the names of environment variables to their texts, such as {"NAME": "value"}'
        for name, text in check_mapping("environment", environment, allowed).items():
            if not (_encodable(name) and _encodable(text)) or not name or "=" in name:
                raise InvalidArgument("environment", {name: text}, allowed)


def _encodable(text: object) -> bool:
    try:
        return isinstance(text, str) and b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def check_devices(devices: Sequence[object] | None, workers: int) -> None:
    """Check what devices were given for how many workers.

    Raises:
        InvalidArgument: An entry is no device, or there are more entries than workers.
    """
    if devices is None:
        return
    if isinstance(devices, (str, bytes)) or not isinstance(devices, Sequence) or not devices:
        raise InvalidArgument("devices", devices, "a list with one entry per worker, such as [0, 1]")
    if len(devices) > workers:
        raise InvalidArgument(
            "devices",
            devices,
            f"at most {workers} entries, one per worker",
            "Give one worker several devices by a list: [[0, 1], [2, 3]]",
        )
    for index in range(len(devices)):
        visible_devices(devices, index)


def visible_devices(devices: Sequence[object], index: int, inherited: Mapping[str, str] | None = None) -> str:
    """Return ``CUDA_VISIBLE_DEVICES`` of a worker; workers use the entries in turn if there are fewer.

    Numbers count the devices that this process sees, so they go through its own ``CUDA_VISIBLE_DEVICES``.

    Args:
        devices: An entry per worker: a number, a name (``"1"``, ``"cuda:1"``, ``"GPU-8f2e..."``), or a list of them;
            an empty list is a worker without devices.
        index: The worker's place, from 0.
        inherited: The environment that numbers are counted in; this process's if left out.

    Raises:
        InvalidArgument: An entry is no device, or this process does not see it.

    Example:
        >>> visible_devices([0, [1, "cuda:2"]], 1, {})
        '1,2'
        >>> visible_devices([1], 0, {"CUDA_VISIBLE_DEVICES": "4,5"})
        '5'
    """
    place = index % len(devices)
    entry = devices[place]
    entries = list(entry) if isinstance(entry, (list, tuple)) else [entry]
    seen = (os.environ if inherited is None else inherited).get(_DEVICES)
    return ",".join(_device(f"devices[{place}]", device, seen) for device in entries)


def _device(name: str, device: object, seen: str | None) -> str:
    text = device.removeprefix("cuda:") if isinstance(device, str) else device
    if isinstance(text, str) and text and "," not in text and not text.isdigit():
        return text
    try:
        number = -1 if isinstance(text, bool) else int(text) if isinstance(text, str) else operator.index(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = -1
    if number < 0:
        raise InvalidArgument(name, device, 'a device such as 0, "cuda:0" or "GPU-8f2e...", or a list of them')
    if seen is None:
        return str(number)
    visible = [entry.strip() for entry in seen.split(",") if entry.strip()]
    if number >= len(visible):
        raise InvalidArgument(name, device, f"below {len(visible)}, since {_DEVICES} is {seen!r}")
    return visible[number]
