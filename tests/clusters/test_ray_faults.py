"""Actors, nodes and drivers of a Ray cluster die, drain and are interrupted; a study loses nothing by it."""

import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

import phyletic as ph
from phyletic.cli import main
from phyletic.errors import InvalidArgument, NotFound, StudyFailed, TrainingError
from phyletic.records import TrialState
from phyletic.testing.training import Journal, start_process

ray = pytest.importorskip("ray")

SLOT = {"num_cpus": 0, "resources": {"slot": 1}}
"""An actor that takes the one slot that each of two nodes has."""
PREEMPTION = 2
"""Ray's number for the reason of a node that is taken away."""


def build(trial):
    return {"weights": [0.0]}


def short(trial, step):
    time.sleep(0.01)


def train(trials, journal, each=short):
    """Sum the learning rates; note each trial as it begins, with its process and its node."""
    node = ray.get_runtime_context().get_node_id()
    for trial in trials.attach(build):
        journal.note(trial=trial.number, node=node)
        for step in trial.range():
            trial.state.weights[0] += trial["lr"]
            each(trial, step)
        trial.report(score=trial.state.weights[0])


def study_in(folder, *, population=2, steps=20, **changes):
    return ph.Study(
        "study",
        space={"lr": ph.Float(1e-3, 1e-1, log=True)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(population, 5),
        seed=0,
        **{"budget": ph.Budget(steps=steps), "storage": folder / "study.db", **changes},
    )


def run_until(study, happened, train, **options):
    """Run a study in a thread until a function has returned here: Ray adds nodes in the main thread only."""
    raised = []

    def run():
        try:
            study.run(train, verbose=0, **options)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        happened()
    finally:
        with contextlib.suppress(NotFound):  # the run has ended, in most cases by an error
            study.stop()
        thread.join()
        if raised:
            raise raised[0]


def wait_until(holds, seconds=40.0):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come in time"
        time.sleep(0.02)


def alive(pids, seconds=15.0):
    """Return the processes that still run after they had time to end."""
    deadline = time.monotonic() + seconds
    while True:
        left = [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


def contents(folder):
    return {path: hashlib.sha256(path.read_bytes()).digest() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.usefixtures("one_node")
@pytest.mark.xdist_group("one node")
class TestOneNode:
    def test_a_killed_actor_loses_its_trial_once_and_nothing_else_suffers(self, tmp_path):
        journal = Journal(tmp_path / "notes")

        def die_once(trial, step):
            time.sleep(0.01)
            if trial.number == 1 and trial.record.losses == 0 and step == 2:
                os.kill(os.getpid(), signal.SIGKILL)

        study = study_in(tmp_path)
        study.run(partial(train, journal=journal, each=die_once), workers=ph.RayWorkers(2), verbose=0)
        trials = study.trials()
        assert study.finished
        assert {(trial.state, trial.failures) for trial in trials} == {(TrialState.COMPLETED, 0)}
        assert [trial.losses for trial in trials] == [int(trial.number == 1) for trial in trials]
        assert re.search(r"worker-\d \(pid \d+ on node [\d.]+\) died: .+; its output is in .+\.log", trials[1].error)
        assert len({note["process"] for note in journal.notes() if note["trial"] == 1}) == 2
        begun = [note["trial"] for note in journal.notes()]
        assert sorted(begun) == sorted([*range(len(trials)), 1])

    # Errors

    @pytest.mark.parametrize(
        ("workers", "numbers"),
        [
            (ph.RayWorkers(64), ("64", "4 workers", "4 CPU")),
            (ph.RayWorkers(1, num_gpus=1), ("workers is 1", "0 workers", "0 GPU")),
            (ph.RayWorkers(1, gang=8), ("gang is 8", "0 workers of 8 ranks", "4 CPU")),
        ],
    )
    def test_workers_that_never_fit_are_an_error_before_anything_is_written(self, tmp_path, workers, numbers):
        study = study_in(tmp_path)
        before = contents(tmp_path)
        with pytest.raises(InvalidArgument) as raised:
            study.run(partial(train, journal=Journal(tmp_path / "notes")), workers=workers, verbose=0)
        assert all(number in str(raised.value) for number in numbers)
        assert contents(tmp_path) == before

    def test_what_train_raises_before_its_first_trial_ends_the_run(self, tmp_path):
        def without_data(trials):
            raise FileNotFoundError("the data are gone")

        with pytest.raises(StudyFailed, match="the data are gone") as raised:
            study_in(tmp_path).run(without_data, workers=ph.RayWorkers(2), verbose=0)
        assert re.search(r"^worker-\d: ", str(raised.value))
        assert "Traceback" in str(raised.value)
        assert "in without_data" in str(raised.value)

    def test_what_a_body_raises_comes_back_with_its_traceback(self, tmp_path):
        def diverge(trial, step):
            raise ArithmeticError("the loss is too large")

        study = study_in(tmp_path)
        failing = partial(train, journal=Journal(tmp_path / "notes"), each=diverge)
        with pytest.raises(StudyFailed, match="ArithmeticError: the loss is too large") as raised:
            study.run(failing, workers=ph.RayWorkers(2), verbose=0)
        assert "in diverge" in str(raised.value)
        assert study.errors[0].error == "ArithmeticError: the loss is too large"

    def test_train_that_returns_at_once_is_told_what_it_gets(self, tmp_path):
        with pytest.raises(TrainingError, match="returned without asking for a trial"):
            study_in(tmp_path).run(lambda trials: None, workers=ph.RayWorkers(2), verbose=0)

    def test_a_module_that_a_node_lacks_is_named_with_what_brings_it(self, tmp_path):
        path = tmp_path / "laboratory.py"
        path.write_text("def rate():\n    return 1.0\n")
        spec = importlib.util.spec_from_file_location("laboratory", path)
        laboratory = sys.modules["laboratory"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(laboratory)

        def measure(trials):
            for trial in trials:
                trial.report(score=laboratory.rate())

        try:
            with pytest.raises(StudyFailed, match="lacks the Python module 'laboratory'") as raised:
                study_in(tmp_path).run(measure, workers=ph.RayWorkers(1), verbose=0)
        finally:
            del sys.modules["laboratory"]
        assert re.search(r"node [\d.]+ lacks", str(raised.value))
        assert 'runtime_env={"working_dir": "."}' in str(raised.value)

    # Drivers in a process of their own

    @pytest.fixture
    def drive(self, tmp_path):
        """Start a driver whose steps take some seconds; wait until it has begun two trials."""
        started = []

        def start(seconds, workers):
            journal = Journal(tmp_path / "notes")

            def each(trial, step):
                time.sleep(seconds)

            def run():
                study = study_in(tmp_path, steps=10)
                slow = partial(train, journal=journal, each=each)
                study.run(slow, workers=workers, grace=20.0, on_signal="return")
                print("returned", flush=True)

            driver = start_process(run, tmp_path)
            started.append(driver)
            journal.wait_for(2)
            return driver, [note["process"] for note in journal.notes()]

        yield start
        for driver in started:
            driver.kill()
            driver.communicate()

    def test_the_first_interrupt_lets_running_trials_finish(self, drive, tmp_path):
        driver, actors = drive(0.2, ph.RayWorkers(2))
        driver.send_signal(signal.SIGINT)
        output, _ = driver.communicate(timeout=60)
        assert "finishing 2 running trials; press Ctrl-C again to stop now" in output
        assert output.endswith("returned\n")
        assert alive(actors) == []
        trials = ph.Study("study", storage=tmp_path / "study.db").trials()
        begun = [(trial.number, trial.state, trial.steps_done) for trial in trials if trial.attempts]
        assert begun == [(0, TrialState.COMPLETED, 5), (1, TrialState.COMPLETED, 5)]

    def test_the_second_interrupt_ends_all_actors_now(self, drive, tmp_path):
        driver, actors = drive(600, ph.RayWorkers(2))
        driver.send_signal(signal.SIGINT)
        assert any("finishing 2 running trials" in line for line in driver.stdout)
        driver.send_signal(signal.SIGINT)
        assert driver.communicate(timeout=60)[0].endswith("returned\n")
        assert alive(actors) == []
        trials = ph.Study("study", storage=tmp_path / "study.db").trials()
        assert [(trial.state, trial.losses, trial.failures) for trial in trials] == [(TrialState.WAITING, 0, 0)] * 2

    def test_a_terminated_driver_has_its_trials_handed_back(self, drive, tmp_path):
        driver, actors = drive(0.6, ph.RayWorkers(2))
        driver.terminate()
        output, _ = driver.communicate(timeout=60)
        assert "SIGTERM: 2 running trials to hand back within 20 s" in output
        assert alive(actors) == []
        trials = ph.Study("study", storage=tmp_path / "study.db").trials()
        assert [(trial.state, trial.losses) for trial in trials if trial.attempts] == [(TrialState.PARTIAL, 0)] * 2
        assert all(0 < trial.steps_done < 5 for trial in trials if trial.attempts)

    @pytest.mark.parametrize("workers", [ph.RayWorkers(2), ph.RayWorkers(1, gang=2)])
    def test_a_killed_driver_leaves_no_actor_and_its_study_goes_on(self, drive, tmp_path, workers):
        driver, actors = drive(600, workers)
        groups = [key for key, group in ray.util.placement_group_table().items() if group["state"] == "CREATED"]
        assert len(groups) == (workers.gang > 1)
        driver.kill()
        assert alive(actors) == []
        wait_until(lambda: all(ray.util.placement_group_table()[group]["state"] == "REMOVED" for group in groups))
        study = ph.Study("study", storage=tmp_path / "study.db")
        study.run(partial(train, journal=Journal(tmp_path / "later")), workers=ph.RayWorkers(2), verbose=0)
        assert study.finished
        assert {(trial.state, trial.losses) for trial in study.trials()} == {(TrialState.COMPLETED, 0)}


@pytest.mark.xdist_group("two nodes")
class TestTwoNodes:
    @pytest.fixture
    def cluster(self, two_nodes):
        """Give a cluster of two nodes, and bring it back to two afterwards."""
        yield two_nodes
        going = ray._private.state.state.get_draining_nodes()
        staying = [node for node in two_nodes.worker_nodes if node.node_id not in going and not node.dead_processes()]
        for node in two_nodes.worker_nodes - set(staying[:1]):
            two_nodes.remove_node(node, allow_graceful=False)
        if not staying:
            two_nodes.add_node(num_cpus=2, resources={"slot": 1})

    @pytest.fixture
    def second(self, cluster):
        (node,) = cluster.worker_nodes
        return node

    @staticmethod
    def drain(node):
        deadline = int(time.time() * 1000) + 120_000
        client = ray._raylet.GcsClient(address=node.gcs_address)
        accepted, why = client.drain_node(node.node_id, PREEMPTION, "a spot instance goes", deadline)
        assert accepted, why

    @staticmethod
    def kill(node):
        raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
        for process in [*raylet.children(recursive=True), raylet]:
            process.kill()

    @staticmethod
    def slow_on(node):
        """Return what a step does: a second's work on that node, little on others."""
        slow = node.node_id

        def each(trial, step):
            time.sleep(1.0 if ray.get_runtime_context().get_node_id() == slow else 0.05)

        return each

    def test_a_draining_node_hands_its_trial_back_and_its_place_moves(self, cluster, second, tmp_path):
        journal = Journal(tmp_path / "notes")
        study = study_in(tmp_path, budget=None)

        def trials_on(node):
            return [note["trial"] for note in journal.notes() if note["node"] == node]

        def happened():
            head = ray.get_runtime_context().get_node_id()
            wait_until(lambda: trials_on(second.node_id) and trials_on(head))
            self.drain(second)
            wait_until(lambda: any(trial.state is TrialState.PARTIAL for trial in study.trials()))
            count = len(trials_on(head))
            wait_until(lambda: len(trials_on(head)) > count + 1)
            assert len(trials_on(second.node_id)) == 1
            third = cluster.add_node(num_cpus=2, resources={"slot": 1})
            wait_until(lambda: trials_on(third.node_id))

        slow = partial(train, journal=journal, each=self.slow_on(second))
        run_until(study, happened, slow, workers=ph.RayWorkers(2, **SLOT))
        trials = study.trials()
        assert sum(trial.losses + trial.failures for trial in trials) == 0
        (partly,) = [trial for trial in trials if trial.state is TrialState.PARTIAL]
        assert [partly.number] == trials_on(second.node_id)
        assert 0 < partly.steps_done < 5
        (resumed,) = [trial for trial in trials if trial.parent == partly.number]
        assert resumed.decision.kind == "resume"
        assert resumed.hyperparameters == partly.hyperparameters
        assert (resumed.start_step, resumed.state) == (partly.end_step, TrialState.COMPLETED)

    @pytest.mark.parametrize("preempted", [False, True])
    def test_trials_of_a_killed_node_run_elsewhere_and_its_place_blocks_nothing(self, second, tmp_path, preempted):
        journal = Journal(tmp_path / "notes")
        study = study_in(tmp_path, steps=200)
        held = []

        def happened():
            wait_until(lambda: any(note["node"] == second.node_id for note in journal.notes()))
            held.extend(note["trial"] for note in journal.notes() if note["node"] == second.node_id)
            if preempted:
                self.drain(second)
            self.kill(second)
            wait_until(lambda: study.trial(held[0]).state is TrialState.COMPLETED)

        slow = partial(train, journal=journal, each=self.slow_on(second))
        run_until(study, happened, slow, workers=ph.RayWorkers(2, **SLOT))
        trials = study.trials()
        assert [trial.losses for trial in trials] == [int(trial.number in held and not preempted) for trial in trials]
        assert sum(trial.failures for trial in trials) == 0
        nodes = [note["node"] for note in journal.notes() if note["trial"] == held[0]]
        assert nodes == [second.node_id, ray.get_runtime_context().get_node_id()]

    def test_a_run_uses_the_nodes_that_there_are_and_ends(self, cluster, tmp_path):
        journal = Journal(tmp_path / "notes")

        def processes():
            return {note["process"] for note in journal.notes()}

        def with_the_other(trial, step):
            wait_until(lambda: len(processes()) == 2)

        study = study_in(tmp_path, population=4)
        some = ph.RayWorkers(min=1, max=4, **SLOT)
        study.run(partial(train, journal=journal, each=with_the_other), workers=some, verbose=0)
        assert study.finished
        assert len(processes()) == 2

    def test_a_node_that_is_added_gets_work(self, cluster, tmp_path):
        journal = Journal(tmp_path / "notes")
        study = study_in(tmp_path, population=4, budget=None)

        def happened():
            wait_until(lambda: len({note["node"] for note in journal.notes()}) == 2)
            third = cluster.add_node(num_cpus=2, resources={"slot": 1})
            wait_until(lambda: any(note["node"] == third.node_id for note in journal.notes()))

        run_until(study, happened, partial(train, journal=journal), workers=ph.RayWorkers(min=1, max=4, **SLOT))
        assert {trial.losses for trial in study.trials()} == {0}

    def test_the_output_of_an_actor_elsewhere_is_found_by_its_log(self, second, tmp_path):
        journal = Journal(tmp_path / "notes")

        def speaking(trials):
            print("hello from", ray.get_runtime_context().get_node_id())
            train(trials, journal)

        def happened():
            wait_until(lambda: len({note["node"] for note in journal.notes()}) == 2)

        study = study_in(tmp_path, budget=None)
        run_until(study, happened, speaking, workers=ph.RayWorkers(2, **SLOT))
        texts = [log.read_text() for log in sorted(study.logs.glob("worker-*.log"))]
        (here,) = [text for text in texts if "hello" in text]
        (elsewhere,) = [text for text in texts if "hello" not in text]
        assert f"hello from {ray.get_runtime_context().get_node_id()}" in here
        host, path = re.fullmatch(r"=== worker-\d, .*, on node (\S+), in (\S+) ===\n", elsewhere).groups()
        assert f"hello from {second.node_id}" in Path(path).read_text()
        shown = CliRunner().invoke(main, ["show", "study", "--storage", str(tmp_path / "study.db")])
        assert f"{path} on node {host}" in shown.output.replace("\n", "")

    def test_a_folder_of_checkpoints_that_a_node_does_not_see_is_an_error(self, cluster, tmp_path):
        """The third node has an empty file system over the folder."""
        hide = ["unshare", "-m", "sh", "-c", f"mount -t tmpfs none {tmp_path / 'checkpoints'}"]
        (tmp_path / "checkpoints").mkdir()
        if shutil.which("unshare") is None or subprocess.run(hide, capture_output=True, check=False).returncode:
            pytest.skip("this user may not mount a file system")
        start = f"{sys.executable} -m ray.scripts.scripts start --address={cluster.address} --num-cpus=1 --block"
        resources = "--resources='{\"apart\": 1}'"
        with subprocess.Popen(
            [*hide[:-1], f"{hide[-1]} && exec {start} {resources}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as node:
            try:
                wait_until(lambda: "apart" in ray.cluster_resources())
                study = study_in(tmp_path, checkpoints=tmp_path / "checkpoints")
                with pytest.raises(StudyFailed) as raised:
                    study.run(
                        partial(train, journal=Journal(tmp_path / "notes")),
                        workers=ph.RayWorkers(1, resources={"apart": 1}),
                        verbose=0,
                    )
            finally:
                processes = [node, *psutil.Process(node.pid).children(recursive=True)]
                for process in processes:
                    process.kill()
        assert str(tmp_path / "checkpoints") in str(raised.value)
        assert re.search(r"is not the owner's on node [\d.]+: give a folder that all nodes share", str(raised.value))
        assert study.trials() == []
