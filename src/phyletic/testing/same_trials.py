"""Suites: a synchronous study has the same trials, whatever runs it and whatever interrupts it."""
# ruff: noqa: D102 - the names of the tests say what they check

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import pytest

from phyletic.records import TrialState
from phyletic.study.study import Study
from phyletic.testing.example import example_study, facts, reference
from phyletic.testing.training import Journal, Train, drawing, start_process

__all__ = ["InterruptedTrialsConformance", "SameTrialsConformance"]

_HELD_FROM = 7
"""Number of the first trial that waits for the interruption of a run."""


class SameTrialsConformance(ABC):
    """A suite for pytest: a synchronous study has the same trials, whatever their source and its number of workers.

    Attributes:
        concurrent: How many trials run at a time.
        here: Whether training code runs in the process of the test.
        supervised: Whether the source calls the training code again after an exception; else it is the caller's.
        detached: Whether its leases have a deadline, which outlasts the owner.
        upload: ``"background"`` if checkpoints are uploaded while other trials train, so that a worker holds two trials
            and hardly ever goes on from memory.
    """

    concurrent: int = 1
    here: bool = False
    supervised: bool = True
    detached: bool = False
    upload: str = "before_tell"

    @abstractmethod
    def run(self, study: Study, train: Train, reload: str = "changed") -> None:
        """Run a study to the end of its budget.

        Args:
            study: The study.
            train: The training code.
            reload: ``"changed"`` loads only what is not in memory already, ``"always"`` loads for every trial.
        """

    def run_over(self, study: Study, train: Train) -> int:
        """Run a study until it finishes although its code raises ValueError; return how often the caller saw it."""
        raised = 0
        while True:
            try:
                self.run(study, train)
                return raised
            except ValueError:
                raised += 1
                assert raised < 20
                assert not self.supervised

    def same(self, train: Train, tmp_path: Path, **changes: Any) -> Study:
        """Run a study with this source and directly in this process, and return it if its trials are the same."""
        study, other = example_study(tmp_path / "study.db", **changes), example_study(**changes)
        self.run(study, train)
        train(other)
        assert facts(study) == facts(other)
        assert all(trial.state is TrialState.COMPLETED for trial in study.trials())
        return study

    @pytest.mark.parametrize("population", [1, 2, 5])
    def test_the_trials_are_the_same(self, tmp_path: Path, population: int) -> None:
        study = example_study(tmp_path / "study.db", population=population)
        self.run(study, drawing())
        assert facts(study) == reference(population)
        assert study.finished
        assert population < 5 or any(trial.decision.kind == "exploit" for trial in study.trials())

    def test_the_trials_are_the_same_where_each_is_loaded(self, tmp_path: Path) -> None:
        journal = Journal(tmp_path / "notes")
        # a single member would otherwise never be loaded
        study = example_study(tmp_path / "study.db", population=1)
        self.run(study, drawing(lambda trial: journal.note(loaded=trial.loaded)), reload="always")
        assert facts(study) == reference(1)
        assert all(note["loaded"] for note in journal.notes())

    def test_the_trials_are_the_same_where_the_budget_was_raised(self, tmp_path: Path) -> None:
        half = example_study(tmp_path / "study.db", steps=4)
        self.run(half, drawing())
        assert half.finished
        half.close()
        study = example_study(tmp_path / "study.db")
        assert not study.finished
        self.run(study, drawing())
        assert facts(study) == reference()


class InterruptedTrialsConformance(SameTrialsConformance):
    """A suite for pytest: interruptions do not change the trials of a synchronous study either."""

    @pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGINT, signal.SIGINT], [signal.SIGKILL]])
    def test_the_trials_are_the_same_where_the_run_was_interrupted(self, tmp_path: Path, signals: list[int]) -> None:
        journal, hold = Journal(tmp_path / "notes"), tmp_path / "hold"

        def hold_up(trial: Any) -> None:
            journal.note(trial=trial.number)
            while trial.number >= _HELD_FROM and hold.exists():
                time.sleep(0.005)

        hold.touch()
        with self.started(functools.partial(_run, self, tmp_path / "study.db", drawing(hold_up)), tmp_path) as process:
            journal.wait_for(_HELD_FROM + self.concurrent)
            _wait_until_told(tmp_path / "study.db", _HELD_FROM)
            for place, number in enumerate(signals):
                if place:
                    time.sleep(0.2)
                process.send_signal(number)
            if signals == [signal.SIGINT]:
                # there is no way to see when the signal was handled; if it takes longer, less is interrupted
                time.sleep(0.2)
                hold.unlink()
            output, _ = process.communicate(timeout=30)
        study = example_study(tmp_path / "study.db")
        assert not study.finished, output
        done = [trial for trial in study.trials() if trial.state is TrialState.COMPLETED]
        finished_what_ran = self.supervised and signals == [signal.SIGINT]
        assert len(done) == _HELD_FROM + (self.concurrent if finished_what_ran else 0), output
        hold.unlink(missing_ok=True)
        self.run(study, drawing(hold_up))
        assert facts(study) == reference()
        assert all(trial.failures == 0 for trial in study.trials())
        # a worker that died with its owner counts as no loss; a detached one cannot be known to have died
        silent = self.concurrent if self.detached and signals == [signal.SIGKILL] else 0
        assert sum(trial.losses for trial in study.trials()) == silent

    def started(self, function: Any, folder: Path) -> subprocess.Popen[str]:
        """Start a function in a process of its own, with what the tests define of this source."""
        import cloudpickle

        module = sys.modules[type(self).__module__]
        cloudpickle.register_pickle_by_value(module)
        try:
            return start_process(function, folder)
        finally:
            cloudpickle.unregister_pickle_by_value(module)

    def test_the_trials_are_the_same_where_a_worker_was_killed(self, tmp_path: Path) -> None:
        if self.here:
            pytest.skip("there is no worker but this process")
        killed = tmp_path / "killed"

        def die_once(trial: Any) -> None:
            if trial.number == 8 and not killed.exists():
                killed.touch()
                os.kill(os.getpid(), signal.SIGKILL)

        study = example_study(tmp_path / "study.db")
        self.run(study, drawing(die_once))
        assert facts(study) == reference()
        lost = {trial.number for trial in study.trials() if trial.losses}
        # one that was being uploaded goes with the one that was being trained
        assert 8 in lost
        assert len(lost) <= 1 + (self.upload == "background")
        assert all(trial.losses <= 1 for trial in study.trials())


def _wait_until_told(storage: Path, count: int, seconds: float = 30.0) -> None:
    """Wait until so many trials are completed: their checkpoints may be uploaded while later trials train.

    Args:
        storage: File of the example study's storage, which another process owns.
        count: How many.
        seconds: How long to wait at most.
    """
    study, deadline = example_study(storage), time.monotonic() + seconds
    while sum(trial.state is TrialState.COMPLETED for trial in study.trials()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _run(source: SameTrialsConformance, storage: Path, train: Train) -> None:
    """Run the example study in a process of its own.

    Args:
        source: The suite that runs the study.
        storage: File of its storage.
        train: The training code.
    """
    # a shell that starts the tests in the background makes them ignore the signal
    signal.signal(signal.SIGINT, signal.default_int_handler)
    source.run(example_study(storage), train)
