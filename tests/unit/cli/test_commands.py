"""The commands that read and run studies, on a study that ran."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import phyletic as ph
from phyletic.cli import main
from phyletic.errors import InvalidArgument
from phyletic.storage import queries

SCRIPT = """
import math
from phyletic.evolution import PBT
from phyletic.records import Budget
from phyletic.space import Choice, Float
from phyletic.study.study import Study

study = Study(
    "toy",
    space={"lr": Float(1e-3, 1e-1, log=True), "kind": Choice(["a", "b"], fixed=True)},
    metric="score",
    mode="max",
    algorithm=PBT(population=4, interval=5),
    budget=Budget(steps=20),
    seed=0,
    storage=STORAGE,
)
number = 3


def train(trials):
    for trial in trials.attach(lambda trial: {"weights": [0.0]}):
        for step in trial.range():
            trial.state.weights[0] += trial["lr"] * (1 + (trial["kind"] == "a"))
        trial.report(score=math.nan if trial.number == 5 else trial.state.weights[0])


def broken(trials):
    for trial in trials.attach(lambda trial: {"weights": [0.0]}):
        raise RuntimeError("no such data")
"""


def call(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a storage with the study "toy", which the command itself ran."""
    folder = tmp_path_factory.mktemp("cli")
    url = f"sqlite:///{folder}/toy.db"
    (folder / "toy_script.py").write_text(SCRIPT.replace("STORAGE", repr(url)))
    command = [sys.executable, "-m", "phyletic", "run", "toy_script.py:study", "train", "--workers", "0"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "best score" in done.stderr
    return url


def test_run_uploads_in_the_background_if_asked_to(tmp_path: Path) -> None:
    train = SCRIPT.replace("STORAGE", "'toy.db'").replace(
        "    for trial", "    print(trials._in_background)\n    for trial"
    )
    (tmp_path / "toy_script.py").write_text(train)
    command = [sys.executable, "-m", "phyletic", "run", "toy_script.py:study", "train", "--workers", "0"]
    done = subprocess.run(
        [*command, "--upload", "background"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
    refused = subprocess.run([*command, "--upload", "later"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2
    assert "'later' is not one of 'before_tell', 'background'" in refused.stderr


def test_studies_lists_each_study(storage: str) -> None:
    assert call("studies", "--storage", storage).output.splitlines()[1].split()[:2] == ["toy", "finished"]
    (status,) = json.loads(call("studies", "--storage", storage, "--json").output)
    assert (status["name"], status["state"], status["population"]) == ("toy", "finished", 4)


def test_show_tells_state_members_and_budget(storage: str) -> None:
    text = call("show", "toy", "--storage", storage).output
    assert "toy (finished)" in text
    assert "20 steps of each member" in text
    document = json.loads(call("show", "toy", "--storage", storage, "--json", "--events", "2").output)
    assert [member["member"] for member in document["members"]] == [0, 1, 2, 3]
    assert {member["end_step"] for member in document["members"]} == {20}
    assert len(document["events"]) <= 2


def test_best_shows_the_best_trial_and_its_checkpoint(storage: str) -> None:
    document = json.loads(call("best", "toy", "--storage", storage, "--json").output)
    assert document["lineage"][-1] == document["trial"]["number"]
    assert Path(document["checkpoint_path"]).exists()
    text = call("best", "toy", "--storage", storage).output
    assert f"trial {document['trial']['number']} of member {document['trial']['member']}" in text


def test_schedule_has_the_same_content_in_each_format(storage: str) -> None:
    segments = json.loads(call("schedule", "toy", "--storage", storage, "--format", "json").output)["segments"]
    rows = list(csv.DictReader(io.StringIO(call("schedule", "toy", "--storage", storage, "--format", "csv").output)))
    table = call("schedule", "toy", "--storage", storage).output.splitlines()[1:]
    assert len(segments) == len(rows) == len(table)
    for segment, row, line in zip(segments, rows, table, strict=True):
        assert float(row["lr"]) == segment["hyperparameters"]["lr"]
        assert line.startswith(f"{row['start_step']}-{row['end_step']} ")
    first = json.loads(call("schedule", "toy", "--storage", storage, "--format", "json", "--trial", "0").output)
    assert [(segment["start_step"], segment["end_step"]) for segment in first["segments"]] == [(0, 5)]


def test_the_storage_may_come_from_the_environment(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHYLETIC_STORAGE", storage)
    assert "toy" in call("studies").output


def test_a_score_that_is_not_finite_is_valid_json(storage: str) -> None:
    from phyletic.cli.output import echo_json

    with CliRunner().isolation() as (out, *_):
        echo_json({"score": float("nan"), "other": [float("-inf"), 1.5]})
        text = out.getvalue().decode()
    assert json.loads(text, parse_constant=pytest.fail) == {"score": "NaN", "other": ["-Infinity", 1.5]}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "other"), "there is no study 'other' in {storage}; it holds: toy"),
        (("schedule", "toy", "--trial", "999"), "has no trial 999"),
    ],
)
def test_errors_are_one_line_with_code_1(storage: str, arguments: tuple[str, ...], words: str) -> None:
    result = call(*arguments, "--storage", storage, code=1)
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert words.format(storage=storage) in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_storage_that_does_not_exist_is_not_created(tmp_path: Path) -> None:
    for command in (["studies"], ["show", "toy"], ["best", "toy"], ["schedule", "toy"]):
        result = call(*command, "--storage", str(tmp_path / "none.db"), code=1)
        assert "does not exist" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_wrong_usage_has_code_2() -> None:
    assert "Missing option '--storage'" in call("studies", code=2).stderr
    assert "No such command" in call("paint", code=2).stderr
    assert "exclude each other" in call("run", "m:s", "t", "-v", "-q", code=2).stderr
    assert "not of the form MODULE:NAME" in call("run", "script.py", "t", code=2).stderr


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--debug", "studies", "--storage", str(tmp_path / "none.db")])
    assert type(result.exception).__name__ == "NotFound"


@pytest.mark.parametrize(
    ("study", "train", "words"),
    [
        ("nowhere.py:study", "train", "MODULE is 'nowhere.py'"),
        ("no_such_module:study", "train", "MODULE is 'no_such_module'"),
        ("json:study", "train", "NAME is 'study', but must be a name that json defines"),
        ("json:dumps", "train", "must be a phyletic.Study"),
    ],
)
def test_run_names_what_it_cannot_find(study: str, train: str, words: str) -> None:
    assert words in call("run", study, train, code=1).stderr


def test_run_reports_training_that_fails(tmp_path: Path) -> None:
    (tmp_path / "failing_script.py").write_text(SCRIPT.replace("STORAGE", repr(f"sqlite:///{tmp_path}/toy.db")))
    environment = {**os.environ, "PYTHONPATH": ""}
    command = [sys.executable, "-m", "phyletic", "run", "failing_script.py:study", "broken", "--workers", "0"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 1
    assert "RuntimeError: no such data" in done.stderr


def test_devices_are_parsed() -> None:
    from phyletic.cli.run import parse_devices

    assert parse_devices("0, 1") == ["0", "1"]
    assert parse_devices("GPU-1+GPU-2") == [["GPU-1", "GPU-2"]]
    with pytest.raises(InvalidArgument, match="--devices"):
        parse_devices("0,,1")


def test_the_demo_prints_and_draws_its_results(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    arguments = ["demo", "--members", "2", "--rounds", "2", "--workers", "0", "--output", str(tmp_path / "demo")]
    text = call(*arguments).stdout
    held_out = next(line for line in text.splitlines() if line.startswith("held-out accuracy "))
    assert 0.05 < float(held_out.split()[-1]) <= 1.0
    assert (tmp_path / "demo" / "digits.png").read_bytes().startswith(b"\x89PNG")
    assert f"picture: {tmp_path}/demo/digits.png" in text
    assert "validation accuracy" in text
    again: dict[str, Any] = json.loads(call(*arguments, "--json").stdout)
    assert f"{again['held_out_accuracy']:.4f}" == held_out.split()[-1]


def test_the_demo_names_the_difference_to_an_earlier_study(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    arguments = ["demo", "--rounds", "1", "--workers", "0", "--quiet", "--output", str(tmp_path)]
    call(*arguments, "--members", "2")
    assert "population" in call(*arguments, "--members", "3", code=1).stderr


def test_a_closed_pipe_is_not_an_error(storage: str) -> None:
    command = f"{sys.executable} -m phyletic show toy --storage {storage} --json | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stdout == "{\n"
    assert done.stderr == ""


def test_show_reads_no_more_of_a_long_study_than_of_a_short_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Any] = []
    real = queries.trial_of
    monkeypatch.setattr(queries, "trial_of", lambda row: read.append(row) or real(row))
    path = tmp_path / "long.db"
    study = ph.Study(
        "long",
        space={"lr": ph.Float(0, 1)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(3, 1),
        budget=ph.Budget(steps=60),
        seed=0,
        storage=path,
    )
    counts = []
    for until in (5, 60):
        study.set_budget(ph.Budget(steps=until))
        while isinstance(trial := study.ask(), ph.LiveTrial):
            study.tell(trial, score=trial["lr"])
        read.clear()
        shown = json.loads(call("show", "long", "--storage", str(path), "--events", "1", "--json").output)
        counts.append(len(read))
        assert [trial["member"] for trial in shown["members"]] == [0, 1, 2]
        assert len(shown["events"]) == 1
        assert shown["status"]["trials"]["completed"] >= until
    assert counts[0] == counts[1] <= 5 * 3 + 1
