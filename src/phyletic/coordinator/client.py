"""The client: the one door to a study's coordinator, whatever channel leads to it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from phyletic.coordinator.channel import Channel
from phyletic.coordinator.messages import (
    Ancestors,
    Ask,
    Command,
    Control,
    Done,
    Enqueue,
    Fail,
    FailCause,
    Finished,
    Granted,
    Heartbeat,
    Join,
    Leave,
    Pin,
    Refused,
    Reply,
    Stop,
    Tell,
    Wait,
)
from phyletic.records import Lease, Trial
from phyletic.records.encodings import as_unicode


class Client:
    """Speaks to a study's coordinator, and raises what it refuses.

    Args:
        channel: Leads to the coordinator.
        timeout: Seconds to wait for an answer; None sets no limit.
    """

    def __init__(self, channel: Channel, timeout: float | None = None) -> None:
        self._channel = channel
        self._timeout = timeout

    def exchange(self, commands: Sequence[Command]) -> tuple[Reply, ...]:
        """Send commands that are decided in one transaction; returns a reply for each, also the refusals.

        Raises:
            Unreachable: The coordinator did not answer.
        """
        return self._channel.exchange(commands, self._timeout)

    def ask(
        self, session: str, *, slots: int = 1, in_memory: Collection[int] = (), worker: str | None = None
    ) -> Granted | Wait | Finished:
        """Ask for the trials that a session holds, and as many others as it has slots left.

        Args:
            session: Who asks.
            slots: How many trials it may hold, at least 1.
            in_memory: Numbers of the trials whose end states it holds in memory.
            worker: The worker's name, if the session begins with this.
        """
        joining = [] if worker is None else [Join(session=session, worker=worker)]
        reply = self.exchange([*joining, Ask(session=session, slots=slots, in_memory=frozenset(in_memory))])[-1]
        if isinstance(reply, Refused):
            raise reply.exception()
        assert not isinstance(reply, Done)
        return reply

    def tell(self, results: Sequence[Tell]) -> list[Trial]:
        """Tell results in one transaction (idempotent); returns the trials as they are now.

        Raises:
            LeaseLost: An attempt's lease was granted again or has ended; the other results stand.
            TellConflict: An attempt was told already, with another result.
        """
        return [_trial(reply) for reply in self.exchange(results)]

    def fail(self, lease: Lease, error: str, cause: FailCause = "error") -> Trial:
        """Say that an attempt ended without a result (idempotent); returns the trial as it is now.

        Args:
            lease: The attempt.
            error: For the person who reads it.
            cause: As in :class:`~phyletic.coordinator.messages.Fail`.

        Raises:
            LeaseLost: The attempt's lease was granted again or has ended otherwise.
        """
        return _trial(*self.exchange([Fail(lease=lease, error=as_unicode(error), cause=cause)]))

    def heartbeat(self, heartbeat: Heartbeat) -> Done:
        """Say that an attempt is alive; the answer says whether it should stop."""
        return _done(*self.exchange([heartbeat]))

    def leave(self, sessions: Collection[str], reason: str) -> None:
        """Release what sessions hold, uncounted."""
        for reply in self.exchange([Leave(session=session, lost=False, error=reason) for session in sessions]):
            _done(reply)

    def ancestors(self, number: int) -> tuple[int, ...]:
        """Return the numbers of a trial and all its ancestors, the newborn's first."""
        return _done(*self.exchange([Ancestors(trial=number)])).lineage

    def change(self, request: Control | Pin | Enqueue | Stop) -> None:
        """Change the study's control, pin a checkpoint, or stop the run that goes on.

        Raises:
            NotFound: There is no such trial or checkpoint, or no run to stop.
            StorageBusy: The owner did not answer.
        """
        _done(*self.exchange([request]))


def _done(reply: Reply) -> Done:
    if isinstance(reply, Refused):
        raise reply.exception()
    assert isinstance(reply, Done)
    return reply


def _trial(reply: Reply) -> Trial:
    trial = _done(reply).trial
    assert trial is not None
    return trial
