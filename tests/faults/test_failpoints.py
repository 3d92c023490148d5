"""A run killed at any write, fsync, rename, commit or message, then resumed, ends like an uninterrupted run."""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from safetensors.numpy import load_file

import phyletic as ph
from phyletic.checkpoints.digest import digest_of_file
from phyletic.checkpoints.folder import check_folder
from phyletic.coordinator.inbox import Inbox
from phyletic.coordinator.messages import Control, Done
from phyletic.errors import NotFound, StorageBusy
from phyletic.records import TrialState
from phyletic.testing.example import facts

WHOLE = os.environ.get("PHYLETIC_ALL_FAULTS") == "1"
"""Whether to kill each time a failpoint is passed; else once for each pair of failpoint and cause."""

# each trial of this study depends on all earlier ones, through weights, hyperparameters and random numbers
STUDY = """
import numpy as np
import phyletic as ph

def build(trial):
    return {"weights": np.zeros(4)}

def loop(trials, **options):
    for trial in trials.attach(build, **options):
        if trial.number == 4 and trial.record.attempts == 1:
            raise RuntimeError("once")
        for _ in trial.range():
            trial.state.weights = trial.state.weights + trial["lr"] * np.random.standard_normal(4)
        trial.report(score=float(trial.state.weights.sum()))

def save(state, folder):
    (folder / "inner").mkdir()
    np.save(folder / "inner" / "weights.npy", state.weights)

def load(state, folder):
    state.weights = np.load(folder / "inner" / "weights.npy")

def packed(trials):
    loop(trials)

def folders(trials):
    loop(trials, save=save, load=load)

TRAIN = {"packed": packed, "folders": folders}

def make(storage, steps=4):
    return ph.Study(
        "study",
        space={"lr": ph.Float(1e-3, 1.0, log=True)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(3, 1, exploit=ph.Truncation(0.34), synchronous=True),
        budget=ph.Budget(steps=steps),
        storage=storage,
        seed=5,
    )

def live(storage, layout):
    # half-way; then it is opened again, with another budget
    first = make(storage, steps=2)
    first.run(TRAIN[layout], workers=0, verbose=0)
    make(storage).run(TRAIN[layout], workers=0, verbose=0)
"""

names: dict = {}
exec(STUDY, names)
make, TRAIN = names["make"], names["TRAIN"]

# Forks a child for every kill, since a new interpreter for each would take a hundred times as long. The same code
# kills a process that is started with PHYLETIC_FAILPOINT, as in the tests of messages below.
KILLING = """
import json, os, sys
from pathlib import Path
from phyletic import failpoints

CAUSES = (
    "Coordinator.begin", "Coordinator.end", "Checkpoints.publish", "Checkpoints.publish_folder",
    "Checkpoints.staging", "Checkpoints.delete", "Checkpoints.sync",
)

def cause():
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_qualname
        if name == "Coordinator.execute":
            return "+".join(sorted({type(command).__name__ for command in frame.f_locals["commands"]}))
        if name in CAUSES:
            return name
        frame = frame.f_back
    return "create"

def forked(act):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            act()
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1]

def count():
    with open(top / "passed", "w") as file:
        with failpoints.armed(lambda name: print(json.dumps([name, cause()]), file=file)):
            live(top / "whole.db", layout)

def kill(folder, point):
    os.environ["PHYLETIC_FAILPOINT"] = point
    failpoints._arm_from_environment()
    live(folder / "study.db", layout)

top, layout = Path(sys.argv[1]), sys.argv[2]
make(None).run(TRAIN[layout], workers=0, verbose=0)  # so that the children need no lazy import
assert forked(count) == 0
print("counted", flush=True)
for line in sys.stdin:
    folder, point = json.loads(line)
    os.mkdir(folder)
    print(json.dumps(forked(lambda: kill(Path(folder), point))), flush=True)
"""


class Killing:
    """Kills runs of one checkpoint layout at named failpoints."""

    def __init__(self, top, layout):
        self.top, self.layout = top, layout
        top.mkdir()
        self.process = subprocess.Popen(
            [sys.executable, "-c", STUDY + KILLING, str(top), layout],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=top,
        )  # fmt: skip
        assert self.process.stdout.readline() == "counted\n"
        self.passed = [tuple(json.loads(line)) for line in (top / "passed").read_text().splitlines()]
        self.expected = facts(ph.Study("study", storage=top / "whole.db"))

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        self.process.communicate()

    def places(self):
        """Return (point, nth) for every time a point is passed, or for one time per pair of point and cause."""
        counts, found = Counter(), []
        for point, cause in self.passed:
            counts[point] += 1
            found.append((point, counts[point], cause))
        if WHOLE:
            return [(point, nth) for point, nth, _ in found]
        random.Random(0).shuffle(found)
        drawn = {(point, cause): (point, nth) for point, nth, cause in found}
        # both layouts do the same in the database
        return [
            place for (_, cause), place in drawn.items() if self.layout == "packed" or cause.startswith("Checkpoints")
        ]

    def kill(self, point, nth):
        """Run a study, kill it there, and return its folder."""
        folder = self.top / f"{point}:{nth}"
        print(json.dumps([str(folder), f"{point}:{nth}"]), file=self.process.stdin, flush=True)
        status = json.loads(self.process.stdout.readline())
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, folder
        return folder


