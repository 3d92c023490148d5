"""The owner cleans or refuses bad messages from sessions and bad files in the inbox, and goes on."""

import os
import threading

import msgspec
import pytest

import phyletic as ph
from phyletic.coordinator.inbox import Inbox
from phyletic.coordinator.messages import Ask, Control, Done, Fail, Granted, Heartbeat, Join, Leave, Refused
from phyletic.records import Evaluation
from phyletic.records.event import ENDED_ATTEMPT

SESSION, OTHER = "1" * 32, "2" * 32
JOIN = Join(session=OTHER, worker="other")


@pytest.fixture
def study(tmp_path):
    study = ph.Study(
        "study", space={"lr": ph.Float(0, 1)}, metric="score", mode="max", seed=0, storage=tmp_path / "study.db",
        algorithm=ph.PBT(3, 5), budget=ph.Budget(steps=50), max_failures=5, max_losses=5,
    )  # fmt: skip
    yield study
    study.close()


def say_beside_others(study, command):
    """Send a command in one batch with another session's; check that the latter are answered; return its answer."""
    joined, reply, granted = study.owner.execute([JOIN, command, Ask(session=OTHER)])
    assert joined == Done()
    assert isinstance(granted, Granted)
    return reply


@pytest.mark.parametrize("word", ["fail", "leave"])
@pytest.mark.parametrize(
    ("error", "stored"),
    [("a\0b", "a\\x00b"), ("half \ud800 a pair", "half \\ud800 a pair"), ("x" * 10**7 + "end", "x" * 99_997 + "end")],
    ids=["NUL", "surrogate", "ten million characters"],
)
def test_error_text_is_stored_cleaned_and_cut_to_a_maximum_length(study, word, error, stored):
    grant = study.owner.execute([Ask(session=SESSION)])[0].first
    command = Fail(lease=grant.lease, error=error) if word == "fail" else Leave(session=SESSION, error=error)
    assert isinstance(say_beside_others(study, command), Done)
    study.close()
    reopened = ph.Study("study", storage=study.database.path)
    assert reopened.trial(grant.trial.number).error == stored
    ended = [event.payload["error"] for event in reopened.events() if event.kind == ENDED_ATTEMPT]
    assert ended[0] == stored


@pytest.mark.parametrize("worker", ["x" * 2**20, "", "a\0b", "\ud800"], ids=["1 MB", "none", "NUL", "surrogate"])
def test_a_bad_worker_name_is_refused(study, worker):
    reply = say_beside_others(study, Join(session=SESSION, worker=worker))
    assert isinstance(reply, Refused)
    assert (reply.error, reply.name) == ("InvalidArgument", "worker")
    assert len(reply.message) + len(reply.value) < 5000
    assert SESSION not in study.owner.state.workers


def test_a_heartbeat_of_200_000_values_is_refused_and_its_trial_goes_on(study):
    grant = study.owner.execute([Ask(session=SESSION)])[0].first
    reports = tuple(Evaluation(step, "score", 0.5, "progress") for step in range(200_000))
    reply = say_beside_others(study, Heartbeat(lease=grant.lease, evaluations=reports))
    assert isinstance(reply, Refused)
    assert (reply.error, reply.name) == ("InvalidArgument", "evaluations")
    assert grant.trial.number not in study.owner.state.progress
    said = Heartbeat(lease=grant.lease, step=1, evaluations=reports[:1])
    assert study.owner.execute([said]) == (Done(received=1),)


def in_time(function):
    """Call a function in a thread; fail if it has not returned after 20 seconds."""
    returned = []
    thread = threading.Thread(target=lambda: returned.append(function()), daemon=True)
    thread.start()
    thread.join(20)
    assert returned, "it blocks"
    return returned[0]


@pytest.mark.parametrize("kind", ["FIFO", "link to a FIFO", "folder", "link to nothing"])
def test_an_inbox_entry_that_is_not_a_regular_file_blocks_nothing(tmp_path, kind):
    inbox, odd = tmp_path / "inbox", tmp_path / "inbox" / "s-0000000000000000.command"
    inbox.mkdir()
    if kind == "folder":
        odd.mkdir()
    elif kind == "FIFO":
        os.mkfifo(odd)
    else:
        if kind == "link to a FIFO":
            os.mkfifo(tmp_path / "fifo")
        odd.symlink_to(tmp_path / "fifo")
    asked = Control(paused=True)
    (inbox / "s-1111111111111111.command").write_bytes(msgspec.json.encode(asked))
    assert [request for request, _ in in_time(lambda: list(Inbox(inbox, "s").requests()))] == [asked]


def test_an_owner_with_a_fifo_in_its_inbox_trains_to_the_end(study):
    study.set_budget(ph.Budget(trials=4))
    inbox = study.database.folder("inbox")
    inbox.mkdir(exist_ok=True)
    os.mkfifo(inbox / f"{study.identity.uuid}-0000000000000000.command")

    def train(trials):
        for trial in trials.attach(lambda trial: {"weights": [0.0]}):
            trial.report(score=trial["lr"])

    in_time(lambda: study.run(train, verbose=0))
    assert study.finished
