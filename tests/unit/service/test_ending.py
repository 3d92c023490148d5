"""A server that is told to end ends soon, and those who watch it or wait for it are told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("grpc")
pytest.importorskip("starlette")

import grpc

import phyletic as ph
from phyletic.coordinator.messages import Ask, Join, Wait
from phyletic.remote.connections import connection_to
from phyletic.service.server import GRACE_SECONDS, Server, serving
from phyletic.testing.example import example_study

ASKING = [Join(session="a" * 32, worker="w"), Ask(session="a" * 32)]


def health(server: Server) -> list[Any]:
    with grpc.insecure_channel(server.url.removeprefix("grpc://")) as channel:
        return list(channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=30))


def watch(url: str) -> list[Any]:
    return [change.kind for change in ph.connect(url).watch("study")]


LOOKING: dict[str, tuple[Callable[[Server], Any], Any]] = {
    "health": (health, [b"\x08\x01", b"\x08\x02"]),
    "watch over gRPC": (lambda server: watch(server.url)[0], "owner"),
    "watch over HTTP": (lambda server: watch(server.http_url)[0], "owner"),
    "held ask": (
        lambda server: connection_to(server.url).exchange("study", ASKING, hold=25.0)[-1],
        Wait("the server is stopping"),
    ),
}


@pytest.mark.parametrize("kind", LOOKING)
def test_nobody_who_looks_or_waits_holds_up_the_end(tmp_path: Path, kind: str) -> None:
    look, expected = LOOKING[kind]
    seen: list[Any] = []
    with serving(f"sqlite:///{tmp_path}/study.db", http_port=0) as server:
        example_study(server.url)
        others = [Join(session="b" * 32, worker="v"), Ask(session="b" * 32, slots=5)]
        assert len(connection_to(server.url).exchange("study", others)[-1].grants) == 5
        looking = threading.Thread(target=lambda: seen.append(look(server)))
        looking.start()
        time.sleep(0.5)
        ending = time.monotonic()
    assert time.monotonic() - ending < GRACE_SECONDS
    looking.join(10)
    assert seen == [expected]
