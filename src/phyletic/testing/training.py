"""Training code that the suites run, a journal that it writes, and a way to run a function in its own process.

Workers import this module, so it imports little.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Journal", "Train", "build", "draw", "drawing", "start_process", "trained"]

Train = Callable[[Any], object]

_PROGRAM = "import sys, cloudpickle; cloudpickle.load(open(sys.argv[1], 'rb'))()"


@dataclass(frozen=True)
class Journal:
    """A file of notes, which training code writes from any process.

    Args:
        path: The file; each note is a line of JSON.
    """

    path: Path

    def note(self, **facts: object) -> None:
        """Append a note, with the number of the process."""
        line = json.dumps({"process": os.getpid(), **facts}) + "\n"
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def notes(self) -> list[dict[str, Any]]:
        """Return all notes, in the order in which they were made."""
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def wait_for(self, count: int, seconds: float = 30.0) -> None:
        """Wait until the file has ``count`` notes, at most so many seconds.

        Raises:
            TimeoutError: The file still has fewer.
        """
        deadline = time.monotonic() + seconds
        while len(self.notes()) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.path} has {len(self.notes())} notes after {seconds:g} s, not {count}")
            time.sleep(0.01)


def build(trial: Any) -> dict[str, Any]:
    """Return a newborn's weights, drawn at random; the fixed hyperparameter is their number."""
    return {"weights": np.random.standard_normal(trial["width"])}


def draw(trial: Any, weights: Any) -> Any:
    """Return weights after a step that depends on all of them, the hyperparameters and both random states."""
    return weights * (1 - trial["lr"]) + trial["lr"] * np.random.standard_normal(weights.shape) * random.random()


def trained(trial: Any) -> float:
    """Train a trial's weights over its steps, and return their sum."""
    for _ in trial.range():
        trial.state.weights[:] = draw(trial, trial.state.weights)
    return float(trial.state.weights.sum())


def drawing(during: Callable[[Any], object] = lambda trial: None) -> Train:
    """Return training code whose every trial depends on all before it, by weights, values and random numbers.

    Args:
        during: Called in the body of each trial, before its steps.
    """

    def train(trials: Any) -> None:
        for trial in trials.attach(build):
            during(trial)
            trial.report(score=trained(trial), first=float(trial.state.weights[0]))

    return train


def start_process(function: Callable[[], object], folder: Path) -> subprocess.Popen[str]:
    """Start a function in a Python of its own, with its output in a pipe.

    Args:
        function: Any that cloudpickle can send.
        folder: Where it is written to.
    """
    import cloudpickle

    program = folder / "program.pickle"
    program.write_bytes(cloudpickle.dumps(function))
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(program)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
