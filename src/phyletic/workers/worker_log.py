"""The log of a worker's place: a line with which each incarnation begins, and the end of the latest one's output."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

_TAIL_BYTES, _TAIL_LINES = 20_000, 30
_HEADER = re.compile(r"^=== [^,]+, pid .*?(?:, on node (?P<node>\S+?)(?:, in (?P<path>.+))?)? ===$", re.MULTILINE)


def log_header(worker: str, pid: int, session: str, node: str = "", elsewhere: str = "") -> str:
    """Return the first line of an incarnation's output.

    Args:
        worker: The worker's name.
        pid: Its process.
        session: Identity of its session.
        node: The node of a cluster on which it runs; empty outside of one.
        elsewhere: The file on that node with its output; empty if its output follows.
    """
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    place = (f", on node {node}" if node else "") + (f", in {elsewhere}" if elsewhere else "")
    return f"=== {worker}, pid {pid}, session {session}, {now}{place} ==="


def output_place(log: Path) -> str:
    """Return where the output of a log's latest incarnation is: a path, with the node if that is known."""
    try:
        found = list(_HEADER.finditer(_end(log)))
    except OSError:
        return str(log)
    if not found or not found[-1]["node"]:
        return str(log)
    return f"{found[-1]['path'] or log} on node {found[-1]['node']}"


def output_tail(log: Path) -> str:
    """Return the end of a log, of its latest incarnation; empty if it has none."""
    try:
        text = _end(log)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"({log} could not be read: {error})"
    last = text[max(0, text.rfind(f"=== {log.stem}, pid")) :]
    return "\n".join(last.rstrip().splitlines()[-_TAIL_LINES:])


def _end(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
        return file.read().decode(errors="replace")