@pytest.fixture(scope="module")
def killing(quick):
    with contextlib.ExitStack() as stack:
        yield {layout: stack.enter_context(Killing(quick / layout, layout)) for layout in TRAIN}


def points(*names):
    return {f"{name}.{when}" for name in names for when in ("before", "after")}


RUN = {"coordinator.decided"} | points(
    "storage.begin", "storage.commit", "disk.create", "disk.mkdir", "disk.write", "disk.fsync", "disk.fsync_folder",
    "disk.rename", "disk.unlink",
)  # fmt: skip
WORKERS = ("channel.send.before:3", "channel.send.after:2", "channel.receive.before:3", "channel.receive.after:1",
           "channel.receive.after:4")  # fmt: skip
OWNERS = sorted(points("owner.send", "owner.receive"))
# the point at which an owner is killed, what the asker is told, and whether the request was executed
REQUESTS = {
    "inbox.take.before": ("nothing was changed", False),
    "inbox.take.after": ("may have been done, or not", False),
    "inbox.answer.before": ("may have been done, or not", True),
    "inbox.answer.after": (None, True),
}
ASKERS = ("inbox.ask.before", "inbox.ask.after")
# the suite of blobs kills a process at each of these; see phyletic.testing.object_stores
OBJECTS = points("objects.part", "objects.manifest")


def test_every_failpoint_is_tried(killing):
    for each in killing.values():
        assert {point for point, _ in each.passed} == RUN
        if each.layout == "packed":
            assert {point for point, _ in each.places()} == RUN
    named = set()
    for path in Path(ph.__file__).parent.rglob("*.py"):
        named |= set(re.findall(r'^ +failpoint\("([^"]+)"\)', path.read_text(), re.MULTILINE))
        named |= points(*(f"disk.{step}" for step in re.findall(r'with _passing\("([^"]+)"\)', path.read_text())))
    assert named == RUN | {point.partition(":")[0] for point in WORKERS} | {*OWNERS, *REQUESTS, *ASKERS, *OBJECTS}


def check_visible(database, expected):
    """Check that nothing half-written is visible, even before a new owner cleans up."""
    root = database.with_suffix(".checkpoints")
    for path in root.iterdir() if root.exists() else ():
        if path.suffix == ".safetensors":
            load_file(path)  # raises if bytes are missing
        elif (path / "manifest.json").exists():
            check_folder(path, digest_of_file(path / "manifest.json"))
    with contextlib.suppress(NotFound):
        study = ph.Study("study", storage=database)
        assert all(fact in expected for fact in facts(study) if TrialState.COMPLETED in fact)


def check_resumed(study, layout, expected):
    """Resume a killed study; check that it ends like an uninterrupted one and leaves nothing unfinished."""
    study.run(TRAIN[layout], workers=0, verbose=0)
    assert facts(study) == expected
    with study:
        needed = {trial.number for member in study.owner.state.members.values() for trial in member.kept}
        needed |= {trial.number for trial in study.owner.state.best[:1]}
    known = {trial.checkpoint.id: trial.number for trial in study.trials() if trial.checkpoint}
    there = {path.name.partition(".")[0] for path in Path(study.checkpoints.location).iterdir()}
    assert {known[name] for name in there} == needed


@pytest.mark.parametrize("layout", TRAIN)
def test_a_study_killed_anywhere_and_resumed_ends_the_same(killing, layout):
    each = killing[layout]
    causes = {cause for _, cause in each.passed}
    assert causes >= {"create", "Ask", "Ask+Tell", "Fail", "Control", "Coordinator.begin", "Coordinator.end"}
    assert causes >= {"Checkpoints.delete", "Checkpoints.sync"}
    for point, nth in each.places():
        folder = each.kill(point, nth)
        check_visible(folder / "study.db", each.expected)
        check_resumed(make(folder / "study.db"), layout, each.expected)
        shutil.rmtree(folder)


# --- messages between an owner and its workers ------------------------------------------------------------------------

