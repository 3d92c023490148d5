"""Other processes change a running study by leaving requests for its owner in the inbox."""

import errno
import itertools
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import msgspec
import pytest

import phyletic as ph
from phyletic import errors
from phyletic.coordinator.inbox import Inbox
from phyletic.coordinator.messages import Control, Done, Refused
from phyletic.failpoints import armed

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


def test_another_process_resizes_pauses_resumes_and_stops_a_running_study(running):
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
    assert not list(Path(study.checkpoints.location).with_suffix(".inbox").iterdir())


def test_a_budget_changed_by_another_process_ends_the_run(running):
    owner, study = running
    again = ph.Study("study", storage=study.database.path, budget=ph.Budget(trials=3))
    assert again.control.budget == ph.Budget(trials=3)
    assert owner.wait(20) == 0


def test_an_owner_that_does_not_answer_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("phyletic.coordinator.inbox._ANSWER_SECONDS", 0.2)
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


def test_a_stop_ends_only_the_run_of_its_own_study(tmp_path):
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


@pytest.mark.parametrize("workers", ["0", "2"])
def test_an_immediate_stop_from_another_process_releases_running_trials(tmp_path, workers):
    script = OWNER.replace("time.sleep(0.02)", "[time.sleep(0.02) for _ in iter(lambda: trial.should_stop, True)]")
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "a.db"), workers]
    owner = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert owner.stdout.readline() == "ready\n"
        study = ph.Study("study", storage=tmp_path / "a.db")
        while len(study.trials(states=[ph.TrialState.RUNNING])) < max(1, int(workers)):
            time.sleep(0.05)
        study.stop(now=True)
        said, _ = owner.communicate(timeout=20)
    finally:
        owner.kill()
        owner.wait()
    assert said == "ended\n"
    attempted = [trial for trial in study.trials() if trial.attempts]
    assert [(trial.state, trial.failures, trial.losses) for trial in attempted] == [
        (ph.TrialState.WAITING, 0, 0)
    ] * max(1, int(workers))


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Return a function that makes studies in one database; the owner checks its inbox at every decision."""
    monkeypatch.setattr("phyletic.coordinator.inbox._LOOK_SECONDS", 0.0)
    return lambda name: ph.Study(
        name, space={"lr": ph.Float(0, 1)}, metric="score", mode="max", seed=0, algorithm=ph.PBT(2, 1),
        storage=tmp_path / "a.db",
    )  # fmt: skip


def leave(study, content):
    """Leave a request, as a process that is killed while it waits for the answer."""
    folder = Path(study.checkpoints.location).with_suffix(".inbox")
    folder.mkdir(exist_ok=True)
    (folder / f"{study.identity.uuid}-0000000000000000.command").write_bytes(content)
    return folder


PAUSE = msgspec.json.encode(Control(paused=True))


def test_a_request_whose_sender_died_takes_effect_once(make):
    with make("study") as study:
        leave(study, PAUSE)
        assert isinstance(study.ask(), ph.Wait)
        study.resume()
        assert study.ask().number == 0


def test_a_request_affects_only_its_study(make):
    with make("one") as one, make("other") as other:
        leave(other, PAUSE)
        assert one.ask().number == 0
        one.close()
        assert isinstance(other.ask(), ph.Wait)
        assert (one.control.paused, other.control.paused) == (False, True)


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"type": "Ask", "session": "1"}', PAUSE[:-1]])
def test_a_file_that_is_not_a_request_is_refused_and_blocks_nothing(make, content):
    with make("study") as study:
        folder = leave(study, content)
        assert study.ask().number == 0
        (answer,) = folder.iterdir()
        refused = msgspec.json.decode(answer.read_bytes(), type=Refused)
        assert refused.error == "InvalidArgument"
        assert "holds no request" in refused.message


def test_an_owner_that_looks_at_any_moment_finds_a_whole_request_or_none(tmp_path):
    asker, owner = Inbox(tmp_path, "study"), Inbox(tmp_path, "study", clock=itertools.count().__next__)
    found = []

    def look(point):
        with armed(lambda point: None):
            for request, answer in owner.requests():
                found.append(request)
                answer(Done())

    with armed(look):
        assert asker.ask(Control(paused=True), 20.0) == Done()
    assert found == [Control(paused=True)]
    assert list(tmp_path.iterdir()) == []


def test_the_asker_learns_whether_its_request_was_withdrawn_or_taken(tmp_path):
    asker, owner = Inbox(tmp_path, "s"), Inbox(tmp_path, "s")
    with pytest.raises(errors.StorageBusy, match="nothing was changed"):
        asker.ask(Control(paused=True), 0.1)
    assert list(tmp_path.iterdir()) == []
    answers = []
    thread = threading.Thread(target=lambda: answers.append(asker.ask(Control(paused=True), 0.5)))
    thread.start()
    end = time.monotonic() + 30
    while not any(path.suffix == ".command" for path in tmp_path.iterdir()):
        assert time.monotonic() < end
    ((request, answer),) = owner.requests()
    time.sleep(0.6)  # the owner takes longer than the asker meant to wait
    answer(Done())
    thread.join()
    assert (request, answers) == (Control(paused=True), [Done()])
    assert list(tmp_path.iterdir()) == []


def test_a_request_taken_but_never_answered_may_have_been_executed(tmp_path):
    asker, owner = Inbox(tmp_path, "s"), Inbox(tmp_path, "s")
    raised = []

    def ask():
        try:
            asker.ask(Control(paused=True), 0.3)
        except errors.StorageBusy as error:
            raised.append(str(error))

    thread = threading.Thread(target=ask)
    thread.start()
    end = time.monotonic() + 30
    while not any(path.suffix == ".command" for path in tmp_path.iterdir()):
        assert time.monotonic() < end
    list(owner.requests())
    thread.join()
    assert "may have been done, or not" in raised[0]


def test_an_old_request_of_a_killed_process_is_deleted_and_not_executed(tmp_path):
    owner = Inbox(tmp_path, "s")
    left = {suffix: tmp_path / f"s-0{suffix}" for suffix in (".command", ".answer", ".writing")}
    for path in left.values():
        path.write_bytes(msgspec.json.encode(Control(paused=True)))
        os.utime(path, (time.time() - 1000,) * 2)
    other = tmp_path / "t-0.command"
    other.write_bytes(b"")
    os.utime(other, (0, 0))
    assert list(owner.requests()) == []
    assert list(tmp_path.iterdir()) == []


def code(trials):
    for trial in trials.attach(lambda trial: {"x": 0.0}):
        trial.report(score=float(trial["lr"]))


POINTS = ["disk.write.before", "disk.fsync.before", "disk.rename.before"]


@pytest.mark.parametrize("point", POINTS)
def test_a_full_disk_at_the_answer_to_a_request_does_not_stop_training(make, point):
    study = make("study")
    study.set_budget(ph.Budget(trials=6))
    folder = leave(study, msgspec.json.encode(Control(population=3)))
    failed = []

    def fail(name):
        if name == point and not failed:
            failed.append(name)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with armed(fail):
        study.run(code, workers=0, verbose=0)
    assert failed
    assert study.finished
    assert study.control.population == 3
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("point", POINTS)
def test_a_request_that_cannot_be_written_is_an_error_for_the_asker(tmp_path, point):
    def fail(name):
        if name == point:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with armed(fail), pytest.raises(errors.StorageError, match=r"cannot be left in .*No space left"):
        Inbox(tmp_path / "inbox", "s").ask(Control(paused=True), 0.1)
    assert list((tmp_path / "inbox").iterdir()) == []


def test_a_request_that_the_owner_may_not_read_blocks_nothing(make):
    """A folder stands for a file of another user, since root may read every file."""
    with make("study") as study:
        folder = leave(study, PAUSE)
        (folder / f"{study.identity.uuid}-.command").mkdir()
        (folder / f"{study.identity.uuid}-1111111111111111.command").mkdir()
        assert isinstance(study.ask(), ph.Wait)
        assert study.control.paused


def test_an_inbox_that_is_not_a_folder_blocks_nothing(make):
    with make("study") as study:
        Path(study.checkpoints.location).with_suffix(".inbox").write_text("a file")
        assert study.ask().number == 0


def test_a_request_to_the_owner_of_another_study_fails_at_once(tmp_path):
    """Only one process owns a storage; while it runs one study, it does not answer for the others."""
    settings = {"metric": "score", "mode": "max", "algorithm": ph.PBT(2, 1), "storage": tmp_path / "a.db"}
    ph.Study("other", space={"lr": ph.Float(0, 1)}, **settings).close()
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(OWNER), str(tmp_path / "a.db"), "0"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert owner.stdout.readline() == "ready\n"
        study = ph.Study("study", storage=tmp_path / "a.db")
        while not study.trials():
            time.sleep(0.05)
        with pytest.raises(errors.StorageOwned, match="runs another study"):
            ph.Study("other", storage=tmp_path / "a.db").resize(3)
    finally:
        owner.kill()
        owner.wait()


RESIZED = """
import pathlib, sys, time
import phyletic as ph

