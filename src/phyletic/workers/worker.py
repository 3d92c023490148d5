"""What a worker does, wherever its process runs: unpack the training code, loop over trials, send heartbeats."""

from __future__ import annotations

import gc
import os
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from phyletic import errors
from phyletic.checkpoints import Checkpoints, blobs_at
from phyletic.coordinator.channel import Channel
from phyletic.coordinator.messages import Refused
from phyletic.records.encodings import as_unicode
from phyletic.space import Space
from phyletic.workers.attempt import worth_another_attempt
from phyletic.workers.loop import Trials
from phyletic.workers.not_a_trial import LOOP
from phyletic.workers.pickling import unpack
from phyletic.workers.trial_result import MakeResult, result_of
from phyletic.workers.wire import DISTRUSTED, TERMINATED, Setup


class WorkerChannel(Channel, Protocol):
    """Reaches the coordinator in the owner's process; several threads may use it.

    Attributes:
        asked: How many Asks were sent.
        told: How many results were sent.
    """

    asked: int
    told: int

    def give_up(self, error: BaseException) -> None:
        """Tell the owner about an error that a second try would meet again."""


def refusal(error: BaseException) -> Refused:
    """Return the message that tells the owner about an error, with its traceback."""
    kind = next((kind for kind in type(error).__mro__ if getattr(errors, kind.__name__, None) is kind), None)
    text = "".join(traceback.format_exception(error)).rstrip()
    name = errors.StudyFailed.__name__ if kind is None else kind.__name__
    return Refused(error=name, message=as_unicode(f"{error}\n\n{text}"))


def training_function(setup: Setup, channel: WorkerChannel) -> Callable[..., object] | None:
    """Unpack the training function; if that fails, tell the owner and return None."""
    try:
        return unpack(setup.train)
    except Exception as error:
        failed = errors.StudyFailed(f"{setup.worker} could not load the training function: {error!r}")
        failed.__cause__ = error
        channel.give_up(failed)
        return None


def source_of_trials(
    setup: Setup,
    channel: WorkerChannel,
    *,
    scratch: Callable[[str], Path] | None = None,
    result: MakeResult = result_of,
    checks: Callable[[int], Callable[[str], str]] | None = None,
) -> Trials:
    """Return a worker's source of trials.

    Args:
        setup: What the owner sent.
        channel: Reaches the coordinator.
        scratch: As for :class:`Trials`.
        result: As for :class:`Trials`.
        checks: As for :class:`Trials`.
    """
    return Trials(
        channel,
        store=Checkpoints(blobs_at(os.fsdecode(setup.checkpoints))),
        space=Space.from_json(setup.space),
        session=lambda: setup.session,
        reload=setup.reload,
        upload=setup.upload,
        result=result,
        checks=checks,
        scratch=scratch,
    )


def beat_from_thread(trials: Trials, seconds: float) -> None:
    """Send heartbeats from a thread until the process ends, because the training code may be busy for long."""

    def beat() -> None:
        while True:
            time.sleep(seconds)
            trials.beat()

    threading.Thread(target=beat, name="phyletic heartbeat", daemon=True).start()


def work(
    train: Callable[..., object],
    trials: Trials,
    channel: WorkerChannel,
    *,
    early_error_ends: bool = False,
    again: bool = True,
) -> int:
    """Call the training function until there are no more trials, and return the exit status of the worker.

    After an exception, call it anew, because the loop no longer trusts the state in memory. After two exceptions
    without a result between them, return the status of a process that no longer trusts itself (an accelerator's errors
    stay).

    Args:
        train: The training function.
        trials: The source of trials.
        channel: Reaches the coordinator.
        early_error_ends: Whether an exception before this worker's first trial ends the run, and not only the worker.
        again: Whether the function may be called anew in this process after an exception.
    """
    failed_at = -1
    while True:
        asked = channel.asked
        try:
            train(trials)
        except BaseException as raised:
            ended = trials.draining and isinstance(raised, SystemExit) and raised.code == TERMINATED
            if trials.forked or ended:
                raise
            traceback.print_exc()
            error: BaseException = raised
            if not isinstance(raised, Exception):
                # no person presses Ctrl-C in a worker, so this counts against the trial
                error = errors.TrialFailed(f"the training code raised {raised!r}")
                error.__cause__ = raised
            trials.abort(error)
            if not worth_another_attempt(error) or (early_error_ends and channel.asked == 0):
                channel.give_up(error)
                return 1
            if trials.finished is not None or channel.asked == asked:
                return 1
            if not again or channel.told == failed_at or isinstance(error, MemoryError) or "CUDA error" in str(error):
                return DISTRUSTED
            failed_at = channel.told
            # free the objects in the exception's frames, such as a model, before the next one is built
            traceback.clear_frames(raised.__traceback__)
            del error
        else:
            trials.close()
            if trials.finished is not None:
                return 0
            if channel.asked == asked:
                channel.give_up(
                    errors.TrainingError(
                        f"the training function returned without asking for a trial, but it gets {LOOP}"
                    )
                )
                return 1
        gc.collect()
