"""While a server's disk is full it grants nothing and says why, it can be read, and then it goes on."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import resource
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("grpc")
pytest.importorskip("starlette")
pytest.importorskip("httpx")

import grpc
import httpx

from phyletic.coordinator.messages import Ask, Done, Granted, Join, Tell
from phyletic.errors import Unreachable
from phyletic.failpoints import armed
from phyletic.records import Evaluation
from phyletic.remote.connections import connection_to
from phyletic.remote.grpc_connection import REFUSED, SERVICE, TOKEN
from phyletic.remote.v1 import phyletic_v1_pb2 as pb
from phyletic.remote.wire import command_to_message
from phyletic.service.server import Server, serving
from phyletic.study.study import Study
from phyletic.testing.example import example_study, facts, reference
from phyletic.testing.training import drawing

SESSION = "a" * 32
ASKING = [Join(session=SESSION, worker="w"), Ask(session=SESSION)]
SERVERS_THREADS = ("deciding for", "phyletic service", "asyncio", "AnyIO")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(f"sqlite:///{tmp_path}/study.db", http_port=0) as running:
        yield running


@contextlib.contextmanager
def full_database(code: str = "SQLITE_FULL", text: str = "database or disk is full") -> Iterator[None]:
    """Make every write of the server's threads fail as SQLite fails; the client is in this process too."""

    def full(name: str) -> None:
        if not threading.current_thread().name.startswith(SERVERS_THREADS):
            return
        if name == "storage.commit.before":
            error = sqlite3.OperationalError(text)
            error.sqlite_errorname = code  # type: ignore[misc]
            raise error
        if name == "disk.write.before":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with armed(full):
        yield


