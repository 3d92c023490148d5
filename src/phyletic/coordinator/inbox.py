"""The inbox of a study's owner: how other processes reach a running study's control.

One process writes a database. If another one wants to change a study's budget or population, to pause or to stop it, it
writes a request into a folder beside the database and waits there for the answer. The owner reads the folder about
twice a second.
"""

from __future__ import annotations

import contextlib
import secrets
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

import msgspec

from phyletic import disk
from phyletic.coordinator.messages import Command, Control, Done, Enqueue, Pin, Refused, Reply, Stop
from phyletic.errors import StorageBusy, StorageError, StorageOwned
from phyletic.failpoints import failpoint

Request: TypeAlias = Control | Pin | Enqueue | Stop

_LOOK_SECONDS = 0.5
_ANSWER_SECONDS = 10.0
_FORSAKEN_SECONDS = 300.0
"""A request of this age is deleted: it is much older than any process waits."""
_UNHEARD_SECONDS = 2.0
"""A study that runs in this process would have taken a request of this age."""
_ANOTHER = (
    "the process that writes this storage runs another study of it. A storage has one writer at a time: change this "
    "study when that process has ended, or there"
)
_COMMAND, _ANSWER = ".command", ".answer"
_requests = msgspec.json.Decoder(Request)
_answers: msgspec.json.Decoder[Done | Refused] = msgspec.json.Decoder(Done | Refused)


class Inbox:
    """The inbox of one study.

    Args:
        folder: Shared by the studies of a database; made when first written to.
        study: The study's uuid.
        clock: Gives seconds.
    """

    def __init__(self, folder: Path, study: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._study = study
        self._clock = clock
        self._looked = -_LOOK_SECONDS

    def ask(self, request: Request, seconds: float) -> Done | Refused:
        """Write a request for the owner, and wait for its answer.

        Args:
            request: The request.
            seconds: How long to wait; twice as long if the owner has taken the request.

        Raises:
            StorageBusy: The owner did not answer in time; the message says whether the request is withdrawn.
            StorageError: The request cannot be written.
        """
        stem = f"{self._study}-{secrets.token_hex(8)}"
        command, answer = self._folder / (stem + _COMMAND), self._folder / (stem + _ANSWER)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            failpoint("inbox.ask.before")
            self._write(command, msgspec.json.encode(request))
            failpoint("inbox.ask.after")
        except OSError as error:
            raise StorageError(f"a request cannot be left in {self._folder}: {error.strerror}") from error
        deadline = self._clock() + seconds
        try:
            while (now := self._clock()) < deadline + seconds:
                with contextlib.suppress(OSError):
                    return _answers.decode(answer.read_bytes())
                if now >= deadline and _removed(command):
                    raise StorageBusy(
                        f"the process that owns the study did not answer within {seconds:g} s: nothing was changed. "
                        "It looks whenever a trial begins, reports or ends; and it must be allowed to write in "
                        f"{self._folder}"
                    )
                time.sleep(0.05)
        finally:
            for path in (command, answer):
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
        raise StorageBusy(
            f"the process that owns the study took the request, and did not answer within {2 * seconds:g} s: it may "
            "have been done, or not; the study's events tell"
        )

    def requests(self) -> Iterator[tuple[Request, Callable[[Done | Refused], None]]]:
        """Yield the requests of other processes, each with the function that answers it; reads at most twice a second.

        Errors here must not stop training: a request that cannot be read or answered (another user wrote it, the disk
        is full) gets no answer, and its sender's wait ends.
        """
        now = self._clock()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        found: list[Path] = []
        with contextlib.suppress(OSError):
            found = sorted(self._folder.iterdir())
        for path in found:
            request = None
            with contextlib.suppress(OSError):
                request = self._taken(path)
            if request is not None:
                yield request, partial(self._answer, path)

    def _taken(self, path: Path) -> Request | None:
        """Take a request; None if the file is not a request for this study."""
        found = path.stat()
        age = time.time() - found.st_mtime
        if age > _FORSAKEN_SECONDS:
            # its sender was killed, or it would have removed the file itself
            path.unlink(missing_ok=True)
            return None
        if path.suffix != _COMMAND or not stat.S_ISREG(found.st_mode):
            # reading a FIFO would block the owner
            return None
        if not path.name.startswith(f"{self._study}-"):
            # a study that runs in this process would have taken it by now
            if age > _UNHEARD_SECONDS and _removed(path):
                self._answer(path, Refused(error="StorageOwned", message=_ANOTHER))
            return None
        try:
            request = _requests.decode(path.read_bytes())
        except msgspec.DecodeError as error:
            path.unlink(missing_ok=True)
            self._answer(path, Refused(error="InvalidArgument", message=f"the inbox holds no request: {error}"))
            return None
        # only the process that removes the file acts on it: so a request takes effect once, and never after its
        # sender withdrew it
        failpoint("inbox.take.before")
        taken = _removed(path)
        failpoint("inbox.take.after")
        return request if taken else None

    def _answer(self, command: Path, reply: Done | Refused) -> None:
        answered = Done() if isinstance(reply, Done) else reply
        failpoint("inbox.answer.before")
        with contextlib.suppress(OSError):
            self._write(command.with_suffix(_ANSWER), msgspec.json.encode(answered))
        failpoint("inbox.answer.after")

    @staticmethod
    def _write(path: Path, content: bytes) -> None:
        temporary = path.with_suffix(".writing")
        try:
            disk.write_file(temporary, [content])
            disk.rename(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


class InboxChannel:
    """Reaches a study's owner in another process; implements :class:`phyletic.coordinator.channel.Channel`.

    It carries changes of control alone: a session runs trials in the owner's process, or in its workers.

    Args:
        inbox: The study's inbox.
    """

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    def exchange(self, commands: Sequence[Command], timeout: float | None = None) -> tuple[Reply, ...]:
        """Leave each request for the owner, and wait for its answer.

        Raises:
            StorageBusy: The owner did not answer in time; the message says whether the request is withdrawn.
            StorageOwned: A command is none that another process may send.
        """
        replies: list[Reply] = []
        for command in commands:
            if not isinstance(command, Control | Pin | Enqueue | Stop):
                raise StorageOwned("another process owns the study: only it and its workers ask for trials")
            replies.append(self._inbox.ask(command, _ANSWER_SECONDS if timeout is None else timeout))
        return tuple(replies)

    def wait(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def close(self) -> None:
        """Do nothing: the inbox belongs to the owner."""


def _removed(path: Path) -> bool:
    """Remove a file; return whether it was there."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True
