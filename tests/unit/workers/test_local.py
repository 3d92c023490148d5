"""Local workers give the same results as a loop in this process, and leave nothing behind."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import phyletic as ph
from phyletic.errors import (
    HyperparameterUnused,
    InvalidArgument,
    MetricMissing,
    StudyFailed,
    TrainingError,
)
from phyletic.testing.example import facts


def make_study(folder: Path, name: str = "toy", **changes: Any) -> ph.Study:
    settings: dict[str, Any] = {
        "space": {"lr": ph.Float(1e-3, 1e-1, log=True)},
        "metric": "score",
        "mode": "max",
        "algorithm": ph.PBT(population=3, interval=4),
        "budget": ph.Budget(steps=12),
        "storage": folder / f"{name}.db",
        "seed": 0,
    }
    return ph.Study(name, **{**settings, **changes})


def build(trial: ph.LiveTrial) -> dict[str, Any]:
    return {"weights": [0.0]}


def train(trials: Any) -> None:
    for trial in trials.attach(build):
        for _ in trial.range():
            trial.state.weights[0] += trial["lr"]
        trial.report(score=trial.state.weights[0])


def test_a_synchronous_study_is_the_same_for_any_number_of_workers(tmp_path: Path) -> None:
    found = []
    for workers in (0, 1, 3):
        study = make_study(tmp_path, f"study-{workers}", algorithm=ph.PBT(population=3, interval=4, synchronous=True))
        study.run(train, workers=workers, verbose=0)
        assert all(trial.score is not None for trial in study.trials())
        found.append(facts(study))
    assert found[0] == found[1] == found[2]


def test_a_script_without_a_main_guard_runs_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"""
import os, pathlib
import phyletic as ph

with open({str(tmp_path / "ran")!r}, "a") as file:
    file.write("x")
OFFSET = 5.0

class Model:
    value = 0.0

def build(trial):
    return {{"value": [0.0]}}

def train(trials):
    import pickle
    pickle.loads(pickle.dumps(Model()))
    for trial in trials.attach(build):
        for step in trial.range():
            trial.state.value[0] = OFFSET + trial["lr"]
        trial.report(score=trial.state.value[0])

study = ph.Study("script", space={{"lr": ph.Float(0.0, 1.0)}}, metric="score", mode="max", seed=0,
                 algorithm=ph.PBT(population=2, interval=1), budget=ph.Budget(steps=2),
                 storage={str(tmp_path / "script.db")!r})
study.run(train, workers=2, verbose=0)
print(len(study.trials()), study.best.score > 5)
"""
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, cwd="/")
    assert done.stdout.split() == ["4", "True"], done.stderr
    assert (tmp_path / "ran").read_text() == "x"


@pytest.mark.parametrize("guarded", [True, False])
def test_processes_that_training_code_spawns_import_the_program_but_never_run_it(tmp_path: Path, guarded: bool) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"""
import multiprocessing
import phyletic as ph

def child():
    pass

def train(trials):
    for trial in trials.attach(lambda trial: {{"value": [trial["lr"]]}}):
        process = multiprocessing.get_context("spawn").Process(target=child)
        process.start()
        process.join()
        trial.report(score=process.exitcode + 0 * trial["lr"], steps_done=1)

if {"__name__ == '__main__'" if guarded else "True"}:
    study = ph.Study("script", space={{"lr": ph.Float(0.0, 1.0)}}, metric="score", mode="max", seed=0,
                     algorithm=ph.PBT(population=1, interval=1), budget=ph.Budget(steps=1))
    study.run(train, workers=1, verbose=0)
    print(study.best.score)
    print((study.logs / "worker-0.log").read_text())