RUN_WITH_WORKERS = """
if __name__ == "__main__":
    import sys
    make(sys.argv[1]).run(TRAIN["packed"], workers=2, verbose=0)
"""


def killed_at(folder, point):
    """Run with two workers in a process in which, as in the workers, a failpoint kills; return its exit status."""
    folder.mkdir()
    program = folder / "program.py"
    program.write_text(STUDY + RUN_WITH_WORKERS)
    command = [sys.executable, str(program), str(folder / "study.db")]
    environment = {**os.environ, "PHYLETIC_FAILPOINT": point}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).returncode


@pytest.mark.parametrize("point", WORKERS)
def test_workers_killed_at_a_message_are_replaced_and_the_study_ends_the_same(quick, killing, point):
    # each worker counts its own messages, so the point kills the replacement workers too
    folder = quick / point
    ended = killed_at(folder, point)
    study = make(folder / "study.db")
    assert (study.logs / "worker-0.log").read_text().count("=== worker-0, pid") > 1
    # a worker that dies at the owner's first message never asks for a trial, and the run gives up
    assert (ended == 0) == (point != "channel.receive.after:1")
    check_resumed(study, "packed", killing["packed"].expected)
    # a trial lost with its worker counts as a loss, not as a failure; only trial 4 fails by itself
    assert {trial.number for trial in study.trials() if trial.failures} <= {4}
    assert sum(trial.losses for trial in study.trials()) > 0 or point == "channel.receive.after:1"


@pytest.mark.parametrize("point", OWNERS)
def test_an_owner_killed_at_a_message_is_replaced_and_the_study_ends_the_same(quick, killing, point):
    # the owner sends each worker one more message than it receives: the first says what to do
    for nth in range(1, 16) if WHOLE else ((1, 9) if point.endswith("after") else (4,)):
        folder = quick / f"{point}:{nth}"
        assert killed_at(folder, f"{point}:{nth}") == -signal.SIGKILL
        study = make(folder / "study.db")
        check_resumed(study, "packed", killing["packed"].expected)
        assert {trial.losses for trial in study.trials()} == {0}


# --- requests from other processes ------------------------------------------------------------------------------------

ASK = """
import pathlib, sys
from phyletic.coordinator.inbox import Inbox
from phyletic.coordinator.messages import Control
Inbox(pathlib.Path(sys.argv[1]), sys.argv[2]).ask(Control(paused=True), 60.0)
"""
RUN_HERE = """
import sys
make(sys.argv[1]).run(TRAIN["packed"], workers=0, verbose=0)
"""


@pytest.mark.parametrize("point", REQUESTS)
def test_after_an_owner_is_killed_at_a_request_the_asker_is_told_the_truth(quick, killing, point):
    said, paused = REQUESTS[point]
    database = quick / point / "study.db"
    study = make(database)
    now, answers = [0.0], []
    asker = Inbox(database.with_suffix(".inbox"), study.identity.uuid, clock=lambda: now[0])

    def ask():
        try:
            answers.append(asker.ask(Control(paused=True), 10.0))
        except StorageBusy as error:
            answers.append(str(error))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    ended = time.monotonic() + 30
    while not list(database.parent.glob("study.inbox/*.command")):
        assert time.monotonic() < ended
        time.sleep(0.01)
    command = [sys.executable, "-c", STUDY + RUN_HERE, str(database)]
    owner = subprocess.run(command, env={**os.environ, "PHYLETIC_FAILPOINT": point}, check=False, timeout=60)
    assert owner.returncode == -signal.SIGKILL
    for now[0] in (15.0, 25.0):
        thread.join(1.0)
    thread.join()
    assert answers == [Done()] if said is None else said in answers[0]
    assert study.control.paused is paused
    assert [event.kind for event in study.events()].count("control") == paused
    if paused:
        study.resume()
    assert list(database.with_suffix(".inbox").iterdir()) == []
    check_resumed(study, "packed", killing["packed"].expected)


@pytest.mark.parametrize("point", ASKERS)
def test_a_process_killed_while_asking_has_either_asked_or_not(quick, killing, point):
    database, asked = quick / point / "study.db", point == "inbox.ask.after"
    study = make(database)
    command = [sys.executable, "-c", ASK, str(database.with_suffix(".inbox")), study.identity.uuid]
    asker = subprocess.run(command, env={**os.environ, "PHYLETIC_FAILPOINT": point}, check=False)
    assert asker.returncode == -signal.SIGKILL
    with study:
        assert isinstance(study.ask(worker="w"), ph.Wait) is asked
        assert study.control.paused is asked
        study.resume()
    check_resumed(study, "packed", killing["packed"].expected)
