"""The upload of a trial's checkpoint while its worker trains another trial."""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec

from phyletic.coordinator.messages import Granted, Reply, Tell
from phyletic.records import CheckpointReference
from phyletic.workers.attempt import Attempt

UPLOADS = ("before_tell", "background")
"""When a worker publishes a trial's checkpoint: before it does anything else, or while it trains another trial."""


class BackgroundUpload:
    """Publishes one checkpoint at a time in a thread of its own, and tells the trial's result once it is durable.

    The trial in flight stays with the session until then. An ask that is sent meanwhile counts on that, so it holds
    the lock :attr:`asking`, and the thread tells nothing while it waits for the answer.

    Args:
        tell: Tells a result; returns whether the session still held the trial, and raises any other refusal.
        fail: Fails an attempt whose checkpoint could not be published; returns whether the session still held it.

    Attributes:
        asking: Held during an ask, and by the thread while it tells.
        attempt: The attempt in flight; None if its end was told, or nothing is uploaded.
        told: Number of the trial in flight before, once it was told; None if the session had lost it.
        error: Why an upload failed, which the worker's own thread raises; None if the session had lost the trial, whose
            files may have been deleted meanwhile.
    """

    def __init__(self, tell: Callable[[Tell], bool], fail: Callable[[Attempt, BaseException], bool]) -> None:
        self._tell = tell
        self._fail = fail
        self._thread: threading.Thread | None = None
        self.asking = threading.Lock()
        self.attempt: Attempt | None = None
        self.told: int | None = None
        self.error: BaseException | None = None

    def start(self, attempt: Attempt, result: Tell, publish: Callable[[], CheckpointReference]) -> None:
        """Publish a trial's checkpoint in a thread, and tell its result; the upload before it must have ended.

        Args:
            attempt: The attempt at the trial.
            result: Its result, without the checkpoint.
            publish: Publishes the checkpoint.
        """
        self.attempt, self.told = attempt, None
        # a daemon, because a process that is asked to stop now does not wait for a slow store
        self._thread = threading.Thread(
            target=self._run, args=(attempt, result, publish), name="phyletic upload", daemon=True
        )
        self._thread.start()

    def _run(self, attempt: Attempt, result: Tell, publish: Callable[[], CheckpointReference]) -> None:
        failed: BaseException | None = None
        try:
            result = msgspec.structs.replace(result, checkpoint=publish())
        except BaseException as error:
            failed = error
        with self.asking:
            if self.attempt is not attempt:
                return  # abandoned
            try:
                if failed is None:
                    self.told = attempt.record.number if self._tell(result) else None
                elif self._fail(attempt, failed) or not isinstance(failed, Exception):
                    self.error = failed
            except BaseException as error:
                self.error = error
            finally:
                self.attempt = None

    def wait(self, seconds: float | None = None) -> None:
        """Wait until the upload has ended and its trial was told, or for some seconds; Ctrl-C meanwhile abandons it."""
        if self._thread is None:
            return
        try:
            self._thread.join(seconds)
        except KeyboardInterrupt:
            self.abandon()
            raise
        if not self._thread.is_alive():
            self._thread = None

    def abandon(self) -> None:
        """Let the thread tell nothing any more, because its session is about to end."""
        if self.attempt is not None:
            with self.asking:
                self.attempt = self._thread = None

    def raise_error(self) -> None:
        """Raise the error of an upload that failed, once."""
        error, self.error = self.error, None
        if error is not None:
            raise error


def beside(answer: Reply, uploading: Attempt | None) -> Reply | None:
    """Return the answer to an ask without the trial in flight, which the session holds; None if it has no other.

    Args:
        answer: What the coordinator answered.
        uploading: The attempt in flight; None if there was none.
    """
    if uploading is None or not isinstance(answer, Granted):
        return answer
    others = tuple(grant for grant in answer.grants if grant.lease != uploading.grant.lease)
    return Granted(grants=others, rest=answer.rest) if others else None
