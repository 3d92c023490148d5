"""Put a Slurm job back into the queue, after its worker has handed back: Slurm itself does so only for some ends."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping

from phyletic.errors import InvalidArgument

_SECONDS = 30.0
"""For each of Slurm's commands: a controller that does not answer must not hold up the end of a worker."""


def current_job(environment: Mapping[str, str] = os.environ) -> str:
    """Return the number of the Slurm job in which this process runs; of a task of an array, ``ARRAY_TASK``.

    Args:
        environment: Of this process.

    Raises:
        InvalidArgument: It runs in none.

    Example:
        >>> current_job({"SLURM_JOB_ID": "13", "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3"})
        '12_3'
    """
    array, task = environment.get("SLURM_ARRAY_JOB_ID"), environment.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array and task else environment.get("SLURM_JOB_ID")
    if not job:
        raise InvalidArgument("--requeue", True, "left out outside of a Slurm job", "phyletic slurm writes the job")
    return job


def goes_on(described: str) -> bool:
    """Whether a job that was told to end should be queued again, by what ``scontrol show job -o`` says of it.

    A job that still runs was warned. One that is ending was preempted, met its time limit, or was cancelled by a
    person; ``scontrol requeue`` would revive that one too.

    Args:
        described: The line.

    Example:
        >>> goes_on("JobId=13 JobState=COMPLETING Reason=None PreemptTime=None")
        False
    """
    said = dict(word.split("=", 1) for word in described.split() if "=" in word)
    if said.get("JobState") in ("RUNNING", "SUSPENDED"):
        return True
    return said.get("PreemptTime", "None") not in ("None", "N/A") or said.get("Reason") == "TimeLimit"


def requeue_job(job: str) -> str:
    """Put a job back into the queue, unless somebody cancelled it; return a line that says what was done.

    Slurm sends the job one more SIGTERM when it does so, which this process and its children ignore from now on.

    Args:
        job: Its number.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        described = _call("scontrol", "show", "job", "-o", job)
        if not goes_on(described):
            return f"Slurm ends job {job}, so it is not requeued here"
        _call("scontrol", "requeue", job)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or error
        return f"job {job} could not be requeued, so run it again with scontrol requeue {job}: {str(said).strip()}"
    return f"job {job} is in the queue again"


def _call(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_SECONDS)
    return done.stdout