"""
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, cwd="/")
    score, *log = done.stdout.splitlines()
    assert score == ("0.0" if guarded else "1.0"), done.stderr
    assert ("imports the program again" in "".join(log)) is not guarded


def test_variables_are_set_before_training_code_imports_anything(tmp_path: Path) -> None:
    def look(trials: Any) -> None:
        for trial in trials.attach(build):
            for _ in trial.range():
                trial.state.weights[0] = trial["lr"]
            place = tmp_path / f"seen-{os.environ['CUDA_VISIBLE_DEVICES']}"
            place.write_text(
                " ".join(os.environ[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OWN"))
                + f" {os.getpgid(0) == os.getpid()} {os.environ.get('PYTHONPATH')}"
            )
            # wait until both workers have had a trial
            deadline = time.monotonic() + 20
            while len(list(tmp_path.glob("seen-*"))) < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
            trial.report(score=1.0)

    study = make_study(tmp_path, budget=ph.Budget(trials=2))
    environment = {"OWN": "yes", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    study.run(look, workers=2, devices=[["GPU-a", "GPU-b"], "GPU-c"], threads=2, environment=environment, verbose=0)
    seen = {path.name: path.read_text().split() for path in tmp_path.glob("seen-*")}
    expected = ["2", "2", "yes", "True", str(os.environ.get("PYTHONPATH"))]
    assert seen == {"seen-GPU-a,GPU-b": expected, "seen-GPU-c": expected}


def test_a_run_leaves_no_descriptor_thread_or_process_behind(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    study.run(train, workers=0, verbose=0)  # so that everything that stays open for good is open now
    study.set_budget(ph.Budget(steps=16))
    study.run(train, workers=2, verbose=0)
    gc.collect()
    descriptors, threads = psutil.Process().num_fds(), threading.active_count()
    study.set_budget(ph.Budget(steps=24))
    study.run(train, workers=2, verbose=0)
    gc.collect()
    # what other tests had left may end meanwhile
    assert psutil.Process().num_fds() <= descriptors
    assert threading.active_count() <= threads
    assert psutil.Process().children() == []


def test_processes_that_a_worker_started_end_with_it(tmp_path: Path) -> None:
    def start_and_leave(trials: Any) -> None:
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        (tmp_path / "child").write_text(str(child.pid))
        train(trials)

    study = make_study(tmp_path)
    study.run(start_and_leave, workers=1, verbose=0)
    child = int((tmp_path / "child").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_children_of_training_code_end_at_sigterm_as_multiprocessing_expects(tmp_path: Path) -> None:
    def forking(trials: Any) -> None:
        import multiprocessing

        for trial in trials.attach(build):
            process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
            process.start()
            for _ in trial.range():
                trial.state.weights[0] += trial["lr"]
            process.terminate()
            process.join(20)
            trial.report(score=float(process.exitcode == -15))

    study = make_study(tmp_path, budget=ph.Budget(trials=1))
    study.run(forking, workers=1, verbose=0)
    assert [trial.score for trial in study.trials()] == [1.0]


def test_an_exception_fails_the_attempt_and_the_retry_reuses_no_state(tmp_path: Path) -> None:
    def failing(trials: Any) -> None:
        for trial in trials.attach(build):
            for _ in trial.range():
                trial.state.weights[0] += trial["lr"]
            if trial.number == 1 and trial.record.failures == 0:
                trial.state.weights[0] = 1e9
                raise ValueError("by bad luck")
            trial.report(score=trial.state.weights[0])

    study = make_study(tmp_path, algorithm=ph.PBT(population=2, interval=4, synchronous=True))
    study.run(failing, workers=1, verbose=0)
    failed = study.trials()[1]
    assert failed.failures == 1
    assert failed.attempts == 2
    assert "ValueError: by bad luck" in (failed.error or "")
    assert "in failing" in (failed.error or "")
    same = make_study(tmp_path, "same", algorithm=ph.PBT(population=2, interval=4, synchronous=True))
    same.run(train, workers=0, verbose=0)
    assert facts(study) == facts(same)
    assert "by bad luck" in (study.logs / "worker-0.log").read_text()


def _no_report(trials: Any) -> None:
    for trial in trials.attach(build):
        for _ in trial.range():
            trial.state.weights[0] += trial["lr"]


def _unused(trials: Any) -> None:
    for trial in trials.attach(build):
        for _ in trial.range():
            pass
        trial.report(score=1.0)


def _returns(trials: Any) -> None:
    return


@pytest.mark.parametrize(
    ("code", "kind", "text"),
    [
        (_no_report, MetricMissing, "without a report of 'score'"),
        (_unused, HyperparameterUnused, "lr"),
        (_returns, TrainingError, "returned without asking for a trial"),
    ],
)
def test_code_that_breaks_the_contract_stops_the_run_with_the_same_error(
    tmp_path: Path, code: Callable[[Any], None], kind: type[Exception], text: str
) -> None:
    study = make_study(tmp_path)
    with pytest.raises(kind, match=text) as caught:
        study.run(code, workers=2, verbose=0)
    assert type(caught.value) is kind
    assert psutil.Process().children() == []
    assert all(trial.failures == 0 for trial in study.trials())


@pytest.mark.parametrize("code", ["raise SystemExit(3)", "break"])
def test_code_that_always_leaves_the_loop_stops_the_study(tmp_path: Path, code: str) -> None:
    scope: dict[str, Any] = {"build": build, "__name__": "__main__"}
    body = f"def leaving(trials):\n for trial in trials.attach(build):\n  trial['lr']\n  {code}\n"
    exec(compile(body, "leaving.py", "exec"), scope)
    study = make_study(tmp_path, max_failures=2, algorithm=ph.PBT(population=2, interval=4))
    with pytest.raises(StudyFailed):
        study.run(scope["leaving"], workers=1, verbose=0)


def test_workers_that_cannot_begin_stop_the_run_with_their_output(tmp_path: Path) -> None:
    def loading(trials: Any) -> None:
        raise FileNotFoundError("no such data")

    study = make_study(tmp_path)
    with pytest.raises(StudyFailed, match=r"worker-\d .*3 times in a row before it asked") as caught:
        study.run(loading, workers=2, verbose=0)
    assert "FileNotFoundError: no such data" in str(caught.value)
    assert study.trials() == []


def test_one_worker_that_cannot_begin_does_not_stop_the_others(tmp_path: Path) -> None:
    def lopsided(trials: Any) -> None:
        if os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-broken":
            os._exit(7)
        time.sleep(0.5)
        train(trials)

    study = make_study(tmp_path)
    study.run(lopsided, workers=2, devices=["GPU-broken", "GPU-good"], verbose=0)
    assert {trial.worker for trial in study.trials()} == {"worker-1"}
    assert all(trial.losses == 0 for trial in study.trials())


@pytest.mark.parametrize(
    ("changes", "name"),
    [({"workers": -1}, "workers"), ({"threads": 0}, "threads"), ({"devices": [0, 1, 2], "workers": 2}, "devices")],
)
def test_arguments_are_checked_before_anything_starts(tmp_path: Path, changes: dict[str, Any], name: str) -> None:
    study = make_study(tmp_path)
    with pytest.raises(InvalidArgument, match=name):
        study.run(train, **{"workers": 1, "verbose": 0, **changes})
    assert not study.logs.exists()


def test_a_function_that_cannot_be_sent_is_an_error_before_anything_starts(tmp_path: Path) -> None:
    lock = threading.Lock()

    def locked(trials: Any) -> None:
        with lock:
            train(trials)

    study = make_study(tmp_path)
    with pytest.raises(InvalidArgument, match="'lock'"):
        study.run(locked, workers=1, verbose=0)
    assert not study.logs.exists()


def test_output_goes_to_a_file_per_worker_with_a_line_per_incarnation(tmp_path: Path) -> None:
    def speaking(trials: Any) -> None:
        print("a word of the training code")
        train(trials)

    study = make_study(tmp_path)
    study.run(speaking, workers=1, verbose=0)
    study.set_budget(ph.Budget(steps=16))
    study.run(speaking, workers=1, verbose=0)
    lines = (study.logs / "worker-0.log").read_text().splitlines()
    assert [line.startswith("=== worker-0, pid ") for line in lines] == [True, False, True, False]
    assert lines[1] == lines[3] == "a word of the training code"
