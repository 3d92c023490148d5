"""The owner of a study in this process: it adds a clock and a lock to a coordinator, and deletes after each commit.

Commands that arrive from several threads within a moment share one commit: the thread that gets the lock decides for
all that wait for it.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from phyletic.checkpoints.checkpoints import Checkpoints
from phyletic.checkpoints.collector import Collector
from phyletic.coordinator.ask import random_identity
from phyletic.coordinator.channel import Channel
from phyletic.coordinator.coordinator import Coordinator, Outcome
from phyletic.coordinator.feed import Feed, committed
from phyletic.coordinator.inbox import Inbox
from phyletic.coordinator.loading import Loaded
from phyletic.coordinator.messages import Command, Control, Done, Refused, Reply, Stop
from phyletic.coordinator.owner_channel import OwnerChannel
from phyletic.coordinator.state import StudyState
from phyletic.errors import CheckpointError, StorageError
from phyletic.evolution import Algorithm
from phyletic.records import CheckpointState
from phyletic.space import Space
from phyletic.storage.changes import SessionRecord, StoredCheckpoint
from phyletic.storage.database import Database

NO_RUN = "there is no run to stop: Study.run is not at work in the process that owns the study"


class _Batch:
    """What one call of :meth:`Owner.execute` waits for."""

    def __init__(self, commands: Sequence[Command]) -> None:
        self.commands = tuple(commands)
        self.replies: tuple[Reply, ...] | None = None
        self.error: BaseException | None = None


class Owner:
    """Owns a study in this process, from its first command until :meth:`release`; safe to use from threads.

    Args:
        database: Where the study is stored.
        name: The study's name in it.
        space: Its search space.
        algorithm: Its algorithm.
        checkpoints: Where its checkpoints are.
        evict: Ends the processes that an earlier owner left behind.
        interrupt: Ends the run that goes on: once its running trials have finished, or (``True``) now; returns whether
            there is one.
        inbox: Where other processes leave requests; None for a database in memory.
        about: What is recorded of this owner each time that it begins.
        identity: Gives random identities of 32 hexadecimal digits.
        clock: Gives the time in seconds since 1970.
        steady: Gives seconds that neither a step of the clock nor a sleep of the machine moves.
        batch: How many deletions of checkpoints share one wait for the disk.

    Attributes:
        feed: Hands on what is committed.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        *,
        space: Space,
        algorithm: Algorithm,
        checkpoints: Checkpoints,
        evict: Callable[[Sequence[SessionRecord]], object] = lambda records: None,
        interrupt: Callable[[bool], bool] = lambda now: False,
        inbox: Inbox | None = None,
        about: Callable[[], Mapping[str, Any]] | None = None,
        identity: Callable[[], str] = random_identity,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
        batch: int = 32,
    ) -> None:
        self.database = database
        self.name = name
        self.checkpoints = checkpoints
        self.inbox = inbox
        self.feed = Feed()
        self._later: deque[Callable[[], object]] = deque()
        self._coordinator = Coordinator(database, name, space=space, algorithm=algorithm, identity=identity)
        self._evict = evict
        self._interrupt = interrupt
        self._about = about
        self._clock = clock
        self._steady = steady
        self._changed = threading.Condition(threading.RLock())
        self._arrived: deque[_Batch] = deque()
        self._begun = False
        self._users: set[int] = set()
        self._collector = Collector(checkpoints.delete, checkpoints.sync, batch=batch)
        self._process = os.getpid()
        self._busy = False

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

    @contextmanager
    def looking(self) -> Iterator[StudyState]:
        """Give the committed state, which no thread changes for the length of the block; read it, never change it."""
        with self._deciding():
            self.begin()
            yield self._coordinator.state

    def begin(self) -> None:
        """Take ownership, unless this object has it.

        Raises:
            StorageOwned: Another process has it.
        """
        with self._deciding():
            if self._begun:
                return
            self.database.own()
            try:
                about = None if self._about is None else self._about()
                outcome = self._coordinator.begin(self._clock(), about=about, prepare=self._prepare)
            except BaseException:
                self.database.release()
                raise
            self._begun = True
            self._finish(outcome)
            # a worker published these, or began to, before it was told that its lease was lost; the next owner finds
            # them again if this one cannot
            with suppress(CheckpointError, StorageError):
                self._delete(self._coordinator.given_up(self.checkpoints.ids()))

    def _prepare(self, loaded: Loaded) -> None:
        """End what an earlier owner left running, before this one decides anything."""
        self._require_checkpoints([row for row in loaded.checkpoints if row.state is CheckpointState.DURABLE])
        self._evict([record for record in loaded.sessions if record.pid is not None])

    def _require_checkpoints(self, known: Sequence[StoredCheckpoint]) -> None:
        """Raise CheckpointError if the folder has nothing at all of what it should have.

        One checkpoint that is missing is found when it is needed. But a disk that is not mounted, or a folder that was
        moved, is no reason to give up every member.
        """
        if known and not any(self.checkpoints.exists(checkpoint.id) for checkpoint in known):
            if self.checkpoints.ids():
                # an older copy of the database, whose checkpoints the newer one has replaced
                return
            raise CheckpointError(
                f"study {self.name!r} has {len(known)} checkpoints, which should be in {self.checkpoints.location}, "
                "but nothing is there. Is its disk mounted? If the folder was moved, say where it is: checkpoints=...; "
                "nothing was changed, and results can be read all the same"
            )

    def adopt(self, algorithm: Algorithm) -> None:
        """Decide by an algorithm that is the same, and has the user's own functions."""
        with self._changed:
            self._coordinator.adopt(algorithm)

    def execute(self, commands: Sequence[Command]) -> tuple[Reply, ...]:
        """Decide a batch of commands, then delete the checkpoints that it condemned, and hand on what was committed.

        Raises:
            StorageError: The transaction could not be committed; nothing of it is visible.
        """
        batch = _Batch(commands)
        self._arrived.append(batch)
        with self._deciding():
            # unless another thread decided it together with its own
            if batch.replies is None and batch.error is None:
                self._decide_arrived()
        self.feed.deliver()
        if batch.error is not None:
            raise batch.error
        assert batch.replies is not None
        return batch.replies

    def loop_channel(self) -> Channel:
        """Return the channel for a loop of this process."""
        return OwnerChannel(self)

    def _decide_arrived(self) -> None:
        """Decide what all threads have brought until now, in one transaction."""
        batches = [self._arrived.popleft() for _ in range(len(self._arrived))]
        try:
            if not self._begun:
                self.begin()
            self._look_into_inbox()
            replies = iter(self._reply([command for batch in batches for command in batch.commands]))
        except BaseException as error:
            for batch in batches:
                batch.error = error
            return
        for batch in batches:
            batch.replies = tuple([next(replies) for _ in batch.commands])

    def _reply(self, commands: Sequence[Command]) -> list[Reply]:
        """Decide commands in one transaction; a Stop is for this process, and decided by nobody else."""
        decided = [command for command in commands if not isinstance(command, Stop)]
        outcome = self._coordinator.execute(decided, self._clock(), self._steady())
        self._finish(outcome)
        replies = iter(outcome.replies)
        return [self._stop(command) if isinstance(command, Stop) else next(replies) for command in commands]

    def _stop(self, request: Stop) -> Done | Refused:
        return Done() if self._interrupt(request.now) else Refused(error="NotFound", message=NO_RUN)

    def _finish(self, outcome: Outcome) -> None:
        """Do what follows on a commit."""
        self._delete(outcome.condemned)
        if outcome.changes is not None and self.feed.followed:
            self.feed.publish(committed(outcome.changes))
        self._changed.notify_all()

    @contextmanager
    def _deciding(self) -> Iterator[None]:
        """Hold the lock; what finalizers want done comes after the outermost block."""
        with self._changed:
            outermost, self._busy = not self._busy, True
            try:
                yield
            finally:
                self._busy = not outermost
                if outermost:
                    self._catch_up()

    def defer(self, function: Callable[[], object]) -> None:
        """Call a function as soon as no thread decides: for finalizers, which may run in the middle of a decision."""
        self._later.append(function)
        self._catch_up()

    def _catch_up(self) -> None:
        while self._later and self._changed.acquire(blocking=False):
            try:
                if self._busy:
                    return
                self._busy = True
                try:
                    # what cannot be written is void when the study is owned next
                    with suppress(StorageError, IndexError):
                        self._later.popleft()()
                finally:
                    self._busy = False
            finally:
                self._changed.release()

    def _look_into_inbox(self) -> None:
        """Do what other processes have asked for."""
        if self.inbox is None:
            return
        for request, answer in self.inbox.requests():
            if isinstance(request, Control) and request.checkpoints is not None:
                answer(Refused(error="StorageOwned", message="a study that runs keeps the folder of its checkpoints"))
                continue
            (reply,) = self._reply([request])
            answer(reply if isinstance(reply, Refused) else Done())

    def wait(self, seconds: float) -> None:
        """Wait until something was decided, or the time has passed."""
        with self._changed:
            self._changed.wait(seconds)
            if self._begun:
                with self._deciding():
                    self._look_into_inbox()
        self.feed.deliver()

    def use(self, user: int) -> None:
        """Note that somebody in this process relies on the ownership, until :meth:`release`."""
        with self._changed:
            self._users.add(user)

    def release(self, user: int) -> None:
        """Give ownership up when nobody in this process uses it any more; the next command takes it again."""
        with self._deciding():
            self._users.discard(user)
            if self._begun and not self._users:
                self._begun = False
                try:
                    self._coordinator.confirm(self._collector.flush())
                    self._coordinator.end(self._clock(), self._steady())
                finally:
                    self.database.release()

    def _delete(self, condemned: Sequence[str]) -> None:
        """Delete condemned checkpoints, and note those that are gone for good."""
        self._coordinator.confirm(self._collector.add(condemned))
