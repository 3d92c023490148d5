"""Messages between an owner and its workers, in msgpack; for local workers behind a length, over a socket pair.

The owner sends the setup. Then the worker sends one request at a time, and the owner answers each. The owner never
blocks on a worker: it collects bytes until a message is complete, and keeps its own bytes until the socket takes them.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import struct
from typing import Any, TypeAlias

import msgspec

from phyletic.coordinator.messages import Command, Refused, Reply
from phyletic.failpoints import failpoint

DISTRUSTED = 75
"""Exit status of a worker that no longer trusts its own process (EX_TEMPFAIL)."""
TERMINATED = 128 + signal.SIGTERM
"""Exit status of a worker that a signal asked to end."""

_LENGTH = struct.Struct(">Q")
_LARGEST_REQUEST = 2**28
_CHUNK = 2**18


class Setup(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """What a worker needs to begin: the owner's first message.

    Attributes:
        program: What the worker copies from the owner's process, from :func:`phyletic.workers.pickling.pack_program`.
        train: The training function, from :func:`phyletic.workers.pickling.pack`.
        worker: The worker's name.
        session: Identity of this incarnation.
        reload: When states are loaded: ``"changed"`` or ``"always"``.
        upload: When checkpoints are published: ``"before_tell"`` or ``"background"``.
        space: The search space's JSON form.
        checkpoints: Address of the checkpoints, encoded by ``os.fsencode``.
        beat_seconds: Seconds between heartbeats.
    """

    program: bytes
    train: bytes
    worker: str
    session: str
    reload: str
    upload: str
    space: dict[str, Any]
    checkpoints: bytes
    beat_seconds: float


class Request(msgspec.Struct, frozen=True, tag=True):
    """A worker's commands, which the owner answers in order.

    A worker whose training code cannot succeed at a second try sends a Refused instead, as its last message.
    """

    commands: tuple[Command, ...]


class Answers(msgspec.Struct, frozen=True, tag=True):
    """The replies to a request's commands, in order."""

    replies: tuple[Reply, ...]


class Ended(msgspec.Struct, frozen=True, tag=True):
    """The last message of a worker that cannot end its own process: the exit status that it would have."""

    status: int


class Agreed(msgspec.Struct, frozen=True, tag=True):
    """What rank 0 of a gang announces to the others.

    Attributes:
        trial: Number of the trial that they train.
        check: The check, counted from 1 within the trial, that this is about.
        stop: The reason to stop there; empty to go on.
        following: The next check that an announcement is about.
    """

    trial: int
    check: int
    stop: str
    following: int


class Check(msgspec.Struct, frozen=True, tag=True):
    """Another rank has come to a check, and waits for what rank 0 announces about it."""

    trial: int
    check: int


FromActor: TypeAlias = Request | Refused | Ended | Agreed | Check
"""What an actor says to its owner."""

_encoder = msgspec.msgpack.Encoder()
_from_worker = msgspec.msgpack.Decoder(Request | Refused)
_from_actor = msgspec.msgpack.Decoder(FromActor)
_from_owner = msgspec.msgpack.Decoder(Setup | Answers)
_to_actor = msgspec.msgpack.Decoder(Setup | Answers | Agreed)


def encode(message: Setup | Answers | FromActor) -> bytes:
    """Return a message's bytes."""
    return _encoder.encode(message)


def decode_from_actor(payload: bytes) -> FromActor:
    """Return the message that an actor sent."""
    message: FromActor = _from_actor.decode(payload)
    return message


def decode_to_actor(payload: bytes) -> Setup | Answers | Agreed:
    """Return the message that an owner sent to an actor."""
    message: Setup | Answers | Agreed = _to_actor.decode(payload)
    return message


def _framed(message: Setup | Request | Refused | Answers) -> bytes:
    payload = encode(message)
    return _LENGTH.pack(len(payload)) + payload


def send(connection: socket.socket, message: Request | Refused) -> None:
    """Send a message from the worker's side, and block until the socket has taken it."""
    failpoint("channel.send.before")
    connection.sendall(_framed(message))
    failpoint("channel.send.after")


def receive(connection: socket.socket) -> Setup | Answers:
    """Wait for a message on the worker's side.

    Raises:
        EOFError: The owner is gone.
    """
    failpoint("channel.receive.before")
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    message: Setup | Answers = _from_owner.decode(_exactly(connection, length))
    failpoint("channel.receive.after")
    return message


def _exactly(connection: socket.socket, length: int) -> bytearray:
    gathered = bytearray()
    while len(gathered) < length:
        chunk = connection.recv(min(length - len(gathered), _CHUNK))
        if not chunk:
            raise EOFError("the owner of this worker is gone")
        gathered += chunk
    return gathered


class FramedSocket:
    """The owner's side of a worker's socket.

    Args:
        connection: The socket, which becomes non-blocking. :meth:`close` closes it.

    Attributes:
        ended: Whether the other side is closed. The worker may still live, and its children may hold a socket whose
            worker is dead.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self.ended = False

    def fileno(self) -> int:
        """Return the file descriptor, for a selector."""
        return self._socket.fileno()

    @property
    def sending(self) -> bool:
        """Whether the socket has not taken all bytes yet."""
        return bool(self._outgoing)

    def send(self, message: Setup | Answers) -> None:
        """Send as much of a message as the socket takes now; :meth:`flush` sends the rest."""
        failpoint("owner.send.before")
        self._outgoing += _framed(message)
        self.flush()
        failpoint("owner.send.after")

    def flush(self) -> None:
        """Send as many of the kept bytes as the socket takes; drop them if the worker is dead."""
        try:
            while self._outgoing:
                count = self._socket.send(memoryview(self._outgoing)[:_CHUNK])
                del self._outgoing[:count]
        except BlockingIOError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            self._outgoing.clear()

    def receive(self) -> list[Request | Refused]:
        """Return the complete messages, without waiting.

        Raises:
            msgspec.DecodeError: The bytes are not a message, because training code wrote into this socket.
        """
        failpoint("owner.receive.before")
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            while chunk := self._socket.recv(_CHUNK):
                self._incoming += chunk
            self.ended = True
        messages: list[Request | Refused] = []
        while len(self._incoming) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._incoming)
            if length > _LARGEST_REQUEST:
                raise msgspec.DecodeError(f"a message of {length} bytes")
            end = _LENGTH.size + length
            if len(self._incoming) < end:
                break
            messages.append(_from_worker.decode(bytes(self._incoming[_LENGTH.size : end])))
            del self._incoming[:end]
            failpoint("owner.receive.after")
        return messages

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
