"""A server takes so many sessions of workers at once, over all its studies, and no more."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("grpc")
pytest.importorskip("starlette")
pytest.importorskip("httpx")

import httpx

from phyletic.coordinator.messages import Ask, Done, Granted, Join, Leave, Refused, Tell, Wait
from phyletic.errors import LimitExceeded
from phyletic.records import Evaluation
from phyletic.remote.connections import connection_to
from phyletic.service.server import Server, serving
from phyletic.study.study import Study
from phyletic.testing.example import example_study

MOST = 3


@pytest.fixture
def served(tmp_path: Path) -> Callable[[], AbstractContextManager[Server]]:
    """Return what serves one database, again and again."""
    return lambda: serving(f"sqlite:///{tmp_path}/study.db", http_port=0, most_sessions=MOST)


@pytest.fixture
def server(served: Callable[[], AbstractContextManager[Server]]) -> Iterator[Server]:
    with served() as running:
        for name in ("a", "b"):
            example_study(running.url, name=name)
        yield running


def session(number: int) -> str:
    return f"{number:032x}"


def exchange(server: Server, study: str, *commands: Any) -> Any:
    """Have commands decided; return the last reply."""
    return connection_to(server.url).exchange(study, commands)[-1]


def ask(server: Server, study: str, number: int, lease_seconds: float = 60.0) -> Any:
    """Ask for a trial, as the session of that number."""
    join = Join(session=session(number), worker=f"w{number}", lease_seconds=lease_seconds)
    return exchange(server, study, join, Ask(session=session(number)))


def told(granted: Granted) -> Tell:
    grant = granted.first
    assert grant.trial.steps is not None
    end = grant.trial.start_step + grant.trial.steps
    return Tell(lease=grant.lease, evaluations=(Evaluation(end, "score", 0.5),), steps_done=grant.trial.steps)


def is_full(reply: Any) -> bool:
    """Whether a session was refused because there are too many."""
    if isinstance(reply, Refused):
        assert isinstance(reply.exception(), LimitExceeded)
        assert "--max-sessions" in reply.message
        return True
    assert isinstance(reply, (Granted, Wait))
    return False


def test_the_sessions_of_all_studies_count_and_the_next_is_refused(server: Server) -> None:
    first, second, third = ask(server, "a", 1), ask(server, "a", 2), ask(server, "b", 3)
    assert all(isinstance(reply, Granted) for reply in (first, second, third))
    for study in ("a", "b"):
        assert is_full(ask(server, study, 4))
    # those that joined go on: they tell, ask and renew
    done = exchange(server, "a", told(first))
    assert isinstance(done, Done)
    assert isinstance(ask(server, "a", 1), Granted)
    assert isinstance(exchange(server, "b", Join(session=session(3), worker="w3", lease_seconds=60.0)), Done)
    assert is_full(ask(server, "b", 4))


def test_one_that_leaves_makes_room_in_any_study(server: Server) -> None:
    for study, number in (("a", 1), ("a", 2), ("b", 3)):
        ask(server, study, number)
    for leaving, study, number in ((("a", 1), "b", 4), (("b", 3), "a", 5), (("b", 4), "b", 6)):
        assert is_full(ask(server, study, number))
        exchange(server, leaving[0], Leave(session=session(leaving[1]), lost=False))
        assert not is_full(ask(server, study, number))
    assert is_full(ask(server, "a", 7))


def test_a_refused_session_has_changed_nothing(server: Server) -> None:
    for number in (1, 2, 3):
        ask(server, "a", number)
    connection = connection_to(server.url)
    before = connection.rows("b", -1)
    assert is_full(ask(server, "b", 4))
    after = connection.rows("b", -1)
    assert (after.sessions, after.trials) == (before.sessions, before.trials) == ((), ())


def test_clients_get_the_typed_error_and_others_train_on(server: Server) -> None:
    for number in (1, 2):
        ask(server, "b", number)
    study = Study("a", storage=server.url)
    trial = study.ask("one")
    for late in (lambda: study.ask("two"), lambda: Study("b", storage=server.url).ask("three")):
        with pytest.raises(LimitExceeded, match="no more sessions of workers"):
            late()
    assert study.tell(trial, score=1.0).score == 1.0
    headers = {"authorization": f"Bearer {server.token_file.read_text().strip()}"}
    answer = httpx.post(f"{server.http_url}/v1/studies/b/ask", content=json.dumps({"worker": "w"}), headers=headers)
    assert answer.json()["error"] == "LimitExceeded"
    assert answer.status_code == 413
    study.ask("one")
    study.close()
    assert not is_full(ask(server, "b", 3))


def test_of_those_that_come_at_the_same_moment_no_more_get_in(server: Server) -> None:
    for around in range(15):
        numbers = [10 * around + place + 1 for place in range(8)]
        ready, replies = threading.Barrier(len(numbers)), dict[int, Any]()

        def come(number: int, ready: threading.Barrier = ready, replies: dict[int, Any] = replies) -> None:
            ready.wait()
            replies[number] = ask(server, "ab"[number % 2], number)

        threads = [threading.Thread(target=come, args=(number,)) for number in numbers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        joined = [number for number, reply in replies.items() if not is_full(reply)]
        assert len(joined) == MOST
        for number in joined:
            exchange(server, "ab"[number % 2], Leave(session=session(number), lost=False))


def test_after_a_restart_the_sessions_that_are_stored_count(
    served: Callable[[], AbstractContextManager[Server]],
) -> None:
    with served() as first:
        for name in ("a", "b"):
            example_study(first.url, name=name)
        for number in (1, 2, 3):
            ask(first, "a", number)
    with served() as second:
        assert is_full(ask(second, "a", 4))
        for number in (1, 2, 3):
            assert isinstance(ask(second, "a", number), Granted)
        assert is_full(ask(second, "b", 5))


def test_workers_that_died_hold_no_room_longer_than_their_leases(server: Server) -> None:
    """Check it where nobody asks in their study any more, which would notice."""
    for number in (1, 2, 3):
        ask(server, "a", number, lease_seconds=1.0)
    assert is_full(ask(server, "b", 4))
    until = time.monotonic() + 10
    while is_full(ask(server, "b", 4)):
        assert time.monotonic() < until
        time.sleep(0.1)
    # one whose lease has passed unnoticed is still welcome
    assert isinstance(ask(server, "a", 1), Granted)
