"""The connection to a server, whatever it speaks: what studies of this process ask of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import msgspec

from phyletic.coordinator.messages import Command, Control, Enqueue, Pin, Reply, Stop
from phyletic.records import StudyChange, StudyIdentity
from phyletic.remote.deferred_calls import DeferredCalls
from phyletic.storage.changes import StoredStudy
from phyletic.storage.mirror import StudyRows


class Found(msgspec.Struct, frozen=True):
    """A study of a server.

    Attributes:
        stored: The study's row.
        checkpoints: Address of its checkpoints, as the server sees it.
    """

    stored: StoredStudy
    checkpoints: str


class Following(Protocol):
    """Follows the changes of a study, which the replies to exchanges bring along."""

    def since(self) -> int | None:
        """Return the sequence number that is known; None if nothing is to be followed."""

    def take(self, changes: Sequence[StudyChange], missed: bool) -> None:
        """Take what was committed after it.

        Args:
            changes: The changes, in order.
            missed: Whether some are not among them.
        """


class Connection(Protocol):
    """A server; safe to use from several threads. A call that fails raises Unreachable or the server's typed error."""

    @property
    def url(self) -> str:
        """Where the server is."""

    @property
    def deferred(self) -> DeferredCalls:
        """Does what finalizers want done between calls."""

    def version(self) -> str:
        """Return the version of phyletic that the server runs."""

    def http_url(self) -> str | None:
        """Return where the server answers over HTTP; None if it does not."""

    def create(self, identity: StudyIdentity, control: Control) -> Found:
        """Create a study, or return the one of that name; raises StudyMismatch if it has another identity."""

    def study(self, name: str) -> Found | None:
        """Return a study; None if the server has none of that name."""

    def studies(self) -> list[StudyIdentity]:
        """Return the identities of all studies."""

    def exchange(
        self,
        study: str,
        commands: Sequence[Command],
        *,
        hold: float = 0.0,
        timeout: float | None = None,
        interrupted: Callable[[], bool] = lambda: False,
        following: Following | None = None,
    ) -> tuple[Reply, ...]:
        """Have commands of sessions decided; see :meth:`Channel.exchange`.

        Args:
            study: The study.
            commands: What to decide.
            hold: Seconds for which an ask that must wait may be held.
            timeout: Seconds to wait for the replies, beside ``hold``; None for the usual ones.
            interrupted: Looked at while an ask is held; once it is true, the commands are sent again and not held.
            following: Takes what is committed until the reply.
        """

    def control(self, study: str, command: Control | Pin | Enqueue | Stop) -> Reply:
        """Have a change of a study's control decided."""

    def rows(
        self, study: str, since: int, *, after_trial: int | None = None, after_event: int | None = None
    ) -> StudyRows:
        """Return a page of what was written to a study; see :func:`phyletic.storage.mirror.rows_since`.

        Args:
            study: The study.
            since: What was written later than this sequence number; -1 for all.
            after_trial: Number of the last trial of the page before.
            after_event: Sequence number of its last event.
        """

    def watch(self, study: str, since: int = -1) -> Iterator[StudyChange]:
        """Yield what is committed after a sequence number, as it happens, until the iterator is closed."""
