"""A study of a server is the same class, with all that it gives on a file."""

import os
import socket
import threading
import time

import pytest

pytest.importorskip("grpc")

import phyletic as ph
from phyletic.credentials import note_server
from phyletic.errors import (
    InvalidArgument,
    LeaseLost,
    NotFound,
    PhyleticError,
    StudyMismatch,
    TellConflict,
    Unreachable,
)
from phyletic.evolution.stateless import MemberSuggestion
from phyletic.private_files import write_private
from phyletic.remote.connections import connection_to
from phyletic.remote.grpc_connection import SERVICE
from phyletic.remote.remote_owner import RemoteOwner
from phyletic.remote.v1 import phyletic_v1_pb2 as pb
from phyletic.remote.wire import from_message, put_values, to_message
from phyletic.service.server import serving
from phyletic.study.study import Study
from phyletic.testing.example import example_study, facts, reference
from phyletic.testing.training import drawing


@pytest.fixture
def server(tmp_path):
    with serving(f"sqlite:///{tmp_path}/study.db") as server:
        yield server


def test_all_that_is_read_is_what_the_file_holds(server, tmp_path):
    remote = example_study(server.url)
    drawing()(remote)
    remote.pin(remote.best)
    local = ph.Study("study", storage=tmp_path / "study.db")
    assert facts(remote) == facts(local) == reference()
    assert remote.best == local.best
    assert remote.best_member == local.best_member
    assert remote.lineage() == local.lineage()
    assert remote.schedule() == local.schedule()
    assert remote.events() == local.events()
    assert remote.errors == local.errors
    assert remote.reports() == local.reports()
    assert remote.changes() == local.changes()
    assert remote.evaluations(7) == local.evaluations(7)
    assert remote.population_at(12) == local.population_at(12)
    assert remote.trials_dataframe().equals(local.trials_dataframe())
    assert remote.control == local.control
    here, there = remote.status(), local.status()
    assert (here.trials, here.best, here.member_steps, here.state) == (there.trials, there.best, 40, "finished")
    assert remote.restore().keys() == {"weights"}
    assert remote.identity == local.identity
    assert remote.finished


def test_a_copy_takes_a_long_history_in_pages(server, monkeypatch):
    study = example_study(server.url)
    drawing()(study)
    monkeypatch.setattr("phyletic.service.hosted_studies.MOST_TRIALS", 3)
    again = Study("study", storage=server.url)
    pages = []
    rows = again.database._connection.rows
    monkeypatch.setattr(again.database._connection, "rows", lambda *a, **k: pages.append(k) or rows(*a, **k))
    assert facts(again) == facts(study)
    assert len(pages) > 7
    assert again.changes() == study.changes()


def test_a_study_is_opened_by_its_name_and_another_identity_is_named(server):
    example_study(server.url)
    again = Study("study", storage=server.url)
    assert again.control.budget.steps == 8
    with pytest.raises(StudyMismatch, match="metric"):
        example_study(server.url, metric="loss")
    with pytest.raises(NotFound, match="no study 'other'"):
        Study("other", storage=server.url)
    example_study(server.url, steps=80)
    assert again.control.budget.steps == 80