@contextlib.contextmanager
def refusing_system() -> Iterator[None]:
    """Make the system itself refuse this process to write anything into a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


FULL = {"database": full_database, "system": refusing_system}


def get(server: Server, path: str) -> httpx.Response:
    headers = {"authorization": f"Bearer {server.token_file.read_text().strip()}"}
    return httpx.get(f"{server.http_url}{path}", headers=headers, timeout=20)


def ready(server: Server) -> tuple[int, str]:
    """Return what a stranger is told at /readyz."""
    answer = httpx.get(f"{server.http_url}/readyz", timeout=20)
    document = answer.json()
    assert document["ready"] == (answer.status_code == 200)
    return answer.status_code, document["reason"]


def wait_until_ready(server: Server) -> None:
    until = time.monotonic() + 10
    while ready(server) != (200, ""):
        assert time.monotonic() < until, ready(server)
        time.sleep(0.05)


def status_of(server: Server, call: str, request: Any) -> tuple[str, str]:
    """Return the status and the typed error with which a call ends."""
    metadata = [(TOKEN, f"Bearer {server.token_file.read_text().strip()}")]
    with grpc.insecure_channel(server.url.removeprefix("grpc://")) as channel:
        method = channel.unary_unary(f"/{SERVICE.full_name}/{call}")
        with pytest.raises(grpc.RpcError) as raised:
            method(request.SerializeToString(), timeout=20, metadata=metadata)
    refused = pb.Refused.FromString(dict(raised.value.trailing_metadata())[REFUSED])
    return raised.value.code().name, refused.error


@pytest.mark.parametrize("kind", FULL)
def test_it_is_not_ready_says_why_and_is_again_without_a_word_from_anybody(server: Server, kind: str) -> None:
    example_study(server.url)
    connection = connection_to(server.url)
    assert ready(server) == (200, "")
    with FULL[kind]():
        with pytest.raises(Unreachable):
            connection.exchange("study", ASKING)
        for _ in range(15):  # longer than the server looks by itself
            status, reason = ready(server)
            assert status == 503
            assert "disk" in reason
            # strangers read this
            assert "study" not in reason
            assert str(server.token_file.parent) not in reason
            time.sleep(0.1)
        assert "phyletic_ready 0" in get(server, "/metrics").text
    wait_until_ready(server)
    assert "phyletic_ready 1" in get(server, "/metrics").text
    assert isinstance(connection.exchange("study", ASKING)[-1], Granted)
    assert sorted(path.name for path in server.token_file.parent.iterdir() if "writable" in path.name) == []


@pytest.mark.parametrize("kind", FULL)
def test_what_changes_something_gets_a_status_that_says_to_try_again(server: Server, kind: str) -> None:
    example_study(server.url)
    connection = connection_to(server.url)
    lease = connection.exchange("study", ASKING)[-1].first.lease
    tell = Tell(lease=lease, evaluations=(Evaluation(2, "score", 0.5),), steps_done=2)
    other = "b" * 32
    exchange = pb.ExchangeRequest(study="study")
    exchange.commands.extend([command_to_message(one) for one in (Join(session=other, worker="v"), Ask(session=other))])
    control = pb.ControlRequest(study="study", command=pb.Command(control=pb.Control(keep_best=3)))
    token = server.token_file.read_text().strip()
    with FULL[kind]():
        assert status_of(server, "Exchange", exchange) == ("UNAVAILABLE", "StorageBusy")
        assert status_of(server, "Control", control) == ("UNAVAILABLE", "StorageBusy")
        with pytest.raises(Unreachable, match="disk"):
            connection.exchange("study", [tell])
        answer = httpx.post(
            f"{server.http_url}/v1/studies/study/ask",
            content=json.dumps({"worker": "w2"}),
            headers={"authorization": f"Bearer {token}"},
            timeout=20,
        )
        assert (answer.status_code, answer.json()["error"], answer.headers["Retry-After"]) == (503, "StorageBusy", "1")
    # none of it has had an effect, and all of it may be said again
    rows = connection.rows("study", -1)
    assert [one.session for one in rows.sessions] == [SESSION]
    assert rows.study.control.keep_best == 1
    assert isinstance(connection.exchange("study", [tell])[-1], Done)


def test_a_database_that_cannot_be_written_for_another_reason_is_tried_again_too(server: Server) -> None:
    """A file system that became read-only, say: training goes on, and results wait."""
    example_study(server.url)
    with full_database("SQLITE_READONLY", "attempt to write a readonly database of study 'study'"):
        exchange = pb.ExchangeRequest(study="study", commands=[command_to_message(one) for one in ASKING])
        assert status_of(server, "Exchange", exchange) == ("UNAVAILABLE", "StorageError")
        status, reason = ready(server)
        assert status == 503
        assert "the server's log says why" in reason
    wait_until_ready(server)


@pytest.mark.parametrize("kind", FULL)
def test_all_can_be_read_meanwhile(server: Server, kind: str) -> None:
    study = example_study(server.url, steps=4)
    drawing()(study)
    connection = connection_to(server.url)
    reference_of = study.trials()[-1].checkpoint
    assert reference_of is not None
    paths = [
        "/v1/studies", "/v1/studies/study", "/v1/studies/study/trials", "/v1/studies/study/rows", "/metrics",
        f"/v1/studies/study/checkpoints/{reference_of.id}",
    ]  # fmt: skip
    before = {path: get(server, path) for path in paths}
    with FULL[kind]():
        with pytest.raises(Unreachable):
            connection.exchange("study", ASKING)
        for path in paths:
            answer = get(server, path)
            assert answer.status_code == 200, (path, answer.text)
            assert path == "/metrics" or answer.content == before[path].content
        found = connection.study("study")
        assert found is not None
        assert found.stored.counters == connection.rows("study", -1).study.counters
        assert [identity.name for identity in connection.studies()] == ["study"]
        assert len(Study("study", storage=server.url).trials()) == 10
        assert next(iter(connection.watch("study"))).kind == "owner"
        assert ready(server)[0] == 503


@pytest.mark.parametrize("scheme", ["url", "http_url"])
def test_training_goes_on_where_it_was(server: Server, scheme: str, caplog: pytest.LogCaptureFixture) -> None:
    study = example_study(getattr(server, scheme))
    began, filled = threading.Event(), threading.Event()

    def pause(trial: Any) -> None:
        if trial.number == 7:
            began.set()
            assert filled.wait(20)

    training = threading.Thread(target=drawing(pause), args=(study,))
    with caplog.at_level(logging.INFO, logger="phyletic.service"):
        training.start()
        assert began.wait(20)
        with full_database():
            filled.set()
            until = time.monotonic() + 10
            while ready(server)[0] == 200:
                assert time.monotonic() < until
                time.sleep(0.02)
            time.sleep(1.2)  # it tries again some times
            assert training.is_alive()
        training.join(30)
    assert not training.is_alive()
    assert facts(study) == reference()
    assert all(trial.attempts == 1 for trial in study.trials())
    said = [entry.getMessage() for entry in caplog.records if "the database takes" in entry.getMessage()]
    assert len(said) == 2, said
    assert "database or disk is full" in said[0]
    assert said[1].endswith("takes writes again")
    wait_until_ready(server)


def test_a_held_ask_lasts_and_is_answered_once_there_is_room(server: Server) -> None:
    study = example_study(server.url, population=1)
    connection = connection_to(server.url)
    trial = study.ask("one")
    replies: list[Any] = []
    asking = threading.Thread(target=lambda: replies.append(connection.exchange("study", ASKING, hold=20.0)[-1]))
    asking.start()
    time.sleep(0.3)
    with full_database():
        until = time.monotonic() + 10
        # the server asks for it again, and so it notices
        while ready(server)[0] == 200:
            assert time.monotonic() < until
            time.sleep(0.05)
    study.tell(trial, score=1.0)
    asking.join(20)
    assert isinstance(replies[0], Granted)
    assert replies[0].first.trial.number == 1
