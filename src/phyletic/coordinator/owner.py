"""The owner of a study: a coordinator with a clock, a lock, and the hands that delete what was condemned."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial

from phyletic.checkpoints.local import LocalCheckpoints
from phyletic.coordinator.coordinator import Coordinator
from phyletic.coordinator.inbox import Inbox
from phyletic.coordinator.messages import Command, Control, Done, Leave, Refused, Reply, Stop
from phyletic.coordinator.state import StudyState
from phyletic.errors import CheckpointError, NotFound, StorageError
from phyletic.evolution import Algorithm
from phyletic.records import CheckpointState
from phyletic.space import Space
from phyletic.storage import queries
from phyletic.storage.changes import SessionRecord, StoredCheckpoint
from phyletic.storage.store import Store

__all__ = ["NO_RUN", "Owner"]

NO_RUN = "there is no run to stop: Study.run is not at work in the process that owns the study"

_CONFIRM_AT_ONCE = 32
Watcher = Callable[[Sequence[Command], Sequence[Reply]], None]


class Owner:
    """Owns a study in this process, from its first command until :meth:`release`; safe to use from threads.

    Args:
        store: The study's database.
        name: The study's name in it.
        space: Its search space.
        algorithm: Its algorithm.
        checkpoints: Where its checkpoints are.
        evict: Ends the processes that an earlier owner left behind.
        inbox: Where other processes leave requests; None for a database in memory.
        interrupt: Ends the run that goes on: once its running trials have finished, or (``True``) now; returns whether
            there is one.
        clock: Gives the time in seconds since 1970.
        steady: Gives seconds that neither a step of the clock nor a sleep of the machine moves.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        space: Space,
        algorithm: Algorithm,
        checkpoints: LocalCheckpoints,
        evict: Callable[[Sequence[SessionRecord]], object],
        interrupt: Callable[[bool], bool],
        inbox: Inbox | None,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self.name = name
        self.checkpoints = checkpoints
        self._coordinator = Coordinator(store, name, space=space, algorithm=algorithm)
        self.inbox = inbox
        self._evict = evict
        self._interrupt = interrupt
        self._clock = clock
        self._steady = steady
        self._changed = threading.Condition(threading.RLock())
        self._begun = False
        self._users: set[int] = set()
        self._deleted: list[str] = []
        self._watchers: list[Watcher] = []
        self._process = os.getpid()
        self._busy = False
        self._afterwards: list[Callable[[], object]] = []
        self.later: deque[Command] = deque()
        """Commands of finalizers, which may run anywhere and so only append here; decided before the next commands."""

    @property
    def forked(self) -> bool:
        """Whether this is a process that was forked since, and owns nothing."""
        return os.getpid() != self._process

    @property
    def begun(self) -> bool:
        """Whether this process decides for the study now."""
        return self._begun

    @property
    def state(self) -> StudyState:
        """The committed state, as the owner knows it; read it, never change it."""
        with self._deciding():
            self.begin()
            return self._coordinator.state

    def begin(self) -> None:
        """Take ownership, unless this object has it.

        Raises:
            StorageOwned: Another process has it.
        """
        with self._deciding():
            if self._begun:
                return
            self.store.own()
            try:
                with self.store.read() as connection:
                    stored = queries.load_study(connection, self.name)
                    if stored is None:
                        raise NotFound(f"there is no study {self.name!r} in {self.store.path or 'memory'}")
                    survivors = queries.open_sessions(connection, stored.id)
                    self._require_checkpoints(queries.checkpoints(connection, stored.id, [CheckpointState.DURABLE]))
                self._evict([record for record in survivors if record.pid is not None])
                outcome = self._coordinator.begin(self._clock())
            except BaseException:
                self.store.release()
                raise
            self._begun = True
            # what cannot be removed now is tried again when the study is opened next, and keeps nobody from training
            with suppress(CheckpointError):
                self.checkpoints.sweep()
            self._delete(outcome.condemned)
            with suppress(CheckpointError):
                # published by a worker that did not know yet that its lease was lost, and ended before it was told
                self._delete(self._coordinator.given_up(self.checkpoints.ids()))

    def _require_checkpoints(self, known: Sequence[StoredCheckpoint]) -> None:
        """Raise CheckpointError where the folder has nothing at all of what it should have.

        One checkpoint that is missing is found when it is needed. But a disk that is not mounted, or a folder that was
        moved, is no reason to give up every member.
        """
        if known and not any(self.checkpoints.exists(checkpoint.id) for checkpoint in known):
            if self.checkpoints.ids():
                # an older copy of the database, whose checkpoints the newer one has replaced
                return
            raise CheckpointError(
                f"study {self.name!r} has {len(known)} checkpoints, which should be in {self.checkpoints.root}, but "
                "nothing is there. Is its disk mounted? If the folder was moved, say where it is: checkpoints=...; "
                "nothing was changed, and results can be read all the same"
            )

    def adopt(self, algorithm: Algorithm) -> None:
        """Decide by an algorithm that is the same, and has the user's own functions."""
        with self._changed:
            self._coordinator.adopt(algorithm)

    def execute(self, commands: Sequence[Command]) -> tuple[Reply, ...]:
        """Decide a batch of commands, then delete what that condemned.

        Raises:
            StorageError: The transaction could not be committed; nothing of it is visible.
        """
        with self._changed:
            if self._busy and all(isinstance(command, Leave) for command in commands):
                self._afterwards.append(partial(self.execute, commands))
                return (Done(),) * len(commands)
        self._catch_up()
        with self._deciding():
            self.begin()
            self._look_into_inbox()
            outcome = self._coordinator.execute(commands, self._clock(), self._steady())
            self._delete(outcome.condemned)
            self._changed.notify_all()
            for watcher in self._watchers:
                watcher(commands, outcome.replies)
            return outcome.replies

    def _catch_up(self) -> None:
        commands = list[Command]()
        # another thread may take some of them
        with suppress(IndexError):
            while True:
                commands.append(self.later.popleft())
        if commands:
            # what cannot be written is void when the study is owned next
            with suppress(StorageError):
                self.execute(commands)

    @contextmanager
    def _deciding(self) -> Iterator[None]:
        """Hold the lock; what a finalizer wants done, which may run anywhere, is done after the outermost block."""
        with self._changed:
            outermost, self._busy = not self._busy, True
            try:
                yield
            finally:
                self._busy = not outermost
                while outermost and self._afterwards:
                    # what cannot be written is void when the study is owned next
                    with suppress(StorageError):
                        self._afterwards.pop(0)()

    def _look_into_inbox(self) -> None:
        """Do what other processes have asked for."""
        if self.inbox is None:
            return
        for request, answer in self.inbox.requests():
            if isinstance(request, Stop):
                self._stop(request, answer)
                continue
            if isinstance(request, Control) and request.checkpoints is not None:
                answer(Refused(error="StorageOwned", message="a study that runs keeps the folder of its checkpoints"))
                continue
            outcome = self._coordinator.execute([request], self._clock(), self._steady())
            self._delete(outcome.condemned)
            (reply,) = outcome.replies
            answer(reply if isinstance(reply, Refused) else Done())

    def _stop(self, request: Stop, answer: Callable[[Done | Refused], None]) -> None:
        found = True
        try:
            found = self._interrupt(request.now)
        finally:
            # answered also where the interrupt stops the training code in this process
            answer(Done() if found else Refused(error="NotFound", message=NO_RUN))

    def wait(self, seconds: float) -> None:
        """Wait until something was decided, or the time has passed."""
        with self._changed:
            self._changed.wait(seconds)
            if self._begun:
                with self._deciding():
                    self._look_into_inbox()

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Call ``watcher(commands, replies)`` after each batch; returns what ends that."""
        with self._changed:
            self._watchers.append(watcher)

        def end() -> None:
            with self._changed:
                self._watchers.remove(watcher)

        return end

    def use(self, user: int) -> None:
        """Note that somebody in this process relies on the ownership, until :meth:`release`."""
        with self._changed:
            self._users.add(user)

    def release(self, user: int) -> None:
        """Give ownership up when nobody in this process uses it any more; the next command takes it again."""
        with self._changed:
            if self._busy:
                self._afterwards.append(partial(self.release, user))
                return
        with self._deciding():
            self._users.discard(user)
            if self._begun and not self._users:
                self._begun = False
                try:
                    self._confirm()
                    self._coordinator.end(self._clock(), self._steady())
                finally:
                    self.store.release()

    def _delete(self, ids: Sequence[str]) -> None:
        """Delete what was condemned, at once; it is confirmed in batches, each after one wait for the disk."""
        for checkpoint in ids:
            # where it fails the checkpoint stays condemned, and is deleted when the study is opened next
            with suppress(CheckpointError):
                self.checkpoints.delete(checkpoint, durable=False)
                self._deleted.append(checkpoint)
        if len(self._deleted) >= _CONFIRM_AT_ONCE:
            self._confirm()

    def _confirm(self) -> None:
        if self._deleted:
            with suppress(CheckpointError):
                self.checkpoints.delete(*self._deleted)
                self._coordinator.confirm(self._deleted)
            self._deleted = []
