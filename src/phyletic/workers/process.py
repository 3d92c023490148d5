"""A local worker's process: ``python -m phyletic.workers.process``, which only an owner starts."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence

from phyletic import errors
from phyletic.checkpoints import Checkpoints, blobs_at
from phyletic.coordinator.messages import Ask, Command, Refused, Reply, Tell
from phyletic.records.encodings import as_unicode
from phyletic.space import Space
from phyletic.workers.attempt import worth_another_attempt
from phyletic.workers.interrupts import Interrupts
from phyletic.workers.loop import Trials
from phyletic.workers.not_a_trial import LOOP
from phyletic.workers.pickling import become_program, unpack
from phyletic.workers.wire import DISTRUSTED, TERMINATED, Answers, Request, Setup, receive, send


class SocketChannel:
    """Reaches the coordinator in the owner's process; several threads may use it.

    Args:
        connection: The worker's end of the socket pair.

    Attributes:
        asked: How many Asks were sent.
        told: How many results were sent.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._speaking = threading.Lock()
        self._waiting = False
        self._terminated = False
        self.asked = 0
        self.told = 0

    def exchange(self, commands: Sequence[Command], timeout: float | None = None) -> tuple[Reply, ...]:
        """Send commands and wait for the replies.

        Args:
            commands: What the owner decides.
            timeout: Ignored: the end of the owner ends this process.

        Raises:
            SystemExit: A signal asked this process to end while it waited for a trial.
        """
        # beside a trial in flight, an ask is answered at once; ended within it, this process could not tell that trial
        asks = any(isinstance(command, Ask) for command in commands)
        waits = any(isinstance(command, Ask) and command.slots == 1 for command in commands)
        with self._speaking:
            try:
                send(self._connection, Request(tuple(commands)))
                self._waiting = waits
                if self._waiting and self._terminated:
                    sys.exit(TERMINATED)
                message = receive(self._connection)
            except (EOFError, BrokenPipeError, ConnectionResetError):
                # the owner is gone, so training code has no reason to clean up
                os._exit(1)
            finally:
                self._waiting = False
            self.asked += asks
            self.told += sum(isinstance(command, Tell) for command in commands)
        assert isinstance(message, Answers)
        return message.replies

    def wait(self, seconds: float) -> None:
        """Return at once: the owner answers an Ask only once it has an answer other than Wait."""

    def close(self) -> None:
        """Close the socket."""
        self._connection.close()

    def terminate(self) -> None:
        """Ask for no more trials, and end this process if it waits for one. Signal handlers call this."""
        self._terminated = True
        if self._waiting:
            sys.exit(TERMINATED)

    def give_up(self, error: BaseException) -> None:
        """Tell the owner about an error that a second try would meet again."""
        kind = next(kind for kind in type(error).__mro__ if getattr(errors, kind.__name__, None) is kind)
        text = "".join(traceback.format_exception(error)).rstrip()
        with self._speaking, contextlib.suppress(OSError):
            send(self._connection, Refused(error=kind.__name__, message=as_unicode(f"{error}\n\n{text}")))


def _beat(trials: Trials, seconds: float) -> None:
    """Send heartbeats from a thread, because the training code may be busy for long."""
    while True:
        time.sleep(seconds)
        trials.beat()


def _work(train: Callable[..., object], trials: Trials, channel: SocketChannel) -> int:
    """Call the training function until there are no more trials.

    After an exception, call it anew, because the loop no longer trusts the state in memory. After two exceptions
    without a result between them, return the status of a process that no longer trusts itself (an accelerator's errors
    stay).

    Args:
        train: The training function.
        trials: The source of trials.
        channel: Reaches the coordinator.
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
            if not worth_another_attempt(error):
                channel.give_up(error)
                return 1
            if trials.finished is not None or channel.asked == asked:
                return 1
            if channel.told == failed_at or isinstance(error, MemoryError) or "CUDA error" in str(error):
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


def _run(setup: Setup, channel: SocketChannel) -> int:
    try:
        train = unpack(setup.train)
    except Exception as error:
        failed = errors.StudyFailed(f"{setup.worker} could not load the training function: {error!r}")
        failed.__cause__ = error
        channel.give_up(failed)
        return 1
    trials = Trials(
        channel,
        store=Checkpoints(blobs_at(os.fsdecode(setup.checkpoints))),
        space=Space.from_json(setup.space),
        session=lambda: setup.session,
        reload=setup.reload,
        upload=setup.upload,
    )

    def hand_back(interrupts: Interrupts) -> None:
        trials.preempt()
        channel.terminate()

    threading.Thread(target=_beat, args=(trials, setup.beat_seconds), name="phyletic heartbeat", daemon=True).start()
    with Interrupts(heed=hand_back, once=True):
        status = _work(train, trials, channel)
    return TERMINATED if trials.draining else status


def main() -> None:
    """Work for the owner that started this process, until it has no more trials."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.set_inheritable(False)
    try:
        setup = receive(connection)
    except EOFError:
        sys.exit(1)
    assert isinstance(setup, Setup)
    become_program(setup.program)
    faulthandler.enable()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.exit(_run(setup, SocketChannel(connection)))


if __name__ == "__main__":
    main()
