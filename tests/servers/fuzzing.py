"""A server that is sent anything, and whether it has written something since."""

from __future__ import annotations

import copy
import http.client
import json
import os
import random
import sqlite3
from collections import Counter
from typing import Any

import grpc
from google.protobuf.message import Message

from phyletic.coordinator.messages import Ask, Granted, Join
from phyletic.remote.connections import connection_to
from phyletic.remote.grpc_connection import SERVICE, TOKEN
from phyletic.service.server import Server
from phyletic.testing.example import example_study

SESSION = "a" * 32
ROUNDS = int(os.environ.get("PHYLETIC_FUZZ_ROUNDS", "500"))
"""Requests of each call over gRPC; over HTTP there are nine times as many in all."""

_STREAM_SECONDS = 0.2
"""Of a stream that has nothing to say yet."""


class Target:
    """A server, a study of it with a trial that runs, and what was asked of it.

    Args:
        server: The server.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.header = f"Bearer {server.token_file.read_text().strip()}"
        self.identity = example_study(server.url).identity
        asking = [Join(session=SESSION, worker="w"), Ask(session=SESSION)]
        granted = connection_to(server.url).exchange("study", asking)[-1]
        assert isinstance(granted, Granted)
        self.grant = granted.first
        self.statuses: Counter[int] = Counter()
        self._channel = grpc.insecure_channel(server.url.removeprefix("grpc://"))
        self._client = http.client.HTTPConnection(server.http_url.removeprefix("http://"), timeout=20)
        self._folder = server.token_file.parent
        # a server whose folder of checkpoints is missing says that its store is
        (self._folder / "study.checkpoints").mkdir()
        self._database = sqlite3.connect(f"file:{self._folder}/study.db?mode=ro", uri=True, check_same_thread=False)
        self._before = self._written()
        self._since: list[Any] = []

    def close(self) -> None:
        self._database.close()
        self._client.close()
        self._channel.close()

    # --- whether something was written ---

    def _written(self) -> tuple[int, list[str]]:
        """Return what is another once a transaction was committed, or a file of a checkpoint became visible."""
        (version,) = self._database.execute("PRAGMA data_version").fetchone()
        files = [f"{at}/{name}" for at, _, names in os.walk(self._folder / "study.checkpoints") for name in names]
        return version, sorted(files)

    def check(self, request: Any, refused: bool, every: int = 1) -> None:
        """Note a request, and check now and then that nothing was written while all requests were refused.

        Args:
            request: What was sent.
            refused: Whether it must have written nothing.
            every: After how many requests to look.
        """
        self._since.append(request)
        if not refused:
            self._before, self._since = self._written(), []
        elif len(self._since) >= every:
            after = self._written()
            assert after == self._before, f"written by one of: {self._since!r}"
            self._since = []

    # --- requests ---

    def call(self, name: str, raw: bytes, header: str | None) -> grpc.RpcError | None:
        """Make a call over gRPC; return the error with which it ends, or None.

        Args:
            name: The call.
            raw: Its bytes.
            header: The Authorization header; None for none.
        """
        method = SERVICE.methods_by_name[name]
        make: Any = self._channel.unary_stream if method.server_streaming else self._channel.unary_unary
        metadata = [] if header is None else [(TOKEN, header)]
        try:
            seconds = _STREAM_SECONDS if method.server_streaming else 20
            reply = make(f"/{SERVICE.full_name}/{name}")(raw, timeout=seconds, metadata=metadata)
            if method.server_streaming:
                next(reply)
                reply.cancel()
        except grpc.RpcError as error:
            waits = method.server_streaming and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            return None if waits else error
        return None

    def ask(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str | None], allowed: set[int]
    ) -> tuple[int, bytes]:
        """Make a request over HTTP; return the status, 0 if the connection was ended, and the body unless it streams.

        Args:
            method: The method.
            path: The path, and the query.
            body: The body.
            headers: Headers; None leaves one out.
            allowed: The statuses that the answer may have.
        """
        named = {name: value for name, value in headers.items() if value is not None}
        request = (method, path, body, named)
        try:
            self._client.request(method, path, body, named)
            answer = self._client.getresponse()
            status, kind = answer.status, answer.headers.get("content-type", "")
            text = b"" if kind.startswith("text/event-stream") else answer.read()
        except (http.client.BadStatusLine, ConnectionError):
            status, kind, text = 0, "", b""
        if status == 0 or kind.startswith("text/event-stream"):
            self._client.close()
        self.statuses[status] += 1
        assert status in allowed, (request, status, text)
        assert b"Traceback" not in text
        # what is there of an upload is an answer too
        if status >= 400 and method != "HEAD" and not text.startswith((b'{"error":"', b'{"received":')):
            # what no route takes is answered by the library, and a range by its answer for files
            assert kind.startswith("text/plain") or (status, text) == (404, b""), (request, status, text)
        return status, text


def mutated(raw: bytes, chance: random.Random) -> bytes:
    """Return bytes that are almost, or not at all, a request."""
    body = bytearray(raw)
    for _ in range(chance.choice([1, 1, 1, 2, 5])):
        match chance.randrange(5):
            case 0 if body:
                body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
            case 1 if body:
                body[chance.randrange(len(body))] = chance.randrange(256)
            case 2 if body:
                del body[chance.randrange(len(body)) :]
            case 3:
                place = chance.randint(0, len(body))
                body[place:place] = chance.randbytes(chance.randrange(6))
            case _:
                body += body[: chance.randrange(20)]
    return bytes(body)


def printable(raw: bytes) -> str:
    """Return bytes as text that a header or a path can carry."""
    return "".join(chr(byte) if 32 < byte < 127 and byte not in b"#" else "%3F" for byte in raw)


# --- requests that can be read, and say odd things ---

INTEGERS = [0, 1, -1, 2, 7, 255, 2**31, 2**53, 2**63 - 1, -(2**63)]
NUMBERS = [0.0, -0.0, 1.0, -1.0, 0.5, 1e308, 5e-324, float("nan"), float("inf"), float("-inf")]
TEXTS = [
    "", "\0", "x" * 300, "é", "\u202e", "../x", "study", "0" * 32, "NaN", "-", "9" * 999, "max", "UserFunction", "a:b",
]  # fmt: skip
NODES = [
    *INTEGERS, 2**70, 0.5, 1e308, *TEXTS, None, True, False, [], {}, [[]], {"type": "x"}, {"type": "dict"}, [1, "a"],
]  # fmt: skip


def odd_message(message: Message, chance: random.Random) -> bytes:
    """Return a message of which one or a few fields, however deep, say something odd."""
    made = type(message)()
    made.CopyFrom(message)
    for _ in range(chance.choice([1, 1, 2, 4]) if message.DESCRIPTOR.fields else 0):
        part, field = chance.choice(_fields(made))
        if field.is_repeated:
            _change_list(getattr(part, field.name), field, chance)
        elif chance.random() < 0.2:
            part.ClearField(field.name)
        elif field.message_type is not None:
            getattr(part, field.name).SetInParent()
        else:
            setattr(part, field.name, _odd(field, chance))
    return bytes(made.SerializeToString())


def _fields(message: Any) -> list[tuple[Any, Any]]:
    """Return all fields of a message and of those within it, each with the message that has it."""
    found = [(message, field) for field in message.DESCRIPTOR.fields]
    for field, value in message.ListFields():
        if field.message_type is not None:
            for one in value if field.is_repeated else [value]:
                found += _fields(one)
    return found


def _odd(field: Any, chance: random.Random) -> Any:
    kinds = {field.TYPE_STRING: TEXTS, field.TYPE_DOUBLE: NUMBERS, field.TYPE_BOOL: [True, False]}
    return chance.choice(kinds.get(field.type, INTEGERS))


def _change_list(items: Any, field: Any, chance: random.Random) -> None:
    if items and chance.random() < 0.4:
        del items[chance.randrange(len(items))]
    elif field.message_type is None:
        items.append(_odd(field, chance))
    elif items and chance.random() < 0.7:
        again = type(items[0])()
        again.CopyFrom(chance.choice(items))
        items.extend([again] * chance.choice([1, 1, 30]))
    else:
        items.add()


def odd_document(raw: bytes, chance: random.Random) -> bytes:
    """Return a document of JSON in which one or a few nodes, however deep, are odd."""
    document = json.loads(raw)
    for _ in range(chance.choice([1, 1, 2, 4])):
        parents: list[Any] = []
        _collect(document, parents)
        parent = chance.choice(parents)
        if isinstance(parent, dict):
            name = chance.choice([*parent, chance.choice(TEXTS)])
            parent[name] = copy.deepcopy(chance.choice(NODES))
            if chance.random() < 0.2:
                del parent[name]
        else:
            parent[chance.randint(0, len(parent)) :] = [copy.deepcopy(chance.choice(NODES))] * chance.choice([0, 1, 30])
    return json.dumps(document).encode()


def _collect(node: Any, parents: list[Any]) -> None:
    if isinstance(node, (dict, list)):
        parents.append(node)
        for item in node.values() if isinstance(node, dict) else node:
            _collect(item, parents)