def test_two_clients_that_create_the_same_study_share_it(server):
    made, errors = [], []

    def create():
        try:
            made.append(example_study(server.url, seed=None))
        except PhyleticError as error:
            errors.append(error)

    threads = [threading.Thread(target=create) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len({study.identity.uuid for study in made}) == 1


def mine(hyperparameters, rng):
    return hyperparameters


def test_what_cannot_cross_the_wire_is_refused_before_anything_is_written(server, tmp_path):
    with pytest.raises(InvalidArgument, match="start the server with --allow MODULE:mine"):
        example_study(server.url, algorithm=ph.PBT(2, 5, explore=mine))
    (tmp_path / "file").mkdir()
    with pytest.raises(InvalidArgument, match="warm_start"):
        example_study(server.url, warm_start=tmp_path / "file")
    assert ph.studies(server.url) == []


def test_ask_and_tell(server):
    study = example_study(server.url)
    first, second = study.ask(), study.ask("named")
    assert first.number != second.number
    assert study.ask("named").number == second.number
    told = study.tell(first, score=1.0)
    assert study.tell(first, score=1.0) == told
    with pytest.raises(TellConflict):
        study.tell(first, score=2.0)
    assert study.heartbeat(second, step=1)
    assert study.fail(second, "by bad luck").failures == 1
    with pytest.raises(LeaseLost):
        study.tell(second, score=1.0)
    assert study.errors[0].error == "by bad luck"
    assert [one.number for one in study.ask(count=2)] == [second.number, 2]
    study.close()
    assert study.trial(2).state == "waiting"


def test_control(server):
    study, other = example_study(server.url), Study("study", storage=server.url)
    with pytest.raises(NotFound, match="no run to stop"):
        study.stop()
    study.pause()
    assert other.control.paused
    assert isinstance(other.ask(), ph.Wait)
    study.resume()
    study.resize(3)
    study.set_budget(ph.Budget(trials=7))
    study.enqueue({"lr": 0.05})
    assert (other.control.population, other.control.budget, other.control.paused) == (3, ph.Budget(trials=7), False)
    assert len(other.control.enqueued) == 1
    with pytest.raises(InvalidArgument, match="population"):
        study.resize(0)
    with pytest.raises(NotFound, match="no trial 99"):
        study.pin(99)


def test_stop_ends_the_runs_of_all_workers(server):
    study = example_study(server.url, steps=10_000)
    ended = []

    def run():
        ended.append(Study("study", storage=server.url).run(drawing(lambda trial: time.sleep(0.02)), verbose=0))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    while len(study.trials()) < 12:
        time.sleep(0.02)
    study.stop()
    for thread in threads:
        thread.join(20)
    assert ended == ["stopped", "stopped"]
    assert not study.finished


def test_a_long_trial_keeps_its_lease(server):
    study = example_study(server.url, population=1)
    study.owner.keep_trying(lease_seconds=0.8)
    other = Study("study", storage=server.url)
    trial = study.ask()
    for _ in range(10):
        time.sleep(0.2)
        assert isinstance(other.ask(), ph.Wait)
    assert study.tell(trial, score=1.0).losses == 0


def test_a_study_object_that_is_dropped_gives_its_trials_back(server):
    study = example_study(server.url, population=1)
    assert study.ask().number == 0
    del study
    other = Study("study", storage=server.url)
    until = time.monotonic() + 10
    while not isinstance(trial := other.ask(), ph.LiveTrial):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert (trial.number, other.trial(0).losses) == (0, 0)


def test_a_server_that_is_not_there_is_named():
    with pytest.raises(Unreachable, match=r"grpc://127\.0\.0\.1:9"):
        Study("study", storage="grpc://127.0.0.1:9")
    with pytest.raises(Unreachable):
        ph.connect("grpc://127.0.0.1:9")


@pytest.mark.parametrize("url", ["grpc://", "grpc://host", "grpc://host:x", "grpc://host:0", "grpc://me:secret@host:1"])
def test_a_url_that_cannot_be_is_named_without_its_password(url):
    with pytest.raises(InvalidArgument, match="storage is") as refused:
        Study("study", storage=url)
    assert "secret" not in str(refused.value)


def test_connect_lists_administers_and_watches(server):
    one, _ = example_study(server.url), example_study(server.url, name="other")
    connected = ph.connect(server.url)
    assert connected.version == ph.__version__
    assert [study.name for study in connected] == ["study", "other"]
    connected.study("other").pause()
    assert [study.control.paused for study in connected] == [False, True]
    watching = connected.watch("study")
    one.tell(one.ask(), score=1.0)
    seen = []
    for change in watching:
        seen.append(change)
        if change.kind == "completed":
            break
    watching.close()
    assert seen[-1].trial.score == 1.0
    assert [change for change in one.changes() if change.sequence <= seen[-1].sequence][: len(seen)] == seen
    later = connected.watch("study", since=seen[-1].sequence)
    one.tell(one.ask(), score=2.0)
    assert next(change for change in later if change.kind == "completed").trial.score == 2.0
    later.close()


def test_suggest_and_early_stop_are_functions_of_their_request(server):
    study = example_study(server.url)
    identity = to_message(study.identity, pb.StudyIdentity)
    definition = pb.StudyDefinition(
        space=identity.space, metric="score", mode="max", algorithm=identity.algorithm, steps=8
    )
    known = [
        {"number": n, "member": n, "hyperparameters": {"lr": 0.01, "width": 2}, "end_step": 2, "score": float(n)}
        for n in range(5)
    ]
    request = pb.SuggestRequest(study=definition, k=5, seed=3)
    for trial in known:
        put_values(trial, request.trials.add().entries)
    call = connection_to(server.url)._call
    assert "Suggest" in SERVICE.methods_by_name
    found = [from_message(one, MemberSuggestion) for one in call("Suggest", request).suggestions]
    given = {"space": study.space, "metric": "score", "mode": "max", "algorithm": study.algorithm, "steps": 8}
    assert found == ph.suggest(given, known, k=5, seed=3)
    assert list(call("EarlyStop", pb.EarlyStopRequest(study=definition, trials=request.trials)).trials) == []
    foreign = pb.StudyDefinition(space=identity.space, metric="score", mode="max", algorithm=pb.Algorithm(type="os:x"))
    with pytest.raises(InvalidArgument, match="os:x"):
        call("Suggest", pb.SuggestRequest(study=foreign, k=1))


def test_the_owner_of_a_remote_study_is_the_server(server):
    study = example_study(server.url)
    assert isinstance(study.owner, RemoteOwner)
    with pytest.raises(PhyleticError, match="owns its studies"):
        study.database.own()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_commands_are_run_by_workers_of_a_server(server, tmp_path):
    study = example_study(server.url, population=2)
    script = tmp_path / "train.sh"
    script.write_text('report=$1; echo "{\\"score\\": $2}" >> "$report"; echo $2 > "$3/model"\n')
    study.run(command=["sh", str(script), "{report}", "{lr}", "{save_to}", "{width}"], workers=2, verbose=0)
    assert study.finished
    assert all(trial.score == trial.hyperparameters["lr"] for trial in study.trials())


def test_a_watch_goes_on_after_its_deadline(server, monkeypatch):
    study = example_study(server.url)
    monkeypatch.setattr("phyletic.remote.grpc_connection._WATCH_SECONDS", 0.3)
    seen = []
    watching = ph.connect(server.url).watch("study")
    for score in range(3):
        study.tell(study.ask(), score=float(score))
        while not any(change.kind == "completed" and change.trial.score == score for change in seen):
            seen.append(next(watching))
        time.sleep(0.5)
    watching.close()

    def facts_of(changes):
        return [(change.sequence, change.kind, change.trial and change.trial.number) for change in changes]

    assert facts_of(seen) == facts_of(study.changes())[: len(seen)], "each change comes once"


def test_a_server_that_has_just_begun_to_listen_may_leave_its_note_late(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    token = tmp_path / "token"
    write_private(token, b"phyletic_0123456789abcdef_secret")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        late = threading.Timer(0.4, note_server, ([port], token))
        late.start()
        assert connection_to(f"http://127.0.0.1:{port}").http_url() == f"http://127.0.0.1:{port}"
        late.join()


def test_a_study_of_a_server_is_deleted_on_its_machine(server):
    example_study(server.url)
    with pytest.raises(InvalidArgument, match="on its machine, while the server does not run"):
        ph.delete_study("study", server.url)
