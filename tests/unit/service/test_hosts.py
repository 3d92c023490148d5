"""One thread decides for a study: commits are shared, asks are held, and one client's command harms no other's."""

import threading
import time

import pytest

pytest.importorskip("grpc")

import phyletic as ph
from phyletic.coordinator.messages import (
    Ask,
    Control,
    Done,
    Fail,
    Finished,
    Granted,
    Heartbeat,
    Join,
    Refused,
    Stop,
    Tell,
    Wait,
)
from phyletic.errors import StorageBusy, TrainingError
from phyletic.records import Evaluation
from phyletic.service.hosts import QueueFull, StudyHost
from phyletic.workers.attempt import PREEMPTED


def session(number):
    return f"{number:032x}"


def asking(number):
    return [Join(session=session(number), worker=f"w{number}", lease_seconds=60.0), Ask(session=session(number))]


def told(grant, score=1.0):
    end = grant.trial.start_step + grant.trial.steps
    return Tell(lease=grant.lease, evaluations=(Evaluation(end, "score", score),), steps_done=grant.trial.steps)


def granted(future):
    reply = future.result(10)[-1]
    assert isinstance(reply, Granted), reply
    return reply.first


@pytest.fixture
def study(tmp_path):
    return ph.Study(
        "hosted", space={"lr": ph.Float(1e-3, 1e-1)}, metric="score", mode="max", seed=0,
        algorithm=ph.PBT(2, 3, synchronous=True), budget=ph.Budget(steps=9), storage=tmp_path / "hosted.db",
    )  # fmt: skip


@pytest.fixture
def host(study):
    host = StudyHost(study)
    yield host
    host.close()


def test_an_ask_that_must_wait_is_answered_when_the_generation_ends(host):
    first, second = granted(host.submit(asking(1))), granted(host.submit(asking(2)))
    held = [host.submit(asking(number), 20.0) for number in (3, 4, 5)]
    host.submit([told(first)]).result(10)
    assert not any(future.done() for future in held)
    began = time.monotonic()
    host.submit([told(second)]).result(10)
    assert sorted(granted(future).trial.number for future in held[:2]) == [2, 3]
    assert time.monotonic() - began < 20.0, "they were held to the end"
    # the generation has two trials
    assert not held[2].done()


def test_a_held_ask_is_answered_when_its_time_is_over(host):
    granted(host.submit(asking(1)))
    granted(host.submit(asking(2)))
    began = time.monotonic()
    assert isinstance(host.submit(asking(3), 0.5).result(10)[-1], Wait)
    assert 0.4 < time.monotonic() - began < 5


def test_an_ask_that_is_not_held_is_answered_at_once(host):
    granted(host.submit(asking(1)))
    granted(host.submit(asking(2)))
    assert isinstance(host.submit(asking(3)).result(10)[-1], Wait)


def test_a_silent_lease_passes_while_nobody_says_anything(host):
    first = granted(host.submit([Join(session=session(1), worker="w", lease_seconds=1.0), *asking(1)[1:]]))
    granted(host.submit(asking(2)))
    time.sleep(1.5)
    # the server heard nothing, yet it did not sleep: the time counts
    again = granted(host.submit(asking(3)))
    assert (again.trial.number, again.trial.losses) == (first.trial.number, 1)


def test_a_held_ask_that_nobody_waits_for_gets_no_trial(host):
    first, second = granted(host.submit(asking(1))), granted(host.submit(asking(2)))
    gone, there = host.submit(asking(3), 20.0), host.submit(asking(4), 20.0)
    assert gone.cancel()
    host.submit([told(first), told(second)]).result(10)
    assert granted(there).trial.number == 2
    assert granted(host.submit(asking(5))).trial.number == 3


def test_thousands_of_held_asks_cost_a_few_asks_while_nothing_is_free(host):
    lease = granted(host.submit(asking(1))).lease
    granted(host.submit(asking(2)))
    held = [host.submit(asking(number), 20.0) for number in range(3, 1003)]
    assert isinstance(host.submit(asking(2000)).result(30)[-1], Wait)
    time.sleep(1.0)
    before = host.decided
    for _ in range(20):
        host.submit([Heartbeat(lease=lease)]).result(10)
        host.submit([Control(keep_best=2)]).result(10)
    assert host.decided - before < 20 * 2 + 20 * 2 * 16 + 200
    until = time.monotonic() + 5
    while host.held != len(held) and time.monotonic() < until:
        time.sleep(0.001)  # the thread asks again for a few
    assert host.held == len(held)


