"""The studies that a server hosts: one thread decides for each, and commits together what has arrived.

An ask that must wait may be held. After each commit the thread asks again for a few that are held, the longest first,
for more if all of them got an answer, and stops once one must still wait. So the end of a generation wakes all, and a
commit that frees no trial costs a few asks, however many are held.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from phyletic.coordinator.messages import (
    Ancestors,
    Ask,
    Command,
    Done,
    Finished,
    Heartbeat,
    Join,
    Refused,
    Reply,
    Stop,
    Wait,
)
from phyletic.coordinator.sessions import HEARTBEATS_PER_LEASE
from phyletic.errors import PhyleticError, StorageBusy, StorageError
from phyletic.records import StudyChange
from phyletic.service.batch import Batch
from phyletic.service.session_limit import SessionLimit
from phyletic.service.writable import check_writable
from phyletic.storage import queries
from phyletic.study.status import load_study
from phyletic.study.study import Study
from phyletic.workers.attempt import PREEMPTED

_logger = logging.getLogger("phyletic.service")
MOST_ARRIVED = 20_000
"""Commands that may wait for a decision; beyond it calls are told to come later."""
_MOST_RECENT = 2_000
_TICK_SECONDS = 0.5
_FIRST_ASKS = 8
_STOPPING = "the server is stopping"
_CHANGE_NOTHING = (Heartbeat, Join, Ancestors)


class QueueFull(StorageBusy):
    """Too much waits for a decision: come later."""


class StudyHost:
    """Decides for one study in a thread of its own.

    Args:
        study: The study, on a database that this process owns.
        limit: Says which sessions may join.
        most_arrived: How many commands may wait for a decision.
        clock: Gives seconds that never run backwards.

    Attributes:
        study: The study.
        refused: Why the database takes nothing now; "" if it does.
        decided: How many commands were decided.
        commits: How many batches were decided.
    """

    def __init__(
        self,
        study: Study,
        *,
        limit: SessionLimit | None = None,
        most_arrived: int = MOST_ARRIVED,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.study = study
        self.refused = ""
        self.decided = 0
        self.commits = 0
        self._owner = study.owner
        self._limit = limit or SessionLimit()
        self._limit.add_study(study.name, self._alive)
        self._most_arrived = most_arrived
        self._clock = clock
        self._arriving = threading.Condition()
        self._arrived: deque[Batch] = deque()
        self._count = 0
        # the longest held first; and all of them by the end of their time, also those that were answered meanwhile
        self._held: deque[Batch] = deque()
        self._ends: list[tuple[float, int, Batch]] = []
        self._numbers = itertools.count()
        self._tick = _TICK_SECONDS
        self._ask_at = 0.0
        self._stopped: set[str] = set()
        self._stopped_now = False
        self._draining = False
        self._ending = False
        self._recent: deque[StudyChange] = deque(maxlen=_MOST_RECENT)
        with study.database.read() as connection:
            stored = load_study(connection, study)
            self._id, self._forgotten = stored.id, stored.counters.sequence
            for session in queries.open_sessions(connection, stored.id):
                if session.lease_seconds is not None:
                    self._tick = min(self._tick, session.lease_seconds / HEARTBEATS_PER_LEASE)
        self._end_of_feed = self._owner.feed.call(self._remember)
        self._owner.use(id(self))
        self._thread = threading.Thread(target=self._run, name=f"deciding for {study.name}", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many commands wait for a decision."""
        return self._count

    @property
    def held(self) -> int:
        """How many asks are held."""
        return len(self._held)

    def submit(self, commands: Sequence[Command], hold: float = 0.0) -> Future[tuple[Reply, ...]]:
        """Have commands decided.

        Args:
            commands: What to decide; :func:`phyletic.service.door.admit` has checked them.
            hold: Seconds for which an ask that must wait, if it is the last command, may be held.

        Raises:
            QueueFull: Too many commands wait.
        """
        batch = Batch(commands, self._clock() + hold)
        for command in commands:
            if isinstance(command, Join) and command.lease_seconds is not None:
                self._tick = min(self._tick, command.lease_seconds / HEARTBEATS_PER_LEASE)
        if not commands:
            batch.answer()
            return batch.future
        with self._arriving:
            if self._ending:
                raise QueueFull(_STOPPING)
            if self._count + len(commands) > self._most_arrived:
                raise QueueFull(f"{self._count} commands wait for a decision: come later")
            self._arrived.append(batch)
            self._count += len(commands)
            self._arriving.notify()
        return batch.future

    def changes_since(self, sequence: int) -> list[StudyChange] | None:
        """Return what was committed after a sequence number; None if some of it is not at hand any more."""
        if sequence < self._forgotten:
            return None
        found = []
        for change in reversed(self._recent):
            if change.sequence <= sequence:
                break
            found.append(change)
        return found[::-1]

    def _remember(self, changes: Sequence[StudyChange]) -> None:
        """Keep the latest changes at hand, for clients that follow the study by their exchanges."""
        room = _MOST_RECENT - len(self._recent)
        if len(changes) > room:
            # of the latest that is dropped, others of the same write may be left
            self._forgotten = (*self._recent, *changes)[len(changes) - room - 1].sequence
        self._recent.extend(changes)

    def drain(self) -> None:
        """Grant no more trials: asks are answered at once that they must wait."""
        with self._arriving:
            self._draining = True
            self._arriving.notify()

    def close(self) -> None:
        """Answer what has arrived, then give the study up."""
        with self._arriving:
            self._draining = self._ending = True
            self._arriving.notify()
        self._thread.join()
        self._end_of_feed()
        self._owner.release(id(self))

    # --- the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._arriving:
                if not self._arrived and not self._ending:
                    self._arriving.wait(self._tick)
                batches = list(self._arrived)
                self._arrived.clear()
                self._count = 0
                ending = self._ending
            changed = False
            try:
                if batches:
                    changed = self._decide(batches)
                else:
                    self._look_around()
                self._answer_held(changed)
            except BaseException:
                _logger.exception("the decider of study %r met an error and goes on", self.study.name)
            if ending and not batches:
                for batch in self._held:
                    batch.answer()
                return

    def _look_around(self) -> None:
        """Take what other processes of this machine ask for, and let the owner know that time passes.

        An owner that decides nothing for a quarter of a lease takes it for a sleep of its own, and extends the leases.
        """
        try:
            if self._owner.begun:
                self._owner.execute([])
        except StorageError as error:
            self._note_refusal(error)
        else:
            self._note_success()

    def _note_refusal(self, error: StorageError) -> None:
        """Note that the database takes nothing."""
        if not self.refused:
            _logger.warning("study %r: the database takes no writes, so nothing is decided: %s", self.study.name, error)
        other = "the database cannot be used; the server's log says why"
        self.refused = str(error) if isinstance(error, StorageBusy) else other

    def _note_success(self) -> None:
        """Note whether a database that took nothing does again; what was decided meanwhile may have written nothing."""
        if not self.refused:
            return
        try:
            check_writable(self.study.database, f"writable-{self._id}")
        except StorageError as error:
            self._note_refusal(error)
        else:
            self.refused = ""
            _logger.warning("study %r: the database takes writes again", self.study.name)

    def _decide(self, batches: Sequence[Batch]) -> bool:
        """Decide batches in one transaction, or if the database refuses it, one by one; return whether any changed."""
        batches = [batch for batch in batches if not batch.ended]
        commands = [command for batch in batches for command in batch.commands]
        try:
            replies = iter(self._execute(commands))
            for batch in batches:
                batch.replies = [next(replies) for _ in batch.commands]
        except Exception as error:
            if isinstance(error, StorageError):
                self._note_refusal(error)
            if len(commands) == 1:
                batches[0].fail(error)
            else:
                _logger.info("study %r: a batch is decided again, one by one: %s", self.study.name, error)
                for batch in batches:
                    self._decide_alone(batch)
        for batch in batches:
            if batch.must_wait and batch.until > self._clock() and not self._draining:
                self._held.append(batch)
                heapq.heappush(self._ends, (batch.until, next(self._numbers), batch))
            elif batch.replies:
                batch.answer()
        return not all(isinstance(command, _CHANGE_NOTHING) for command in commands)

    def _decide_alone(self, batch: Batch) -> None:
        replies: list[Reply] = []
        for command in batch.commands:
            try:
                replies += self._execute([command])
            except StorageError as error:
                batch.fail(error)
                return
            except PhyleticError as error:
                replies.append(Refused.of(error))
            except Exception as error:
                batch.fail(error)
                return
        batch.replies = replies

    def _execute(self, commands: Sequence[Command]) -> list[Reply]:
        """Decide commands; asks of sessions that a person stopped, and asks while the server stops, get no trial."""
        own = [self._own_reply(command) for command in commands]
        self._refuse_too_many(commands, own)
        others = [command for command, reply in zip(commands, own, strict=True) if reply is None]
        decided = iter(self._owner.execute(others) if others else ())
        self._note_success()
        self.decided += len(commands)
        self.commits += 1
        return [
            self._stopping(command, next(decided)) if reply is None else reply
            for command, reply in zip(commands, own, strict=True)
        ]

    def _refuse_too_many(self, commands: Sequence[Command], replies: list[Reply | None]) -> None:
        """Refuse, in place, the sessions for which the server has no room, and what they ask for.

        Args:
            commands: The commands.
            replies: Their replies as far as they are known.
        """
        joining = {one.session for one in commands if isinstance(one, Join)}
        over = self._limit.refused(self.study.name, self._owner.state.workers, joining) if joining else ()
        if not over:
            return
        text = "the server takes no more sessions of workers: end some, or start it with a higher --max-sessions"
        for place, command in enumerate(commands):
            if isinstance(command, (Join, Ask)) and command.session in over:
                replies[place] = Refused(error="LimitExceeded", message=text)

    def _alive(self) -> int:
        """Count the sessions whose leases have not passed."""
        if not self._owner.begun:
            return 0
        with self._owner.looking() as state:
            now = time.time()
            return sum(state.deadlines.get(session, math.inf) > now for session in state.workers)

    def _stopping(self, command: Command, reply: Reply) -> Reply:
        """Return the reply to a command, which asks a trial to stop that a person stopped."""
        stopped = self._stopped_now and isinstance(command, Heartbeat) and command.lease.session in self._stopped
        if stopped and isinstance(reply, Done) and not reply.stop:
            return Done(stop=PREEMPTED, received=reply.received)
        return reply

    def _own_reply(self, command: Command) -> Reply | None:
        """Return the reply to a command that the study's owner does not decide; None for all others."""
        if isinstance(command, Stop):
            return self._stop(command)
        if isinstance(command, Ask) and command.session in self._stopped:
            # its run ends with this; if it asks again, it is a new run
            self._stopped.discard(command.session)
            return Finished("stopped by a person")
        if isinstance(command, Ask) and self._draining:
            return Wait(_STOPPING)
        return None

    def _stop(self, command: Stop) -> Reply:
        sessions = set(self._owner.state.workers) | {
            ask.session for batch in self._held for ask in batch.asking if isinstance(ask, Ask)
        }
        if not sessions:
            return Refused(error="NotFound", message="there is no run to stop: no worker asks for trials")
        self._stopped = sessions
        self._stopped_now = command.now
        return Done()

    # --- held asks ----------------------------------------------------------------------------------------------

    def _answer_held(self, changed: bool) -> None:
        """Ask again for held asks if their answer may have changed, and answer those whose time is over."""
        some, now = _FIRST_ASKS, self._clock()
        # the leases of silent sessions pass without a command
        again = changed or now >= self._ask_at
        if again:
            self._ask_at = now + self._tick
        while again and self._held:
            asking: list[Batch] = []
            while self._held and len(asking) < some:
                batch = self._held.popleft()
                asking += [] if batch.ended else [batch]
            still = self._ask_again(asking)
            self._held.extendleft(reversed(still))
            if still:
                break
            some *= 2
        while self._ends and (self._draining or self._ends[0][0] <= now):
            batch = heapq.heappop(self._ends)[-1]
            if not batch.ended:
                if self._draining:
                    batch.replies[-1] = Wait(_STOPPING)
                batch.answer()

    def _ask_again(self, asking: Sequence[Batch]) -> list[Batch]:
        """Ask for some held asks, answer those that need not wait any more, and return the others."""
        commands = [batch.asking for batch in asking]
        try:
            replies = iter(self._execute([command for each in commands for command in each]))
        except StorageError as error:
            self._note_refusal(error)
            return list(asking)
        still = []
        for batch, each in zip(asking, commands, strict=True):
            batch.replies[-1] = [next(replies) for _ in each][-1]
            if batch.must_wait:
                still.append(batch)
            else:
                batch.answer()
        return still