folder, workers, synchronous, held = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "True", sys.argv[4]

def train(trials):
    for trial in trials.attach(lambda trial: {"x": 0.0}):
        time.sleep(0.02)
        while held == f"{trial.member} {trial.generation}" and not (folder / "go").exists():
            trial.should_stop
            time.sleep(0.01)
        trial.report(score=float(trial["lr"]))

study = ph.Study("study", space={"lr": ph.Float(0, 1)}, metric="score", mode="max", seed=0,
                 algorithm=ph.PBT(3, 1, synchronous=synchronous), budget=ph.Budget(seconds=300),
                 storage=folder / "a.db")
print("ready", flush=True)
study.run(train, workers=workers, verbose=0)
"""


@pytest.fixture
def elsewhere(tmp_path):
    """Return a function that starts an owner of a study with three members and returns the study as seen from here."""
    owners = []

    def start(workers, synchronous, held="nobody"):
        command = [sys.executable, "-c", RESIZED, str(tmp_path), str(workers), str(synchronous), held]
        owners.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert owners[-1].stdout.readline() == "ready\n"
        return owners[-1], ph.Study("study", storage=tmp_path / "a.db")

    yield start
    for owner in owners:
        owner.kill()
        owner.wait()


def until(held):
    deadline = time.monotonic() + 40
    while not held():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def completed(study, *members):
    """Return the numbers of completed trials by member."""
    trials = study.trials(states=[ph.TrialState.COMPLETED])
    return [[trial.number for trial in trials if trial.member == member] for member in members]


@pytest.mark.parametrize(("synchronous", "workers"), [(False, 2), (True, 0), (True, 2)])
def test_another_process_shrinks_grows_pauses_and_stops_a_running_study(elsewhere, synchronous, workers):
    owner, study = elsewhere(workers, synchronous)
    until(lambda: all(len(numbers) > 1 for numbers in completed(study, 0, 1, 2)))
    study.resize(1)
    assert study.control.population == 1
    known = len(study.trials())
    until(lambda: len([number for number in completed(study, 0)[0] if number >= known]) > 3)
    later = [trial for trial in study.trials() if trial.number >= known]
    assert {trial.member for trial in later} == {0}
    # trials that ran when the study shrank end by themselves, and the removed members get no others
    until(lambda: not [trial for trial in study.trials() if trial.state.open and trial.member > 0])
    study.resize(2)
    until(lambda: any(number >= known for number in completed(study, 1)[0]))
    back = next(trial for trial in study.trials() if trial.member == 1 and trial.number >= known)
    assert back.decision.kind == "rescue"
    study.pause()
    until(lambda: not study.trials(states=[ph.TrialState.RUNNING]))
    paused = completed(study, 0, 1)
    time.sleep(0.6)
    assert not study.trials(states=[ph.TrialState.RUNNING])
    assert completed(study, 0, 1) == paused
    study.resume()
    until(lambda: all(len(now) > len(then) for now, then in zip(completed(study, 0, 1), paused, strict=True)))
    study.stop()
    assert owner.wait(40) == 0
    assert [event.payload for event in study.events() if event.kind == "control"] == [
        {"population": 1},
        {"population": 2},
        {"paused": True},
        {"paused": False},
    ]
    assert all((trial.failures, trial.losses) == (0, 0) for trial in study.trials())
    assert all(member < 2 for member in (trial.member for trial in study.trials() if trial.number >= known))


def test_removing_the_member_that_a_generation_waits_for_ends_the_generation(elsewhere, tmp_path):
    owner, study = elsewhere(2, True, held="2 1")
    until(lambda: [len(numbers) for numbers in completed(study, 0, 1, 2)] == [2, 2, 1])
    time.sleep(0.6)  # the other members wait for it
    assert len(study.trials()) == 6
    study.resize(2)
    until(lambda: all(len(numbers) > 4 for numbers in completed(study, 0, 1)))
    (straggler,) = [trial for trial in study.trials() if trial.member == 2 and trial.generation == 1]
    assert straggler.state is ph.TrialState.RUNNING
    (tmp_path / "go").touch()
    until(lambda: study.trial(straggler.number).state is ph.TrialState.COMPLETED)
    study.stop()
    assert owner.wait(40) == 0
    assert [trial.generation for trial in study.trials() if trial.member == 2] == [0, 1]


def test_another_process_removes_waiting_members_from_a_generation(elsewhere, tmp_path):
    """With no workers, the owner checks its inbox from the running trial."""
    owner, study = elsewhere(0, True, held="0 1")
    until(lambda: study.trials(states=[ph.TrialState.RUNNING]) and len(study.trials()) == 6)
    until(lambda: study.trial(3).state is ph.TrialState.RUNNING)
    study.resize(1)
    assert [trial.state for trial in study.trials()[3:]] == [ph.TrialState.RUNNING, *[ph.TrialState.FAILED] * 2]
    (tmp_path / "go").touch()
    until(lambda: len(completed(study, 0)[0]) > 4)
    study.stop()
    assert owner.wait(40) == 0
    assert completed(study, 1, 2) == [[1], [2]]
    assert all((trial.failures, trial.losses) == (0, 0) for trial in study.trials())
