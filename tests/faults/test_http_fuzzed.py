"""Any path, query, header and body over HTTP gets an answer that says what is wrong, and nothing is written.

How to make more requests than the suite makes: see ``test_service_fuzzed.py``.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

pytest.importorskip("grpc")
pytest.importorskip("starlette")

from fuzzing import ROUNDS, Target, mutated, odd_document, printable

from phyletic.service.server import serving

OTHER, NEW = b"c" * 32, b"d" * 32
"""Sessions that the server does not have: what a session says is a sign of life, also where it is refused."""
LEASE = b'{"trial": 0, "fence": 1, "token": "t", "session": "%s"}' % OTHER
POSTS = {
    "": b'{"name": "n", "space": {"lr": {"type": "float", "low": 0, "high": 1}}, "metrics": [{"name": "s", '
    b'"mode": "max"}], "algorithm": {"type": "PBT", "population": 4, "interval": 5}}',
    "/study/ask": b'{"worker": "w", "slots": 2, "wait_seconds": 0, "in_memory": [1, 2]}',
    "/study/tell": b'{"lease": %s, "metrics": {"score": 1}, "evaluations": [{"step": 1, "metric": "m", "value": 2}]}'
    % LEASE,
    "/study/fail": b'{"lease": %s, "error": "x", "cause": "lost"}' % LEASE,
    "/study/heartbeat": b'{"lease": %s, "step": 3, "first": 0}' % LEASE,
    "/study/control": b'{"budget": {"steps": 3}, "pin": 1, "enqueue": {"lr": 0.1}, "stop": "now"}',
    "/study/exchange": b'{"commands": [{"type": "Join", "session": "%s", "worker": "w"}, {"type": "Ask", '
    b'"session": "%s"}, {"type": "Ancestors", "trial": 0}], "changes_since": 1}' % (NEW, NEW),
}


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    storage = f"sqlite:///{tmp_path}/study.db"
    with serving(storage, http_port=0) as server, contextlib.closing(Target(server)) as made:
        yield made


def test_almost_good_json_gets_a_typed_refusal(target: Target) -> None:
    chance, shown = random.Random(0), {"Authorization": target.header}
    for _ in range(2 * ROUNDS):
        path = chance.choice(list(POSTS))
        other = chance.choice(list(POSTS)) if chance.random() < 0.2 else path
        raw = (odd_document if chance.random() < 0.5 else mutated)(POSTS[other], chance)
        status, _ = target.ask("POST", f"/v1/studies{path}", raw, shown, {200, 201, 400, 404, 409})
        # a change of the study's control is several commands, of which the first may take effect
        target.check((path, raw), refused=status >= 400 and path != "/study/control")
    assert {200, 400, 404, 409} <= set(target.statuses)


# --- paths, queries and headers ---


PIECES = [
    "v1", "v2", "studies", "study", "rows", "trials", "watch", "checkpoints", "metrics", "readyz", "openapi.json",
    "ask", "", ".", "..", "%2e%2e", "%2F", "%00", "%ff", "%", "%zz", "%c3%a9", "~", "a" * 300, "study%2Frows",
    "%F0%9F%98%80",
]  # fmt: skip
NAMES = ["since", "limit", "after", "after_trial", "after_event", "wait_seconds", "study", "", "%00", "since[]"]
VALUES = [
    "-1", "0", "7", "1e3", "1e400", "nan", "9" * 15, "9" * 30, "-" + "9" * 15, "0x10", "", " 1", "%00", "%ff", "٣",
    "1_0",
]  # fmt: skip
HEADERS = [
    "Last-Event-ID", "Range", "If-Range", "X-Request-Id", "Accept", "Content-Type", "Connection", "Expect",
    "X-HTTP-Method-Override", "Upgrade",
]  # fmt: skip
HEADER_VALUES = [
    "0", "-1", "9" * 30, "bytes=0-", "bytes=5-1", "bytes=-", "bytes=a-b", "bytes=0-0,2-9", "é", "x" * 2000, "", "close",
    "application/json", "bytes 0-9/10", "bytes */10", "100-continue", "text/event-stream", '"sha256:0"', "websocket",
    "h2c",
]  # fmt: skip


def odd_url(chance: random.Random, target: Target) -> str:
    """Return a path and a query that mean something, or almost."""
    calls = ["rows", "trials", "watch", f"checkpoints/{target.grant.checkpoint}", "checkpoints/"]
    good = ["/v1/studies", "/v1/studies/study", "/metrics", "/readyz", *[f"/v1/studies/study/{call}" for call in calls]]
    path = chance.choice(good)
    if chance.random() < 0.5:
        pieces = path.split("/")[1:]
        pieces[chance.randrange(len(pieces))] = chance.choice(PIECES)
        if chance.random() < 0.5:
            pieces.insert(chance.randint(0, len(pieces)), chance.choice(PIECES))
        path = "/" + "/".join(pieces)
    query = [f"{chance.choice(NAMES)}={chance.choice(VALUES)}" for _ in range(chance.choice([0, 1, 1, 2, 3]))]
    return quote(path + "?" * bool(query) + "&".join(query), safe="/%?&=[]:,~.")


def odd_headers(chance: random.Random) -> dict[str, str | None]:
    return {chance.choice(HEADERS): chance.choice(HEADER_VALUES) for _ in range(chance.choice([0, 0, 0, 1, 2]))}


def test_odd_paths_queries_and_headers_are_answered(target: Target) -> None:
    chance = random.Random(2)
    allowed = {0, 200, 204, 206, 303, 307, 400, 403, 404, 405, 416}
    for _ in range(3 * ROUNDS):
        url, headers = odd_url(chance, target), odd_headers(chance)
        method = chance.choice(["GET", "GET", "GET", "HEAD", "OPTIONS", "PATCH", "PUT"])
        target.ask(method, url, None, {"Authorization": target.header, **headers}, allowed)
        target.check((method, url, headers), refused=True, every=20)
    assert {200, 307, 400, 404, 405} <= set(target.statuses)


def test_who_has_no_token_gets_the_same_answer_whatever_is_asked(target: Target) -> None:
    chance = random.Random(4)
    secret = target.header.removeprefix("Bearer ")
    wrong = [None, "", "Bearer", "Bearer phyletic_0", f"Basic {secret}", target.header[:-1], "Bearer é"]
    for _ in range(ROUNDS):
        method = chance.choice(["GET", "HEAD", "POST", "PUT", "DELETE"])
        reading = method in ("GET", "HEAD")
        url = odd_url(chance, target) if reading else f"/v1/studies{chance.choice(list(POSTS))}"
        raw = None if reading else mutated(chance.choice(list(POSTS.values())), chance)
        headers = {"Authorization": chance.choice(wrong), **odd_headers(chance)}
        allowed = {0, 307, 400, 401, 404, 405}
        if url.partition("?")[0] in ("/readyz", "/openapi.json"):
            allowed |= {200}
        _, text = target.ask(method, url, raw, headers, allowed)
        assert secret.encode() not in text
        assert target.identity.uuid.encode() not in text
        target.check((method, url, raw, headers), refused=True, every=20)
    assert target.statuses[401] > ROUNDS // 3


# --- checkpoints ---


def test_requests_for_checkpoints_are_answered(target: Target) -> None:
    """What is put is seen only once it is whole, and in the place of a running attempt."""
    chance, id = random.Random(3), target.grant.checkpoint
    content = chance.randbytes(200)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    paths = [id, f"{id}/", f"{id}/files/a", f"{id}/files/a/b", f"{id}/files/", f"{id}/manifest.json", "0" * 32, ""]
    digests = [digest, digest, digest, digest[:-1], "sha256:" + "0" * 64, "", None]
    ranges = [None, None, "bytes 0-49/200", "bytes 50-99/200", "bytes */200", "bytes 0-199/200", "bytes 9-1/5", "x"]
    allowed = {0, 200, 201, 202, 204, 206, 303, 400, 403, 404, 405, 409, 413, 416, 422}
    for _ in range(3 * ROUNDS):
        path = chance.choice(paths)
        if chance.random() < 0.3:
            path = printable(mutated(path.encode(), chance))
        method = chance.choice(["PUT", "PUT", "PUT", "GET", "HEAD", "POST", "DELETE"])
        body = chance.choice([content, content[:50], b"", content * 2]) if method in ("PUT", "POST") else None
        headers = {
            "Authorization": target.header,
            "Phyletic-Digest": chance.choice(digests),
            "Content-Range": chance.choice(ranges),
            **odd_headers(chance),
        }
        status, _ = target.ask(method, f"/v1/studies/study/checkpoints/{path}", body, headers, allowed)
        target.check((method, path, body, headers), refused=status not in (200, 201, 204))
    assert {200, 201, 202, 204, 400, 403, 404, 409, 422} <= set(target.statuses)


# --- what is no HTTP ---


def test_bytes_that_are_no_http_are_answered_or_cut_off(target: Target) -> None:
    chance, body = random.Random(5), b'{"worker": "w"}'
    good = b"POST /v1/studies/study/ask HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Length: %d\r\n\r\n%s"
    host, port = target.server.http_url.removeprefix("http://").split(":")
    for _ in range(ROUNDS // 5):
        # the token is not whole
        raw = mutated(good % (target.header.encode()[:-2], len(body), body), chance)
        with socket.create_connection((host, int(port)), 20) as connection:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            try:
                answer = connection.recv(65_536)
            except ConnectionResetError:
                answer = b""
        assert not answer or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 401", b"HTTP/1.1 404", b"HTTP/1.1 405")), (
            raw
        )
        target.check(raw, refused=True, every=20)
