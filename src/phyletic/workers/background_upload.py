"""The upload of a trial's checkpoint while its worker trains another trial."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import msgspec

from phyletic.coordinator.messages import Ask, Command, Granted, Refused, Reply, Tell
from phyletic.errors import StoreUnreachable
from phyletic.records import CheckpointReference
from phyletic.workers.attempt import Attempt

UPLOADS = ("before_tell", "background")
"""When a worker publishes a trial's checkpoint: before it does anything else, or while it trains another trial."""
_ASK_AGAIN_SECONDS = 0.25
_TELL_SECONDS = 1.0


class BackgroundUpload:
    """Publishes one checkpoint at a time in a thread of its own, and tells the trial's result once it is durable.

    The trial in flight stays with the session until then. An ask that is sent meanwhile counts on that, so it holds
    the lock :attr:`asking`, and the thread tells nothing while it waits for the answer.

    Args:
        exchange: Sends commands to the coordinator, and returns its replies.
        fail: Fails an attempt whose checkpoint could not be published; returns whether the session still held it.

    Attributes:
        asking: Held during an ask, and by the thread while it tells.
        attempt: The attempt in flight; None if its end was told, or nothing is uploaded.
        told: Number of the trial in flight before, once it was told; None if the session had lost it.
        error: Why an upload failed, which the worker's own thread raises; None if the session had lost the trial, whose
            files may have been deleted meanwhile.
    """

    def __init__(
        self,
        exchange: Callable[[Sequence[Command]], Sequence[Reply]],
        fail: Callable[[Attempt, BaseException], bool],
    ) -> None:
        self._exchange = exchange
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
                    self._tell(attempt, result)
                else:
                    held = self._fail(attempt, failed)
                    # a store that does not answer is no error of this worker's: its trial was given back
                    if not isinstance(failed, Exception) or (held and not isinstance(failed, StoreUnreachable)):
                        self.error = failed
            except BaseException as error:
                self.error = error
            finally:
                self.attempt = None

    def _tell(self, attempt: Attempt, result: Tell) -> None:
        """Tell a result; raise its refusal unless the session had lost the trial.

        Args:
            attempt: The attempt at the trial.
            result: The result.
        """
        reply = self._exchange([result])[0]
        if not isinstance(reply, Refused):
            self.told = attempt.record.number
        elif reply.error != "LeaseLost":
            raise reply.exception()

    def ask(self, command: Callable[[int], Ask]) -> Reply | None:
        """Ask for a trial beside the one in flight; if there is no other yet, wait a moment and return None.

        Args:
            command: Returns the ask for some slots.
        """
        with self.asking:
            uploading = self.attempt
            answer = self._exchange([command(1 if uploading is None else 2)])[0]
        if uploading is None or not isinstance(answer, Granted):
            return answer
        others = tuple(grant for grant in answer.grants if grant.lease != uploading.grant.lease)
        if others:
            return Granted(grants=others, rest=answer.rest)
        self.wait(_ASK_AGAIN_SECONDS)
        return None

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
            # a thread that tells right now is about to end, unless it cannot reach its coordinator
            done = self.asking.acquire(timeout=_TELL_SECONDS)
            self.attempt = self._thread = None
            if done:
                self.asking.release()

    def raise_error(self) -> None:
        """Raise the error of an upload that failed, once."""
        error, self.error = self.error, None
        if error is not None:
            raise error
