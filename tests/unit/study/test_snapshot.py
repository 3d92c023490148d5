"""Snapshots of a run between its commits: workers that start, steps and reports inside a trial."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest

import phyletic as ph
from phyletic.study.display import LiveDisplay
from phyletic.study.progress import Progress


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Progress]:
    """Every snapshot that the display of a run gets."""
    found: list[Progress] = []
    monkeypatch.setattr(LiveDisplay, "update", lambda self, progress: found.append(progress))
    return found


def make(**changes: Any) -> ph.Study:
    given = {
        "space": {"lr": ph.Float(0.1, 1.0)},
        "metric": "score",
        "mode": "max",
        "algorithm": ph.RandomSearch(1, 30),
        "budget": ph.Budget(steps=30),
        "seed": 0,
    }
    return ph.Study("study", **{**given, **changes})


def train(trials: Any) -> None:
    for trial in trials.attach(lambda trial: {"x": 0.0}):
        for step in trial.range():
            time.sleep(0.1)
            trial.report(score=trial["lr"] * (step + 1))


@pytest.mark.parametrize("workers", [0, 1])
def test_the_display_moves_inside_a_trial(workers: int, seen: list[Progress]) -> None:
    study = make()
    study.run(train, workers=workers)
    running = [progress.members[0] for progress in seen if progress.members[0].state == "running"]
    inside = {member.step for member in running if 0 < member.step < 30}
    assert len(inside) >= 2
    reported = [member.reported for member in running if member.reported is not None]
    assert len(set(reported)) >= 2
    assert reported == sorted(reported)
    assert set(reported) <= {said.value for said in study.evaluations(0)}


def test_workers_that_start_are_shown_until_they_ask(seen: list[Progress]) -> None:
    make(algorithm=ph.RandomSearch(1, 1), budget=ph.Budget(steps=1)).run(train, workers=1)
    starting = [progress.starting for progress in seen]
    assert starting[0] is not None
    assert (starting[0].workers, starting[0].ready) == (1, 0)
    assert starting[-1] is None


def test_a_silent_run_takes_no_snapshots_between_commits(seen: list[Progress]) -> None:
    make().run(train, workers=0, verbose=0)
    assert len(seen) <= 1


def test_a_display_that_raises_ends_no_training(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def update(self: LiveDisplay, progress: Progress) -> None:
        if progress.members[0].state == "running":
            raise OSError("the terminal is gone")

    monkeypatch.setattr(LiveDisplay, "update", update)
    with caplog.at_level(logging.ERROR, "phyletic"):
        assert make().run(train, workers=0) == "finished"
    assert "the terminal is gone" in caplog.text
