"""What every benchmark here prints beside its figures, and how."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the arguments that all share."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--folder", default=".", type=Path, help="where files are written; decides which disk is used")
    made.add_argument("--json", action="store_true", help="print one JSON object in place of a table")
    return made


@contextmanager
def work_folder(parent: Path) -> Iterator[Path]:
    """Give an empty folder that is removed at the end."""
    with tempfile.TemporaryDirectory(dir=parent, prefix="benchmark-") as folder:
        yield Path(folder)


def fsync_seconds(folder: Path, rounds: int = 40) -> float:
    """Return the median time of a bare fsync of 4 KiB that were appended to a file."""
    times = []
    descriptor = os.open(folder / "fsync", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    try:
        for _ in range(rounds):
            os.write(descriptor, b"x" * 4096)
            start = time.perf_counter()
            os.fsync(descriptor)
            times.append(time.perf_counter() - start)
    finally:
        os.close(descriptor)
        (folder / "fsync").unlink()
    return statistics.median(times)


def processor() -> str:
    """Return the processor's name."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def conditions(folder: Path, *libraries: str) -> dict[str, Any]:
    """Return what the figures depend on, as of now."""
    found: dict[str, Any] = {
        "processors": os.cpu_count(),
        "processor": processor(),
        "system": f"{platform.system()} {platform.release()}",
        "load": round(os.getloadavg()[0], 1),
        "fsync_ms": round(fsync_seconds(folder) * 1e3, 3),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }
    for library in ("phyletic", "numpy", "sqlalchemy", *libraries):
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = None
    return found


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the first quartile, the median and the third quartile."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def show(title: str, rows: Sequence[dict[str, Any]], measured_in: dict[str, Any], *, as_json: bool) -> None:
    """Print rows, each with the same keys, and the conditions they were measured in."""
    if as_json:
        print(json.dumps({"benchmark": title, "rows": list(rows), "conditions": measured_in}, indent=2))
        return
    table = Table(*rows[0], title=title, title_justify="left")
    for row in rows:
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
    console = Console(width=160)
    console.print(table)
    console.print(", ".join(f"{name} {value}" for name, value in measured_in.items()), highlight=False)
