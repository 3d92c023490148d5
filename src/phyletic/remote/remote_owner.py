"""The owner of a study on a server, as a study object of this process has it.

Commands go to the server until it answers. What is read comes from a copy of the study. Every session of this process
has leases with a deadline, which a thread renews while they last.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from phyletic.checkpoints.checkpoints import Checkpoints
from phyletic.coordinator.channel import Channel
from phyletic.coordinator.feed import Feed
from phyletic.coordinator.loading import load
from phyletic.coordinator.messages import Ask, Command, Done, Fail, Granted, Leave, Refused, Reply, Tell
from phyletic.coordinator.sessions import check_lease_seconds
from phyletic.coordinator.state import StudyState
from phyletic.errors import NotFound, PhyleticError, Unreachable
from phyletic.evolution import Algorithm
from phyletic.evolution.arguments import check_number
from phyletic.records import StudyChange, StudyIdentity
from phyletic.remote.connection import Connection
from phyletic.remote.replica import Replica
from phyletic.remote.server_channel import ServerChannel
from phyletic.space import Space
from phyletic.storage import queries
from phyletic.workers.detached import DetachedChannel
from phyletic.workers.interrupts import Interrupts

LEASE_SECONDS = 120.0
LONGEST_HOLD = 25.0
"""Seconds for which a server may hold an ask that must wait."""
_PAUSE_SECONDS = 0.1
_LOOK_SECONDS = 0.5
"""Seconds after which a run looks for what others have committed."""


class RemoteOwner:
    """Sends a study's commands to its server; implements :class:`phyletic.coordinator.ownership.Ownership`.

    Args:
        connection: The server.
        identity: The study's identity.
        space: Its search space.
        algorithm: Its algorithm.
        checkpoints: Its checkpoints, as this machine reaches them.
        replica: The copy that is read.
    """

    inbox = None

    def __init__(
        self,
        connection: Connection,
        identity: StudyIdentity,
        *,
        space: Space,
        algorithm: Algorithm,
        checkpoints: Checkpoints,
        replica: Replica,
    ) -> None:
        self.database = replica
        self.checkpoints = checkpoints
        self.feed = Feed()
        self.begun = False
        self._connection = connection
        self._identity = identity
        self._space = space
        self._algorithm = algorithm
        self._process = os.getpid()
        self._users: set[int] = set()
        self._held: dict[str, set[int]] = {}
        self._lock = threading.Lock()
        self._renewing = False
        self._known = -1
        self._looked = 0.0
        self._direct = ServerChannel(connection, identity.name, following=self)
        self._seen: StudyState | None = None
        self.keep_trying()

    def keep_trying(self, *, lease_seconds: float | None = None, give_up_after: float | None = None) -> None:
        """Say how long leases last, and for how long commands are sent again to a server that does not answer.

        Args:
            lease_seconds: Seconds that leases last without a message; None for 120.
            give_up_after: Seconds without an answer after which a command raises Unreachable; None tries for ever.

        Raises:
            InvalidArgument: One of them is out of range.
        """
        seconds = LEASE_SECONDS if lease_seconds is None else lease_seconds
        check_lease_seconds(seconds)
        if give_up_after is not None:
            check_number("give_up_after", give_up_after, above=0)
        self._channel, self._patient = (
            DetachedChannel(
                ServerChannel(
                    self._connection, self._identity.name, hold=hold, interrupted=self._draining, following=self
                ),
                worker=f"{socket.gethostname()}:{os.getpid()}"[:200],
                lease_seconds=seconds,
                give_up_after=give_up_after,
                hurried=self._hurried,
            )
            for hold in (0.0, LONGEST_HOLD)
        )

    def _draining(self) -> bool:
        return any(one.draining for one in Interrupts.entered if one.study == self._identity.uuid)

    def _hurried(self) -> bool:
        entered = [one for one in Interrupts.entered if one.study == self._identity.uuid]
        return any(one.stopping or one.terminated is not None for one in entered)

    @property
    def forked(self) -> bool:
        """Whether this is a process that was forked since."""
        return os.getpid() != self._process

    @property
    def state(self) -> StudyState:
        """The study's state as it is stored, without what running attempts have reported."""
        with self.database.read() as reader:
            stored = queries.load_study(reader, self._identity.name)
            if stored is None:
                raise NotFound(f"there is no study {self._identity.name!r} in {self.database.location} any more")
            if not self.feed.followed:
                self._known = stored.counters.sequence
            return load(reader, stored, self._space, self._algorithm).state

    @contextmanager
    def looking(self) -> Iterator[StudyState]:
        """Give the study's state; while the server does not answer, the latest that is known."""
        try:
            self._seen = self.state
        except Unreachable:
            if self._seen is None:
                raise
        yield self._seen

    def begin(self) -> None:
        """Note that commands follow: the server owns the study."""
        self.begun = True

    def adopt(self, algorithm: Algorithm) -> None:
        """Do nothing: the server decides, by the functions of its own configuration."""

    def execute(self, commands: Sequence[Command]) -> tuple[Reply, ...]:
        """Have commands decided by the server.

        Raises:
            Unreachable: It has not answered for ``give_up_after`` seconds, or somebody waits for the end of a run.
        """
        return self._execute(commands, self._channel)

    def loop_channel(self) -> Channel:
        """Return the channel for a loop of this process; the server holds its asks while it has no trial."""
        return _LoopChannel(self)

    def execute_held(self, commands: Sequence[Command]) -> tuple[Reply, ...]:
        """Have commands decided; an ask that must wait is answered once there is something to say."""
        return self._execute(commands, self._patient)

    def _execute(self, commands: Sequence[Command], channel: Channel) -> tuple[Reply, ...]:
        self.begun = True
        # what a finalizer wants done would meet locks that this thread holds
        with self._connection.deferred.calling():
            if all(isinstance(command, Leave) for command in commands):
                self._forget(commands)
                replies: tuple[Reply, ...] = (Done(),) * len(commands)
                # if this does not reach the server, the deadlines pass
                with suppress(Unreachable):
                    replies = self._direct.exchange(commands)
            else:
                replies = channel.exchange(commands)
                self._note(commands, replies)
        self.feed.deliver()
        return replies

    def wait(self, seconds: float) -> None:
        """Wait some seconds, then hand on what was committed meanwhile."""
        time.sleep(seconds)
        if time.monotonic() - self._looked >= _LOOK_SECONDS:
            self._look()

    def use(self, user: int) -> None:
        """Note that a user has sessions here, until :meth:`release`."""
        self._users.add(user)

    def release(self, user: int) -> None:
        """Renew no lease any more if no other user has sessions here."""
        self._users.discard(user)
        if not self._users:
            self.begun = False
            with self._lock:
                self._held.clear()

    def defer(self, function: Callable[[], object]) -> None:
        """Call a function once no call to the server is in the way."""
        self._connection.deferred.defer(function)

    # --- the feed -----------------------------------------------------------------------------------------------

    def since(self) -> int | None:
        """Return the sequence number until which followers know the study; None while there are none."""
        return self._known if self.feed.followed else None

    def take(self, changes: Sequence[StudyChange], missed: bool) -> None:
        """Hand the committed changes to followers, each once.

        Args:
            changes: The changes, in order.
            missed: Whether some are not among them; then the copy of the study has them.
        """
        with self._lock:
            if missed:
                with suppress(Unreachable), self.database.read() as reader:
                    stored = queries.load_study(reader, self._identity.name)
                    if stored is not None:
                        changes = queries.study_changes(reader, stored.id, since=self._known, limit=10_000)
            new = [change for change in changes if change.sequence > self._known]
            if new:
                self._known = new[-1].sequence
                self.feed.publish(new)

    def _look(self) -> None:
        """Hand on what others have committed."""
        self._looked = time.monotonic()
        if self.feed.followed:
            with suppress(Unreachable), self._connection.deferred.calling():
                self._direct.exchange([])
            self.feed.deliver()

    # --- leases -------------------------------------------------------------------------------------------------

    def _note(self, commands: Sequence[Command], replies: Sequence[Reply]) -> None:
        """Note which leases this process holds, and have them renewed."""
        with self._lock:
            for command, reply in zip(commands, replies, strict=True):
                match command, reply:
                    case Ask(session=session), Granted(grants=grants):
                        self._held.setdefault(session, set()).update(grant.trial.number for grant in grants)
                    case ((Tell(lease=lease) | Fail(lease=lease)), (Done() | Refused())):
                        self._held.get(lease.session, set()).discard(lease.trial)
            if any(self._held.values()) and not self._renewing and not self.forked:
                self._renewing = True
                threading.Thread(
                    target=_renew, args=(weakref.ref(self),), name="phyletic renewing leases", daemon=True
                ).start()
        self._forget(commands)

    def _forget(self, commands: Sequence[Command]) -> None:
        with self._lock:
            for command in commands:
                if isinstance(command, Leave):
                    self._held.pop(command.session, None)

    def renew(self) -> float | None:
        """Renew all leases; return the seconds until they must be renewed again, or None if no lease is held."""
        with self._connection.deferred.calling(), self._lock:
            sessions = [session for session, trials in self._held.items() if trials]
            self._renewing = bool(sessions)
        if not sessions:
            return None
        # the next renewal says the same
        with suppress(PhyleticError):
            self._direct.exchange([self._channel.join(session) for session in sessions])
        return self._channel.renewal_seconds


class _LoopChannel:
    """The channel of a loop; implements :class:`phyletic.coordinator.channel.Channel`.

    Args:
        owner: Reaches the server.
    """

    def __init__(self, owner: RemoteOwner) -> None:
        self._owner = owner

    def exchange(self, commands: Sequence[Command], timeout: float | None = None) -> tuple[Reply, ...]:
        """Send commands; the usual deadlines apply."""
        return self._owner.execute_held(commands)

    def wait(self, seconds: float) -> None:
        """Wait a moment: the server held the ask, unless it is stopping."""
        time.sleep(min(seconds, _PAUSE_SECONDS))

    def close(self) -> None:
        """Do nothing: the connection belongs to the study."""


def _renew(owner: weakref.ref[RemoteOwner]) -> None:
    """Renew the leases of an owner until it holds none."""
    while (here := owner()) is not None:
        seconds = here.renew()
        del here
        if seconds is None:
            return
        time.sleep(seconds)