def test_what_has_arrived_shares_a_commit(host, study, monkeypatch):
    execute, go_on = study.owner.execute, threading.Event()
    batches = []

    def slow(commands):
        batches.append(len(commands))
        go_on.wait(10)
        return execute(commands)

    monkeypatch.setattr(study.owner, "execute", slow)
    first = host.submit(asking(1))
    while not batches:
        time.sleep(0.001)
    others = [host.submit(asking(number)) for number in range(2, 12)]
    go_on.set()
    assert {type(future.result(10)[-1]) for future in [first, *others]} == {Granted, Wait}
    assert batches[:2] == [2, 20]


def test_a_batch_that_is_refused_is_decided_again_one_by_one(host, study, monkeypatch):
    execute, begun = study.owner.execute, threading.Event()

    def poisoned(commands):
        begun.wait(10)
        if any(isinstance(command, Fail) for command in commands):
            raise TrainingError("by this command alone")
        return execute(commands)

    monkeypatch.setattr(study.owner, "execute", poisoned)
    blocking = host.submit(asking(1))
    time.sleep(0.05)
    good, bad = host.submit(asking(2)), host.submit([Fail(lease=None, error="x")])
    begun.set()
    assert granted(blocking).trial.number == 0
    assert granted(good).trial.number == 1
    (reply,) = bad.result(10)
    assert isinstance(reply, Refused)
    assert isinstance(reply.exception(), TrainingError)


def test_a_database_that_takes_nothing_says_so_until_it_does(host, study, monkeypatch):
    execute = study.owner.execute

    def full(commands):
        raise StorageBusy("the disk is full")

    monkeypatch.setattr(study.owner, "execute", full)
    for future in [host.submit(asking(number)) for number in (1, 2)]:
        with pytest.raises(StorageBusy, match="full"):
            future.result(10)
    assert "full" in host.refused
    monkeypatch.setattr(study.owner, "execute", execute)
    granted(host.submit(asking(1)))
    assert host.refused == ""


def test_beyond_its_bound_the_queue_says_to_come_later(study, monkeypatch):
    host = StudyHost(study, most_arrived=6)
    go_on, execute = threading.Event(), study.owner.execute
    monkeypatch.setattr(study.owner, "execute", lambda commands: go_on.wait(10) and execute(commands))
    first = host.submit(asking(1))
    time.sleep(0.1)
    queued = [host.submit(asking(number)) for number in (2, 3, 4)]
    with pytest.raises(QueueFull, match="come later"):
        host.submit(asking(5))
    go_on.set()
    for future in (first, *queued):
        future.result(10)
    host.close()


def test_a_stopped_run_gets_no_more_trials_and_a_new_one_does(host):
    grant = granted(host.submit(asking(1)))
    assert host.submit([Stop()]).result(10) == (Done(),)
    assert isinstance(host.submit([told(grant), *asking(1)]).result(10)[-1], Finished)
    other = granted(host.submit(asking(2)))
    assert host.submit([Heartbeat(lease=other.lease)]).result(10)[0].stop == ""
    host.submit([Stop(now=True)]).result(10)
    assert host.submit([Heartbeat(lease=other.lease)]).result(10)[0].stop == PREEMPTED


def test_what_was_lately_committed_is_at_hand_and_what_is_older_is_not(host, monkeypatch):
    monkeypatch.setattr("phyletic.service.hosts._MOST_RECENT", 8)
    before = host.study.changes()[-1].sequence if host.study.changes() else 0
    told_first = host.submit([told(granted(host.submit(asking(1))))]).result(10)
    assert isinstance(told_first[0], Done)
    stored = host.study.changes(since=before)
    assert [(one.sequence, one.kind) for one in host.changes_since(before)] == [
        (one.sequence, one.kind) for one in stored
    ]
    latest = stored[-1].sequence
    assert host.changes_since(latest) == []
    for best in (2, 3, 4, 5, 6, 7, 8, 9, 10):
        host.submit([Control(keep_best=best)]).result(10)
    assert host.changes_since(before) is None
    sequences = [one.sequence for one in host.changes_since(host.study.changes()[-3].sequence)]
    assert sequences == [one.sequence for one in host.study.changes()[-2:]]


def test_with_no_worker_there_is_nothing_to_stop(host):
    assert host.submit([Stop()]).result(10)[0].error == "NotFound"


def test_a_server_that_ends_grants_nothing_and_takes_results(study):
    host = StudyHost(study)
    first = granted(host.submit(asking(1)))
    granted(host.submit(asking(2)))
    held = host.submit(asking(3), 20.0)
    time.sleep(0.05)
    host.drain()
    assert isinstance(held.result(10)[-1], Wait)
    done, waiting = host.submit([told(first), Ask(session=session(1))]).result(10)
    assert done.trial.score == 1.0
    assert isinstance(waiting, Wait)
    host.close()
    with pytest.raises(QueueFull):
        host.submit(asking(4))
