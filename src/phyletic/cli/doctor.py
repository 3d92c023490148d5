"""``phyletic doctor``: each check of this machine gives findings, with advice."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import click
import msgspec

from phyletic import disk
from phyletic.cli.output import echo_json
from phyletic.cli.shared_options import json_option
from phyletic.errors import MissingDependency, PhyleticError, StorageUnsupported
from phyletic.version import __version__

_SLOW_FSYNC = 0.03
_LITTLE_ROOM = 2 * 2**30
_MPS_DAEMON = "nvidia-cuda-mps-control"


class Finding(msgspec.Struct, frozen=True):
    """The result of a check.

    Attributes:
        topic: What the check looks at.
        level: ``"ok"``, ``"note"`` (something is missing or slow), or ``"problem"`` (a study could not run).
        text: What the check found.
        advice: What to do; "" if nothing needs doing.
    """

    topic: str
    level: Literal["ok", "note", "problem"]
    text: str
    advice: str = ""


@click.command(
    short_help="Check this machine and say what to do.",
    epilog="Example: phyletic doctor --storage sqlite:////data/studies.db",
)
@click.option(
    "--storage",
    envvar="PHYLETIC_STORAGE",
    show_envvar=True,
    metavar="URL",
    help="Check the disk of this storage, which need not exist.  [default: the current folder's]",
)
@click.option(
    "--checkpoints",
    metavar="ADDRESS",
    help="Probe this object store, such as s3://BUCKET/PREFIX: writes an object, reads it, and deletes it again.",
)
@json_option
def doctor(storage: str | None, checkpoints: str | None, as_json: bool) -> None:
    """Check this machine: Python, libraries, extras, SQLite, its disk, the GPUs, NVIDIA MPS, and an object store.

    Each finding that needs something done says what. The exit code is 1 if there is a problem, else 0.
    """
    findings = examine(storage, checkpoints)
    if as_json:
        echo_json(findings)
    else:
        colour = {"ok": "green", "note": "yellow", "problem": "red"}
        width = max(len(finding.topic) for finding in findings)
        for finding in findings:
            mark = click.style(f"{finding.level:<8}", fg=colour[finding.level])
            click.echo(f"{mark}{finding.topic:<{width}}  {finding.text}")
            if finding.advice:
                click.echo(f"{'':<{8 + width}}  -> {finding.advice}")
    if any(finding.level == "problem" for finding in findings):
        click.get_current_context().exit(1)


def examine(storage: str | None, checkpoints: str | None = None) -> list[Finding]:
    """Run every check.

    Args:
        storage: URL or path of a storage, which need not exist; None for the current folder.
        checkpoints: Address of an object store to probe; None probes none.
    """
    stores = () if checkpoints is None else _object_store(checkpoints)
    return [*_python(), *_libraries(), *_sqlite(), *_place(storage), *stores, *_gpus(), *_mps()]


def _python() -> Iterator[Finding]:
    text = f"{platform.python_version()} on {platform.platform()}, {os.cpu_count()} processors"
    yield Finding("python", "ok", text)
    yield Finding("phyletic", "ok", f"{__version__} in {Path(__file__).parent.parent}")


def _libraries() -> Iterator[Finding]:
    """Check the libraries that phyletic's own metadata names: all of the core, and which extras are complete."""
    extras: dict[str, list[str]] = {}
    for requirement in importlib.metadata.requires("phyletic") or ():
        named = re.match(r"[A-Za-z0-9._-]+", requirement)
        if named is None or named[0] == "phyletic":
            continue
        condition = re.search(r"extra == ['\"]([^'\"]+)['\"]", requirement)
        extras.setdefault(condition[1] if condition else "", []).append(named[0])
    for extra, libraries in extras.items():
        if extra in ("test", "lint"):
            continue
        versions = {library: _version(library) for library in libraries}
        missing = [library for library, version in versions.items() if version is None]
        present = ", ".join(f"{library} {version}" for library, version in versions.items() if version is not None)
        topic = f"extra {extra}" if extra else "libraries"
        if not missing:
            yield Finding(topic, "ok", present)
            continue
        text = f"not installed: {', '.join(missing)}" + (f" ({present})" if present else "")
        install = f"pip install 'phyletic[{extra}]'" if extra else "pip install --force-reinstall phyletic"
        yield Finding(topic, "note" if extra else "problem", text, f"{install}{', if you want it' if extra else ''}")


