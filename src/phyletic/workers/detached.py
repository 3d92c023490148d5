"""Detached sessions: workers whose processes their owner cannot see, so that their leases have a deadline.

The worker and the owner may lose their connection. A worker that cannot renew its lease keeps training, and loses
nothing until the owner grants its trial to another session. Then the lease's fence, not its deadline, refuses the
worker's messages.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from random import Random

from phyletic.backoff import LONGEST, pauses
from phyletic.checkpoints.checkpoints import Checkpoints
from phyletic.coordinator.channel import Channel
from phyletic.coordinator.messages import Ask, Command, Done, Heartbeat, Join, Leave, Reply
from phyletic.coordinator.sessions import HEARTBEATS_PER_LEASE, check_lease_seconds
from phyletic.errors import PhyleticError, Unreachable
from phyletic.evolution.arguments import check_number
from phyletic.space import Space
from phyletic.workers.loop import Trials

_logger = logging.getLogger("phyletic")
"""Seconds between two attempts to send the same commands; the pause doubles from the first to the longest, and is at
most the time between two heartbeats."""


class DetachedChannel:
    """Sends the commands of detached sessions over a channel that fails at times, until the owner answers.

    Sending again is harmless: an ask gives the session its open trial again, and a tell has one effect. A heartbeat
    goes out only once, because the next one says the same. A session joins with each of its asks.

    Args:
        channel: Reaches the coordinator, or raises Unreachable.
        worker: Name of the worker, for sessions that do not join by a name of their own.
        lease_seconds: Seconds that the sessions' leases last without a message from them.
        give_up_after: Seconds without an answer after which :meth:`exchange` raises Unreachable; None tries for ever.
        hurried: Whether somebody waits for the end, so that a failure is raised at once.
        generator: Draws the jitter of the pauses, so that many workers do not come back at the same moment.
        clock: Gives seconds that never run backwards.
        sleep: Waits some seconds.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        worker: str,
        lease_seconds: float,
        give_up_after: float | None = None,
        hurried: Callable[[], bool] = lambda: False,
        generator: Random | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._channel = channel
        self._worker = worker
        self._names: dict[str, str] = {}
        self._lease_seconds = lease_seconds
        self._give_up_after = give_up_after
        self._hurried = hurried
        # not the global generator, which training code seeds
        self._generator = generator or Random()
        self._clock = clock
        self._sleep = sleep
        self._silent_since: float | None = None
        self.renewal_seconds = lease_seconds / HEARTBEATS_PER_LEASE

    def join(self, session: str) -> Join:
        """Return the command by which a session begins, or renews its leases."""
        worker = self._names.get(session, self._worker)
        return Join(session=session, worker=worker, lease_seconds=self._lease_seconds)

    def exchange(self, commands: Sequence[Command], timeout: float | None = None) -> tuple[Reply, ...]:
        """Send commands until the owner answers; see :meth:`Channel.exchange`.

        Args:
            commands: What the owner decides. If all are heartbeats, send them only once.
            timeout: Seconds for each attempt.

        Raises:
            Unreachable: The owner has not answered for ``give_up_after`` seconds.
        """
        sent: list[Command] = []
        own: list[int] = []  # the places of the replies that the caller waits for
        for command in commands:
            if isinstance(command, Ask):
                sent.append(self.join(command.session))
            own.append(len(sent))
            if isinstance(command, Join):
                self._names[command.session] = command.worker
                command = self.join(command.session)
            elif isinstance(command, Leave):
                self._names.pop(command.session, None)
            sent.append(command)
        pause = pauses(self._generator.random, min(LONGEST, self.renewal_seconds))
        while True:
            try:
                replies = self._channel.exchange(sent, timeout)
            except Unreachable as error:
                silent = self._note_silence(error)
                if all(isinstance(command, Heartbeat) for command in commands):
                    return (Done(),) * len(commands)
                if self._hurried():
                    raise
                if self._give_up_after is not None and silent >= self._give_up_after:
                    raise Unreachable(f"the study's owner has not answered for {silent:.0f} s: {error}") from error
            else:
                since, self._silent_since = self._silent_since, None
                if since is not None:
                    text = "%s: the study's owner answers again, after %.0f s of silence"
                    _logger.warning(text, self._worker, self._clock() - since)
                return tuple([replies[place] for place in own])
            self._sleep(next(pause))

    def wait(self, seconds: float) -> None:
        """Wait, but no longer than until the next heartbeat is due."""
        self._channel.wait(min(seconds, self.renewal_seconds))

    def close(self) -> None:
        """Close the channel underneath."""
        self._channel.close()

    def _note_silence(self, error: Unreachable) -> float:
        """Return the seconds since the owner stopped answering, and announce it the first time."""
        now, since = self._clock(), self._silent_since
        if since is None:
            since = self._silent_since = now
            text = "%s: the study's owner cannot be reached (%s); training goes on, results wait for it"
            _logger.warning(text, self._worker, error)
        return now - since


@contextmanager
def detached_source(
    channel: Channel,
    *,
    store: Checkpoints,
    space: Space,
    worker: str,
    lease_seconds: float,
    reload: str = "changed",
    upload: str = "before_tell",
    give_up_after: float | None = None,
) -> Iterator[Trials]:
    """Give a source of trials whose leases have a deadline, and renew them from a thread until the block ends.

    Args:
        channel: Reaches the coordinator, or raises Unreachable.
        store: The owner's checkpoints, or others over the same files.
        space: The study's search space.
        worker: The worker's name.
        lease_seconds: Seconds that its leases last without a message from it; above 0, at most 30 days.
        reload: ``"changed"`` loads only what is not in memory already, ``"always"`` loads for every trial.
        upload: ``"before_tell"`` publishes a trial's checkpoint before anything else, ``"background"`` while the next
            trial trains.
        give_up_after: Seconds without an answer of the owner after which the loop raises Unreachable; None keeps
            trying. The log ``phyletic`` says when the owner stops and begins to answer.

    Raises:
        InvalidArgument: ``reload``, ``upload``, ``lease_seconds`` or ``give_up_after`` is out of range.
    """
    check_lease_seconds(lease_seconds)
    if give_up_after is not None:
        check_number("give_up_after", give_up_after, above=0)
    session = secrets.token_hex(16)
    over = threading.Event()
    detached = DetachedChannel(channel, worker=worker, lease_seconds=lease_seconds, give_up_after=give_up_after)

    def leave(session: str) -> None:
        # if this does not reach the owner, the deadlines pass
        with suppress(Unreachable):
            channel.exchange([Leave(session=session, lost=False, error="its worker left")])

    source = Trials(
        detached,
        store=store,
        space=space,
        session=lambda: session,
        reload=reload,
        upload=upload,
        supervised=False,
        leave=leave,
    )

    def renew() -> None:
        while not over.wait(detached.renewal_seconds):
            # the thread that trains meets the same error, and raises it
            with suppress(PhyleticError):
                source.beat()

    thread = threading.Thread(target=renew, name=f"renewing the leases of {worker}", daemon=True)
    thread.start()
    try:
        yield source
    finally:
        try:
            source.finish_upload()
        finally:
            over.set()
            thread.join()
            leave(session)
