"""The commands that change a study: at rest, and while another process runs it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import phyletic as ph
from phyletic.cli import main

OWNER = """
import sys, time
import phyletic as ph

def train(trials):
    for trial in trials.attach(lambda trial: {"x": 0.0}):
        for _ in trial.range():
            time.sleep(0.02)
        trial.report(score=float(trial["lr"]))

study = ph.Study("toy", storage=sys.argv[1])
study.run(train, workers=int(sys.argv[2]), verbose=0)
print("ended", flush=True)
"""


def call(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "toy.db"
    ph.Study(
        "toy",
        space={"lr": ph.Float(0, 1)},
        metric="score",
        mode="max",
        seed=0,
        algorithm=ph.PBT(2, 1),
        budget=ph.Budget(trials=4),
        storage=path,
    )
    monkeypatch.setenv("PHYLETIC_STORAGE", str(path))
    return path


def finish(study: ph.Study) -> None:
    for trial in study.attach(lambda trial: {"x": 0.0}):
        trial.report(score=float(trial["lr"]))


def test_each_command_changes_the_study_and_says_so_in_one_line(storage: Path) -> None:
    def control() -> ph.records.StudyControl:  # type: ignore[name-defined]
        return ph.Study("toy", storage=storage).control

    assert call("resize", "toy", "3").stdout == "toy: 3 members, 2 before\n"
    assert control().population == 3
    assert call("resize", "toy", "3").stdout == "toy: 3 members already; nothing was changed\n"
    assert call("pause", "toy").stdout == "toy: paused\n"
    assert control().paused is True
    assert call("pause", "toy").stdout == "toy: paused already; nothing was changed\n"
    assert call("resume", "toy").stdout == "toy: grants trials\n"
    assert control().paused is False
    text = call("budget", "toy", "--steps", "70", "--target", "0.5").stdout
    assert text == "toy: goes to 70 steps of each member, 4 trials, 0.5 as target; before, to 4 trials\n"
    assert call("budget", "toy", "--trials", "none", "--target", "None").stdout.startswith(
        "toy: goes to 70 steps of each"
    )
    assert control().budget == ph.Budget(steps=70)
    assert "goes to no limit; before" in call("budget", "toy", "--steps", "none").stdout


def test_each_command_can_print_json(storage: Path) -> None:
    finish(ph.Study("toy", storage=storage))
    said = [
        json.loads(call(*arguments, "--json").stdout)
        for arguments in [
            ("resize", "toy", "3"),
            ("pause", "toy"),
            ("resume", "toy"),
            ("budget", "toy", "--seconds", "9.5"),
            ("pin", "toy", "1"),
            ("pin", "toy", "1", "--unpin"),
        ]
    ]
    empty = {"steps": None, "trials": 4, "seconds": None, "target": None, "patience": None}
    assert said == [
        {"study": "toy", "setting": "population", "before": 2, "after": 3},
        {"study": "toy", "setting": "paused", "before": False, "after": True},
        {"study": "toy", "setting": "paused", "before": True, "after": False},
        {"study": "toy", "setting": "budget", "before": empty, "after": {**empty, "seconds": 9.5}},
        {"study": "toy", "trial": 1, "pinned": True},
        {"study": "toy", "trial": 1, "pinned": False},
    ]


def test_a_pinned_checkpoint_stays(storage: Path) -> None:
    study = ph.Study("toy", storage=storage)
    finish(study)
    worst = min(study.trials(), key=lambda trial: trial.score or 0.0)
    line = call("pin", "toy", str(worst.number)).stdout
    assert line == f"toy: the checkpoint of trial {worst.number} is kept for good\n"
    call("budget", "toy", "--trials", "12")
    finish(study)
    assert study.checkpoint_path(worst.number).exists()
    assert "no longer than it is needed" in call("pin", "toy", str(worst.number), "--unpin").stdout
    with pytest.raises(ph.errors.NotFound):
        study.checkpoint_path(worst.number)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("resize", "toy", "0"), "population is 0, but must be"),
        (("resize", "toy", str(10**30)), "population is 1000000"),
        (("budget", "toy", "--steps", "0"), "budget.steps is 0, but must be"),
        (("budget", "toy", "--trials", str(10**400)), "budget.trials is 1000"),
        (("budget", "toy", "--seconds", "nan"), "budget.seconds is nan, but must be"),
        (("budget", "toy", "--target", "inf"), "budget.target is inf, but must be"),
        (("pin", "toy", "99"), "has no trial 99"),
        (("stop", "toy"), "there is no run to stop"),
        (("pause", "other"), "there is no study 'other'"),
    ],
)
def test_a_bad_request_is_an_error_of_one_line_and_changes_nothing(
    storage: Path, arguments: tuple[str, ...], words: str
) -> None:
    before = ph.Study("toy", storage=storage).control
    result = call(*arguments, code=1)
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1
    study = ph.Study("toy", storage=storage)
    assert study.control == before
    assert {event.kind for event in study.events()} <= {"owner"}


def test_wrong_usage_has_code_2(storage: Path) -> None:
    assert "name a limit" in call("budget", "toy", code=2).stderr
    assert "neither a whole number nor none" in call("budget", "toy", "--steps", "1.5", code=2).stderr
    assert "neither a number nor none" in call("budget", "toy", "--target", "high", code=2).stderr
    assert "not a valid integer" in call("resize", "toy", "many", code=2).stderr


@pytest.fixture(params=["0", "2"])
def owner(storage: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    call("budget", "toy", "--trials", "none", "--seconds", "60")
    process = subprocess.Popen([sys.executable, "-c", OWNER, str(storage), request.param], stdout=-1, text=True)
    try:
        study = ph.Study("toy", storage=storage)
        wait_until(lambda: len(study.trials()) >= 4)
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until(held: object, seconds: float = 30.0) -> None:
    assert callable(held)
    deadline = time.monotonic() + seconds
    while not held():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("words", [(), ("--now",)])
def test_commands_change_a_study_that_another_process_runs(
    storage: Path, owner: subprocess.Popen[str], words: tuple[str, ...]
) -> None:
    study = ph.Study("toy", storage=storage)
    assert call("resize", "toy", "3").stdout == "toy: 3 members, 2 before\n"
    wait_until(lambda: {trial.member for trial in study.trials()} == {0, 1, 2})
    call("pause", "toy")
    call("pin", "toy", str(study.best.number))
    call("resume", "toy")
    result = call("stop", "toy", *words)
    assert result.stdout == f"toy: its run ends {'now' if words else 'when its running trials have finished'}\n"
    said, _ = owner.communicate(timeout=30)
    assert owner.returncode == 0 or words
    assert said == "ended\n" or words
    assert not {trial.failures + trial.losses for trial in study.trials()} - {0}
    call("budget", "toy", "--trials", str(study.status().trials["completed"] + 2), "--seconds", "none")
    finish(study)
    assert study.finished
