"""Messages between an owner and its local workers: msgpack behind a length, over a socket pair.

The worker speaks first, one request at a time, and the owner answers each. The owner never blocks on a worker: it
gathers what it reads until a message is whole, and keeps what it writes until the socket takes it.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import struct
from typing import Any

import msgspec

from phyletic.coordinator.messages import Command, Reply
from phyletic.failpoints import failpoint

__all__ = ["DISTRUSTED", "TERMINATED", "Answers", "Broken", "FramedSocket", "Request", "Setup", "receive", "send"]

DISTRUSTED = 75
"""Exit status of a worker that does not trust its own process any more (EX_TEMPFAIL)."""
TERMINATED = 128 + signal.SIGTERM
"""Exit status of a worker that ended because a signal asked it to."""

_LENGTH = struct.Struct(">Q")
_LARGEST_REQUEST = 2**28
_CHUNK = 2**18


class Setup(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """What a worker needs to begin; the owner's first message.

    Attributes:
        train: The training function, pickled by value.
        worker: The worker's name.
        session: Identity of this incarnation.
        reload: When states are loaded: ``"changed"`` or ``"always"``.
        space: The search space's JSON form.
        checkpoints: Address of the checkpoints; a text packed by :func:`phyletic.workers.pickling.pack_text`.
        beat_seconds: Time between heartbeats.
        path: The owner's ``sys.path``; packed texts.
        arguments: The owner's ``sys.argv``; packed texts.
        main_name: Module that the owner runs as ``__main__``; None if that is a file or nothing.
        main_file: File that the owner runs as ``__main__``, a packed text; None if there is no such file.
        python_path: The environment's ``PYTHONPATH`` as the owner has it; a packed text.
    """

    train: bytes
    worker: str
    session: str
    reload: str
    space: dict[str, Any]
    checkpoints: bytes
    beat_seconds: float
    path: tuple[bytes, ...]
    arguments: tuple[bytes, ...] = ()
    main_name: str | None = None
    main_file: bytes | None = None
    python_path: bytes | None = None


class Request(msgspec.Struct, frozen=True, tag=True):
    """Commands of a worker, to be answered one by one."""

    commands: tuple[Command, ...]


class Broken(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """The worker's last message: trying again is of no use.

    Attributes:
        error: Name of the class in :mod:`phyletic.errors`.
        message: Its text, with the traceback.
    """

    error: str
    message: str


class Answers(msgspec.Struct, frozen=True, tag=True):
    """Replies to the commands of a request, in order."""

    replies: tuple[Reply, ...]


_encoder = msgspec.msgpack.Encoder()
_from_worker = msgspec.msgpack.Decoder(Request | Broken)
_from_owner = msgspec.msgpack.Decoder(Setup | Answers)


def _framed(message: Setup | Request | Broken | Answers) -> bytes:
    payload = _encoder.encode(message)
    return _LENGTH.pack(len(payload)) + payload


def send(connection: socket.socket, message: Request | Broken) -> None:
    """Send a message from the worker's side; blocks until the socket took it."""
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
    gathered = bytearray(length)
    view, filled = memoryview(gathered), 0
    while filled < length:
        count = connection.recv_into(view[filled:])
        if count == 0:
            raise EOFError("the owner of this worker is gone")
        filled += count
    return gathered


class FramedSocket:
    """The owner's side of a worker's socket.

    Args:
        connection: The socket; becomes non-blocking, and is closed with this.

    Attributes:
        ended: Whether the other side has closed it; says nothing of the worker's life, for its children may hold it.
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
        """Whether something waits until the socket takes it."""
        return bool(self._outgoing)

    def send(self, message: Setup | Answers) -> None:
        """Send a message now as far as the socket takes it; :meth:`flush` sends the rest."""
        failpoint("owner.send.before")
        self._outgoing += _framed(message)
        self.flush()
        failpoint("owner.send.after")

    def flush(self) -> None:
        """Send what waits, as far as the socket takes it; drop what a dead worker would have got."""
        try:
            while self._outgoing:
                count = self._socket.send(memoryview(self._outgoing)[:_CHUNK])
                del self._outgoing[:count]
        except BlockingIOError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            self._outgoing.clear()

    def receive(self) -> list[Request | Broken]:
        """Return the messages that are whole, without waiting.

        Raises:
            msgspec.DecodeError: The bytes are no message (training code wrote into a file that was not its own).
        """
        failpoint("owner.receive.before")
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            while chunk := self._socket.recv(_CHUNK):
                self._incoming += chunk
            self.ended = True
        messages: list[Request | Broken] = []
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
