"""A run that is killed at any write, fsync, rename, commit or message, and resumed, ends as one never interrupted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import phyletic as ph
from phyletic.failpoints import armed
from phyletic.testing.facts import facts

# a study whose trials depend on every earlier one, by weights, hyperparameters and random numbers
PROGRAM = """
import sys
import numpy as np
import phyletic as ph

def build(trial):
    return {"weights": np.zeros(4)}

def train(trials):
    for trial in trials.attach(build):
        for _ in trial.range():
            trial.state.weights += trial["lr"] * np.random.standard_normal(4)
        trial.report(score=float(trial.state.weights.sum()))

def make(storage):
    return ph.Study(
        "study",
        space={"lr": ph.Float(1e-3, 1.0, log=True)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(3, 2, exploit=ph.Truncation(0.34), synchronous=True),
        budget=ph.Budget(steps=8),
        storage=storage,
        seed=5,
    )

if __name__ == "__main__":
    make(sys.argv[1]).run(train, workers=int(sys.argv[2]), verbose=0)
"""

names: dict = {}
exec(PROGRAM, names)


def all_passings(tmp_path) -> dict[str, int]:
    """How often each failpoint is passed in one run in this process."""
    counts: dict[str, int] = {}

    def count(name: str) -> None:
        counts[name] = counts.get(name, 0) + 1

    with armed(count):
        study = names["make"](tmp_path / "count.db")
        study.run(names["train"], workers=0, verbose=0)
    return counts


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    counts = all_passings(folder)
    study = ph.Study("study", storage=folder / "count.db")
    return counts, facts(study)


POINTS = [
    "coordinator.decided",
    "disk.fsync.after",
    "disk.fsync.before",
    "disk.fsync_folder.after",
    "disk.fsync_folder.before",
    "disk.rename.after",
    "disk.rename.before",
    "disk.unlink.after",
    "disk.unlink.before",
    "disk.write.after",
    "disk.write.before",
    "storage.begin.after",
    "storage.begin.before",
    "storage.commit.after",
    "storage.commit.before",
]


def test_every_failpoint_of_a_run_is_tried(whole):
    counts, _ = whole
    assert sorted(counts) == POINTS


def killed_and_resumed(tmp_path: Path, failpoint: str, workers: int) -> ph.Study:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    storage = tmp_path / "study.db"
    command = [sys.executable, str(program), str(storage), str(workers)]
    ended = subprocess.run(
        command, env={**os.environ, "PHYLETIC_FAILPOINT": failpoint}, capture_output=True, text=True, check=False
    )
    if workers == 0:
        assert ended.returncode == -9, ended.stderr
    study = names["make"](storage)
    study.run(names["train"], workers=0, verbose=0)
    return study


@pytest.mark.parametrize(
    ("point", "place"),
    [
        (point, place)
        for point in POINTS
        for place in ("early", "middle", "late")
        if place == "middle" or "commit" in point
    ]
    + [("disk.rename.after", "late"), ("disk.unlink.before", "late"), ("storage.begin.after", "early")],
)
def test_killed_there_and_resumed_it_ends_the_same(tmp_path, whole, point, place):
    counts, expected = whole
    nth = {"early": 1, "middle": max(1, counts[point] // 2), "late": max(1, counts[point] - 1)}[place]
    study = killed_and_resumed(tmp_path, f"{point}:{nth}", workers=0)
    assert facts(study) == expected
    # nothing is left of what was not finished: no temporary folder, no checkpoint that nothing needs
    staging = study.checkpoints.root / "staging"
    left = [path.suffix for path in staging.iterdir()]
    assert left in ([], [".owner"])  # at most this process's own mark
    needed = {trial.number for member in study.owner.state.members.values() for trial in member.kept}
    needed |= {trial.number for trial in study.owner.state.best[:1]}
    known = {trial.checkpoint.id: trial.number for trial in study.trials() if trial.checkpoint}
    there = {path.name.partition(".")[0] for path in study.checkpoints.root.glob("*.safetensors")}
    study.close()
    assert {known[name] for name in there} == needed


@pytest.mark.parametrize("point", ["channel.send.before:3", "channel.send.after:2", "channel.receive.after:4"])
def test_workers_killed_at_a_message_are_replaced_and_the_study_ends_the_same(tmp_path, whole, point):
    # the owner passes the points of disk and storage, each worker its own messages: replacements are killed too, until
    # their trial is given up, or the study is resumed without failpoints
    _, expected = whole
    study = killed_and_resumed(tmp_path, point, workers=2)
    assert (study.logs / "worker-0.log").read_text().count("=== worker-0, pid") > 1
    done = [trial for trial in study.trials() if trial.score is not None]
    assert {trial.member for trial in done} == {0, 1, 2}
    if all(trial.losses < 10 for trial in study.trials()):
        assert facts(study) == expected
