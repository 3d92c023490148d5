"""A detached session: a worker that its owner cannot look at, and which renews its leases with what it says.

It may lose sight of the owner and the owner of it. A worker that cannot renew keeps training: nothing is lost before
its trial is granted to another, and then the fence of its lease, not its clock, refuses what it says.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from phyletic.checkpoints.checkpoints import Checkpoints
from phyletic.coordinator.messages import Ask, Command, Done, Heartbeat, Join, Leave, Reply
from phyletic.coordinator.sessions import HEARTBEATS_PER_LEASE, check_lease_seconds
from phyletic.errors import PhyleticError
from phyletic.space import Space
from phyletic.workers.channel import Channel
from phyletic.workers.loop import Trials

__all__ = ["DetachedChannel", "detached_source"]


class DetachedChannel:
    """Carries a detached session's commands over a channel that fails at times.

    Everything is said again until it is answered, which is harmless: an ask gives the session's open trial again, and a
    tell has one effect. Only a sign of life is not said again: a later one says the same.

    Args:
        channel: Reaches the coordinator; raises ConnectionError where it does not.
        session: Identity of this incarnation of the worker.
        worker: Its name.
        lease_seconds: How long its leases last without a word from it.
        sleep: Waits some seconds before something is said again.
    """

    def __init__(
        self, channel: Channel, *, session: str, worker: str, lease_seconds: float, sleep: Callable[[float], object]
    ) -> None:
        self._channel = channel
        self._join = Join(session=session, worker=worker, lease_seconds=lease_seconds)
        self._sleep = sleep
        self.renewal_seconds = lease_seconds / HEARTBEATS_PER_LEASE

    def exchange(self, commands: Sequence[Command]) -> tuple[Reply, ...]:
        """Send commands until they are answered; returns a reply for each."""
        joining = [self._join] if any(isinstance(command, Ask) for command in commands) else []
        while True:
            try:
                return self._channel.exchange([*joining, *commands])[len(joining) :]
            except ConnectionError:
                if all(isinstance(command, Heartbeat) for command in commands):
                    return (Done(),) * len(commands)
                self._sleep(self.renewal_seconds)

    def wait(self, seconds: float) -> None:
        """Wait, but no longer than until the next word is due."""
        self._channel.wait(min(seconds, self.renewal_seconds))


@contextmanager
def detached_source(
    channel: Channel,
    *,
    store: Checkpoints,
    space: Space,
    worker: str,
    lease_seconds: float,
    reload: str = "changed",
) -> Iterator[Trials]:
    """Give a source of trials whose leases have a deadline, and renew them from a thread for the length of the block.

    Args:
        channel: Reaches the coordinator; raises ConnectionError where it does not.
        store: Where checkpoints are; the owner's own, or one that sees the same files.
        space: The study's search space.
        worker: The worker's name.
        lease_seconds: How long its leases last without a word from it; above 0, at most 30 days.
        reload: ``"changed"`` loads only what is not in memory already, ``"always"`` loads for every trial.

    Raises:
        InvalidArgument: ``reload`` or ``lease_seconds`` is out of range.
    """
    check_lease_seconds(lease_seconds)
    session = secrets.token_hex(16)
    over = threading.Event()
    detached = DetachedChannel(
        channel, session=session, worker=worker, lease_seconds=lease_seconds, sleep=threading.Event().wait
    )

    def leave() -> None:
        # where it does not arrive, the deadlines pass
        with suppress(ConnectionError):
            channel.exchange([Leave(session=session, lost=False, error="its worker left")])

    source = Trials(detached, store=store, space=space, session=session, reload=reload, supervised=False, ended=leave)

    def renew() -> None:
        while not over.wait(detached.renewal_seconds):
            # what is wrong is met by the thread that trains, too
            with suppress(PhyleticError):
                source.beat()

    thread = threading.Thread(target=renew, name=f"renewing the leases of {worker}", daemon=True)
    thread.start()
    try:
        yield source
    finally:
        over.set()
        thread.join()
        leave()
