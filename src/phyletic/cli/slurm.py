"""``phyletic slurm``: a batch script whose array of jobs are workers of a service."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from phyletic.cli.shared_options import setting
from phyletic.cli.worker_command import NoTokenCommand, WorkerCommand, checked_worker, refuse_tokens, worker_arguments
from phyletic.errors import InvalidArgument

WARNING_SECONDS = 90
"""Seconds before its time limit at which Slurm warns a worker."""
_SPARE_SECONDS = 10
"""Of these, what is left once all trials are handed back."""
_TIME = re.compile(r"(?:(\d{1,4})-)?(\d{1,5})(?::(\d{1,2}))?(?::(\d{1,2}))?", re.ASCII)
_MEMORY = re.compile(r"[1-9][0-9]{0,8}[KMGT]?", re.ASCII)
_WORD = re.compile(r"[\w][\w.,@+-]{0,127}", re.ASCII)
_OWN = ("--array", "-a", "--requeue", "--no-requeue", "--open-mode", "--signal", "--wrap", "--output", "-o")
"""Options of sbatch that the script needs as they are."""


class SlurmJob(msgspec.Struct, frozen=True):
    """What a batch script is made of; :func:`check_job` checks it.

    Attributes:
        worker: What each worker is told.
        workers: How many jobs the array has.
        name: The job's name.
        time: The time limit, in Slurm's notation; None for the cluster's.
        gpus: GPUs of each worker.
        cpus: Processors of each worker; None for the cluster's default.
        memory: Memory of each worker, in Slurm's notation; None for the cluster's default.
        partition: The partition; None for the cluster's default.
        account: The account; None for the user's default.
        logs: The folder of the logs; None for the one in which sbatch is called.
        sbatch: Further options of sbatch.
        setup: Lines of shell that make the environment.
    """

    worker: WorkerCommand
    workers: int = 1
    name: str = "phyletic"
    time: str | None = None
    gpus: int = 0
    cpus: int | None = None
    memory: str | None = None
    partition: str | None = None
    account: str | None = None
    logs: str | None = None
    sbatch: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()


def batch_script(job: SlurmJob) -> str:
    """Return a batch script for ``sbatch``.

    Args:
        job: What it is made of.
    """
    folder = "" if job.logs is None else f"{job.logs}/"
    options = [
        f"--job-name={job.name}",
        f"--array=0-{job.workers - 1}",
        "--requeue",
        "--open-mode=append",
        f"--signal=B:USR1@{WARNING_SECONDS}",
        f"--output={folder}%x-%A_%a.log",
        *([f"--time={job.time}"] if job.time else []),
        *([f"--gres=gpu:{job.gpus}"] if job.gpus else []),
        *([f"--cpus-per-task={job.cpus}"] if job.cpus else []),
        *([f"--mem={job.memory}"] if job.memory else []),
        *([f"--partition={job.partition}"] if job.partition else []),
        *([f"--account={job.account}"] if job.account else []),
        *job.sbatch,
    ]
    lines = [
        "#!/bin/bash",
        f"# Workers of the study {job.worker.study!r}, each a job of an array that Slurm may preempt at any time.",
        "# The token comes from your environment: export PHYLETIC_TOKEN_FILE before you call sbatch.",
        *(f"#SBATCH {option}" for option in options),
        "",
        "set -e",
        *job.setup,
        "",
        "# exec: Slurm sends USR1 to this process only, before it ends the job. The worker then hands its trial back",
        "# and requeues the job. It ends with 0 once the study is finished.",
        f"exec {shlex.join(job.worker.argv('--requeue', f'--grace={WARNING_SECONDS - _SPARE_SECONDS}'))}",
    ]
    return "\n".join(lines) + "\n"


def check_job(job: SlurmJob) -> None:
    """Raise InvalidArgument, with the name of the option, unless a job can be made."""
    for option, text in (("--name", job.name), ("--partition", job.partition), ("--account", job.account)):
        if text is not None and not _WORD.fullmatch(text):
            raise InvalidArgument(option, text, "letters, digits and any of . , @ + - _, such as gpu-long")
    if job.time is not None and not _long_enough(job.time):
        allowed = "a time limit of at least 5 minutes in Slurm's notation: 30, 4:00:00, 2-12 or 2-12:00:00"
        raise InvalidArgument("--time", job.time, allowed, f"The worker is warned {WARNING_SECONDS} s before it ends")
    if job.memory is not None and not _MEMORY.fullmatch(job.memory):
        raise InvalidArgument("--memory", job.memory, "a whole number with a unit K, M, G or T, such as 16G")
    if job.logs is not None and not re.fullmatch(r"[\w./~@+-]+", job.logs):
        raise InvalidArgument("--logs", job.logs, "the path of a folder, without blanks or signs that Slurm replaces")
    if job.logs is not None and not Path(job.logs).is_dir():
        hint = f"Slurm does not make it, and starts no job without it: mkdir -p {shlex.quote(job.logs)}"
        raise InvalidArgument("--logs", job.logs, "a folder that exists", hint)
    for line in job.sbatch:
        _check_sbatch(line)
    for line in job.setup:
        if not line.isprintable() or not line.strip():
            raise InvalidArgument("--setup", line, "one line of shell, such as 'source venv/bin/activate'")
    refuse_tokens("--setup", job.setup)


def _check_sbatch(line: str) -> None:
    """Raise InvalidArgument unless a line is an option of sbatch that the script may have."""
    refuse_tokens("--sbatch", [line])
    option = re.match(r"--[a-z][a-z-]+(?==| |$)|-[A-Za-z](?=[^-]|$)", line)
    if option is None or not line.isprintable() or "#" in line:
        raise InvalidArgument("--sbatch", line, "one option of sbatch, such as --constraint=a100")
    # sbatch also takes the beginning of a long option
    if option[0] in _OWN or any(own.startswith(option[0]) for own in _OWN if len(option[0]) > 3):
        raise InvalidArgument("--sbatch", line, f"an option other than {', '.join(_OWN)}, which the script sets")


def _long_enough(text: str) -> bool:
    """Whether a text is a time limit in Slurm's notation, and leaves time to train before the warning.

    Example:
        >>> [_long_enough(text) for text in ("4:00:00", "2-12", "10:30", "30", "1", "x")]
        [True, True, True, True, False, False]
    """
    match = _TIME.fullmatch(text)
    if match is None:
        return False
    days, *parts = match.groups()
    numbers = [int(part) for part in parts if part is not None]
    if days is not None:
        hours, minutes, seconds = [*numbers, 0, 0][:3]
    elif len(numbers) == 3:
        hours, minutes, seconds = numbers
    else:
        hours, (minutes, seconds) = 0, [*numbers, 0][:2]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds >= 300


def job_name(study: str) -> str:
    """Return a name for a job: a study's, with other signs in place of those that Slurm might replace.

    Example:
        >>> job_name("größe 2")
        'gr-e-2'
    """
    return re.sub(r"[^A-Za-z0-9_.]+", "-", study).strip("-.")[:64] or "phyletic"


@click.command(
    cls=NoTokenCommand,
    short_help="Print a batch script that starts workers on a Slurm cluster.",
    epilog="Example: phyletic slurm grpcs://head:7070 digits train.py:train --workers 8 --gpus 1 --time 4:00:00 > a.sh",
)
@worker_arguments()
@setting("--workers", click.IntRange(1, 10_000), 1, "How many, each a job of an array.")
@setting("--gpus", click.IntRange(0, 64), 0, "GPUs of each worker.")
@click.option("--cpus", type=click.IntRange(1, 4096), help="Processors of each worker.  [default: the cluster's]")
@click.option("--memory", metavar="SIZE", help="Memory of each worker, such as 16G.  [default: the cluster's]")
@click.option("--time", metavar="TIME", help="The time limit, such as 4:00:00.  [default: the cluster's]")
@click.option("--partition", metavar="NAME", help="The partition.  [default: the cluster's]")
@click.option("--account", metavar="NAME", help="The account.  [default: yours]")
@click.option("--name", metavar="NAME", help="The job's name.  [default: the study's]")
@click.option(
    "--logs", metavar="FOLDER", help="The folder of the logs, which exists.  [default: where sbatch is called]"
)
@click.option(
    "--setup", multiple=True, metavar="LINE", help="A line of shell that comes first. Can be given several times."
)
@click.option(
    "--sbatch", multiple=True, metavar="OPTION", help="A further option of sbatch. Can be given several times."
)
def slurm(
    url: str,
    study: str,
    train: tuple[str, str] | None,
    command: str | None,
    checkpoints: str | None,
    workers: int,
    gpus: int,
    cpus: int | None,
    memory: str | None,
    time: str | None,
    partition: str | None,
    account: str | None,
    name: str | None,
    logs: str | None,
    setup: Sequence[str],
    sbatch: Sequence[str],
) -> None:
    """Print a batch script for sbatch: workers that run MODULE:FUNCTION for STUDY, which the server at URL decides for.

    Nothing is submitted. Each worker is a job of an array. Before Slurm ends one, for its time limit or for a job that
    is more urgent, the worker hands its trial back and puts its job into the queue again. A job that you cancel
    (scancel) stays cancelled. The token comes from your environment when you call sbatch (PHYLETIC_TOKEN_FILE).

    The script runs in the folder in which you call sbatch: --setup 'source venv/bin/activate' makes phyletic known.
    """
    job = SlurmJob(
        worker=checked_worker(url, study, train, command, checkpoints),
        workers=workers,
        name=job_name(study) if name is None else name,
        time=time,
        gpus=gpus,
        cpus=cpus,
        memory=memory,
        partition=partition,
        account=account,
        logs=logs,
        sbatch=tuple(sbatch),
        setup=tuple(setup),
    )
    check_job(job)
    click.echo(batch_script(job), nl=False)
