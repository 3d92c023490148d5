"""Another process reaches a running study's control through its owner."""

import subprocess
import sys
import textwrap
import threading
import time

import pytest

import phyletic as ph
from phyletic import errors

OWNER = """
import sys, time
import phyletic as ph

def train(trials):
    for trial in trials.attach(lambda trial: {"x": 0.0}):
        time.sleep(0.02)
        trial.report(score=float(trial["lr"]))

study = ph.Study("study", space={"lr": ph.Float(0, 1)}, metric="score", mode="max", seed=0,
                 algorithm=ph.PBT(2, 1), budget=ph.Budget(seconds=60), storage=sys.argv[1])
print("ready", flush=True)
study.run(train, workers=int(sys.argv[2]), verbose=0)
print("ended", flush=True)
"""


@pytest.fixture(params=[0, 2])
def running(tmp_path, request):
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(OWNER), str(tmp_path / "a.db"), str(request.param)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert owner.stdout.readline() == "ready\n"
        study = ph.Study("study", storage=tmp_path / "a.db")
        while not study.trials():
            time.sleep(0.05)
        yield owner, study
    finally:
        owner.kill()
        owner.wait()


def test_a_running_study_is_resized_paused_resumed_and_stopped_from_elsewhere(running):
    owner, study = running
    with pytest.raises(errors.StorageOwned):
        study.ask()
    study.resize(4)
    assert study.control.population == 4
    deadline = time.monotonic() + 20
    while {trial.member for trial in study.trials()} != {0, 1, 2, 3} and time.monotonic() < deadline:
        time.sleep(0.05)
    assert {trial.member for trial in study.trials()} == {0, 1, 2, 3}
    study.pause()
    time.sleep(0.3)
    paused = len(study.trials())
    time.sleep(0.5)
    assert len(study.trials()) == paused
    study.resume()
    while len(study.trials()) == paused and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(study.trials()) > paused
    with pytest.raises(errors.InvalidArgument, match="population"):
        study.resize(0)
    study.stop()
    assert owner.wait(20) == 0
    assert owner.stdout.read() == "ended\n"
    assert "running" not in study.status().trials
    assert study.ask().number == len(study.trials()) - 1
    assert not list(study.checkpoints.root.with_suffix(".inbox").iterdir())


def test_a_budget_changed_from_elsewhere_ends_the_run(running):
    owner, study = running
    again = ph.Study("study", storage=study._store.path, budget=ph.Budget(trials=3))
    assert again.control.budget == ph.Budget(trials=3)
    assert owner.wait(20) == 0


def test_an_owner_that_does_not_answer_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("phyletic.study.control._INBOX_SECONDS", 0.2)
    script = textwrap.dedent(
        """
        import sys, time
        import phyletic as ph
        study = ph.Study("study", space={"lr": ph.Float(0, 1)}, metric="score", mode="max",
                         algorithm=ph.PBT(2, 1), storage=sys.argv[1])
        study.ask()
        print("ready", flush=True)
        time.sleep(60)
        """
    )
    owner = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "a.db")], stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout.readline() == "ready\n"
        study = ph.Study("study", storage=tmp_path / "a.db")
        with pytest.raises(errors.StorageBusy, match=r"did not answer within 0\.2 s"):
            study.pause()
    finally:
        owner.kill()
        owner.wait()
    assert study.control.paused is False
    study.pause()
    assert study.control.paused is True


def test_a_stop_ends_the_run_of_its_study_alone(tmp_path):
    studies = [
        ph.Study(name, space={"lr": ph.Float(0, 1)}, metric="score", mode="max", seed=0, algorithm=ph.PBT(2, 1),
                 budget=ph.Budget(seconds=60), storage=tmp_path / f"{name}.db")
        for name in ("one", "other")
    ]  # fmt: skip

    def train(trials):
        for trial in trials.attach(lambda trial: {"x": 0.0}):
            time.sleep(0.02)
            trial.report(score=float(trial["lr"]))

    runs = [threading.Thread(target=study.run, args=(train,), kwargs={"verbose": 0}) for study in studies]
    for study in studies:
        with pytest.raises(errors.NotFound, match="no run to stop"):
            study.stop()
    for run in runs:
        run.start()
    while not all(study.trials() for study in studies):
        time.sleep(0.05)
    studies[0].stop()
    runs[0].join(20)
    assert [run.is_alive() for run in runs] == [False, True]
    went = len(studies[1].trials())
    while len(studies[1].trials()) == went:
        time.sleep(0.05)
    studies[1].stop()
    runs[1].join(20)
    assert not runs[1].is_alive()
