"""Of a worker that does not get as far as asking a person is told, at each doubling of the time."""

from dataclasses import replace
from pathlib import Path
from subprocess import Popen
from typing import Any, cast

from phyletic.workers.local_worker import LocalWorker, Pending
from phyletic.workers.supervision import Supervision, slow_start

WATCH = Supervision(quiet_start=60.0)


class _Process:
    pid = 17


def worker() -> LocalWorker:
    process = cast("Popen[bytes]", _Process())
    return LocalWorker("worker-0", "0" * 32, process, cast(Any, None), Path("worker-0.log"), None, heard=100.0)


def test_it_is_told_of_at_each_doubling() -> None:
    one = worker()
    told = [second for second in range(600) if slow_start(one, WATCH, 100.0 + second)]
    assert told == [61, 121, 241, 481]


def test_the_line_says_who_how_long_and_where_to_look() -> None:
    line = slow_start(worker(), WATCH, 190.0) or ""
    assert all(part in line for part in ("worker-0 (pid 17)", "90 s", "worker-0.log"))


def test_one_that_asked_is_not_told_of() -> None:
    assert slow_start(replace(worker(), asked=True), WATCH, 1e6) is None
    # its question may not be answered yet
    assert slow_start(replace(worker(), pending=Pending((), [])), WATCH, 1e6) is None