def _version(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def _sqlite() -> Iterator[Finding]:
    version, advice = sqlite3.sqlite_version, "phyletic needs SQLite 3.35 or later: use a newer build of Python"
    fine = sqlite3.sqlite_version_info >= (3, 35)
    yield Finding("sqlite", "ok", version) if fine else Finding("sqlite", "problem", version, advice)


def _place(storage: str | None) -> Iterator[Finding]:
    """Check the storage's disk: the kind of file system, how fast it forces writes, and its free space."""
    from phyletic.storage.database import open_database
    from phyletic.storage.sqlite_filesystems import refuse_network_file_system

    path: Path | None = Path.cwd() / "study.db"
    try:
        if storage is not None:
            path = open_database(storage).path
        if path is None:
            yield Finding("storage", "note", "in memory", "a study in memory ends with its process: give a file")
            return
        refuse_network_file_system(path)
    except PhyleticError as error:
        advice = "use a disk of this machine" if isinstance(error, StorageUnsupported) else "see --storage"
        yield Finding("storage", "problem", str(error), advice)
        return
    folder = next(parent for parent in path.parents if parent.is_dir())
    kind = _kind(folder)
    text, advice = f"{folder} ({kind})", f"files on {kind} may be gone after a restart"
    fleeting = kind in ("tmpfs", "ramfs", "overlay")
    yield Finding("storage", "note", text, advice) if fleeting else Finding("storage", "ok", text)
    yield _fsync(folder)
    free = shutil.disk_usage(folder).free
    text = f"{free / 2**30:.1f} GiB free"
    advice = "each member keeps two checkpoints there: make room, or give checkpoints= another folder"
    yield Finding("disk space", "note", text, advice) if free < _LITTLE_ROOM else Finding("disk space", "ok", text)


def _kind(folder: Path) -> str:
    import psutil

    real, best, kind = folder.resolve(), -1, "unknown"
    for partition in psutil.disk_partitions(all=True):
        mount = Path(partition.mountpoint)
        if (real == mount or mount in real.parents) and len(partition.mountpoint) >= best:
            best, kind = len(partition.mountpoint), partition.fstype
    return kind


def _fsync(folder: Path) -> Finding:
    """Time a small write that is forced onto the disk; every result waits for one."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            times = []
            for _ in range(15):
                began = time.perf_counter()
                file.write(b"0" * 4096)
                file.flush()
                disk.fsync(file.fileno())
                times.append(time.perf_counter() - began)
    except OSError as error:
        return Finding("disk", "problem", f"{folder} cannot be written: {error}", "choose a folder that can")
    took = statistics.median(times)
    text = f"forces a small write in {took * 1000:.2f} ms"
    if took > _SLOW_FSYNC:
        return Finding("disk", "note", text, "each result waits for that: use a faster disk, or longer trials")
    return Finding("disk", "ok", text)


def _object_store(address: str) -> Iterator[Finding]:
    """Probe an object store: whether it can be reached, written, read, listed and cleaned, and how long that takes."""
    from phyletic.checkpoints.object_probe import probe

    try:
        found = probe(address)
    except PhyleticError as error:
        advice = "see the environment's credentials, endpoint and region, and the rights to the bucket"
        yield Finding("store", "problem", str(error), "" if isinstance(error, MissingDependency) else advice)
        return
    yield Finding("store", "ok", f"{address} is reachable, and can be written, read, listed and deleted from")
    if found.conditional:
        yield Finding("store conditional create", "ok", "honoured (If-None-Match)")
    else:
        text = "ignored: the server writes an object although one is there and the request forbids it (If-None-Match)"
        advice = "studies may use it, since no two checkpoints share an id; only copied ids would not be noticed"
        yield Finding("store conditional create", "note", text, advice)
    yield Finding("store round trip", "ok", f"{found.round_trip * 1000:.1f} ms for a small object")


def _gpus() -> Iterator[Finding]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    limited = "" if visible is None else f" (CUDA_VISIBLE_DEVICES={visible!r})"
    listed = _nvidia()
    found = f"{len(listed)}: {'; '.join(listed)}" if listed else "the driver knows none"
    yield Finding("gpu", "ok", f"{found}{limited}")
    if _version("torch") is None:
        return
    try:
        import torch

        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    except Exception as error:  # a broken installation may raise anything
        yield Finding("torch", "problem", f"cannot be imported: {error}", "install torch again")
        return
    text = f"{torch.__version__} sees {count} GPU{'s' * (count != 1)}"
    blind = bool(listed) and not count and visible != ""
    advice = "install a build of torch for CUDA, and see that the driver is as new as it needs"
    yield Finding("torch", "problem", text, advice) if blind else Finding("torch", "ok", text)


def _mps() -> Iterator[Finding]:
    """Check whether NVIDIA's Multi-Process Service (MPS) runs, if there is a GPU or the service."""
    daemon = _mps_daemon()
    if daemon is not None:
        yield Finding("mps", "ok", f"NVIDIA MPS runs ({daemon}): several members compute on one GPU at the same time")
    elif _nvidia():
        text = "NVIDIA MPS does not run: several members on one GPU take turns, and each has a context of its own"
        yield Finding("mps", "note", text, "start it by `nvidia-cuda-mps-control -d`, if members are to share a GPU")


def _mps_daemon() -> str | None:
    """Return where the control daemon of MPS was found: its process, or the pipe that CUDA would use; else None."""
    import psutil

    for process in psutil.process_iter(["name", "exe"]):
        # Linux cuts names at 15 characters
        program = Path(process.info["exe"] or "").name or process.info["name"] or ""
        if program.startswith(_MPS_DAEMON[:15]):
            return f"pid {process.pid}"
    folder = os.environ.get("CUDA_MPS_PIPE_DIRECTORY")
    # without the variable, the folder of a daemon that has ended would be taken for one that runs
    if folder and Path(folder, "control").exists():
        return f"CUDA_MPS_PIPE_DIRECTORY={folder}"
    return None


def _nvidia() -> list[str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in found.stdout.splitlines() if line.strip()]
