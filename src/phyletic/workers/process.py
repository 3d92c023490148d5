"""A local worker: ``python -m phyletic.workers.process``, which only its owner starts."""

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
from typing import TYPE_CHECKING

from phyletic import errors
from phyletic.coordinator.messages import Ask, Command, Reply, Tell
from phyletic.records.values import as_unicode
from phyletic.workers.interrupts import Interrupts
from phyletic.workers.pickling import become_main, unpack, unpack_text
from phyletic.workers.wire import DISTRUSTED, TERMINATED, Answers, Broken, Request, Setup, receive, send

if TYPE_CHECKING:
    from phyletic.workers.loop import Trials

__all__ = ["SocketChannel", "main"]


class SocketChannel:
    """Reaches the coordinator in the owner's process; safe to use from threads.

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
        """Send commands and wait for the replies; the timeout does not apply, since the owner's end ends this process.

        Raises:
            SystemExit: This process was asked to end while it waited for a trial.
        """
        asks = any(isinstance(command, Ask) for command in commands)
        with self._speaking:
            try:
                send(self._connection, Request(tuple(commands)))
                self._waiting = asks
                if self._waiting and self._terminated:
                    sys.exit(TERMINATED)
                message = receive(self._connection)
            except (EOFError, BrokenPipeError, ConnectionResetError):
                # the owner is gone: training code has nothing to clean up for
                os._exit(1)
            finally:
                self._waiting = False
        assert isinstance(message, Answers)
        self.asked += asks
        self.told += sum(isinstance(command, Tell) for command in commands)
        return message.replies

    def wait(self, seconds: float) -> None:
        """Return at once: the owner answers an Ask when it has an answer other than Wait."""

    def close(self) -> None:
        """Close the socket."""
        self._connection.close()

    def terminate(self) -> None:
        """Ask for no more trials, and end this process if it waits for one; called in a signal handler."""
        self._terminated = True
        if self._waiting:
            sys.exit(TERMINATED)

    def give_up(self, error: BaseException) -> None:
        """Tell the owner that trying again is of no use."""
        kind = next(kind for kind in type(error).__mro__ if getattr(errors, kind.__name__, None) is kind)
        text = "".join(traceback.format_exception(error)).rstrip()
        with self._speaking, contextlib.suppress(OSError):
            send(self._connection, Broken(error=kind.__name__, message=as_unicode(f"{error}\n\n{text}")))


def _beat(trials: Trials, seconds: float) -> None:
    """Send heartbeats from a thread, so that the owner also gets them while the training code is busy."""
    while True:
        time.sleep(seconds)
        trials.beat()


def _work(train: Callable[..., object], trials: Trials, channel: SocketChannel) -> int:
    """Call the training function until there are no more trials.

    After an exception it is called anew, since nothing in memory is trusted. After two exceptions without a result
    between them the process itself is not trusted either (an accelerator's errors stay): it ends with a status that
    says so.
    """
    from phyletic.workers.attempt import worth_another_attempt

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
            error = _counted(raised)
            trials.abort(error)
            if not worth_another_attempt(error):
                channel.give_up(error)
                return 1
            if trials.finished is not None or channel.asked == asked:
                return 1
            if channel.told == failed_at or isinstance(error, MemoryError) or "CUDA error" in str(error):
                return DISTRUSTED
            failed_at = channel.told
            # what the exception's frames hold, such as a model, is not to be in memory beside the next one
            traceback.clear_frames(raised.__traceback__)
            del error
        else:
            trials.close()
            if trials.finished is not None:
                return 0
            if channel.asked == asked:
                channel.give_up(
                    errors.TrainingError(
                        "the training function returned without asking for a trial: it must loop over its argument, "
                        "such as: for trial in trials.attach(build): ..."
                    )
                )
                return 1
        gc.collect()


def _counted(raised: BaseException) -> Exception:
    """Return an error that counts against the trial, since nobody presses Ctrl-C in a worker."""
    if isinstance(raised, Exception):
        return raised
    error = errors.TrialFailed(f"the training code raised {raised!r}")
    error.__cause__ = raised
    return error


def _begin(setup: Setup) -> None:
    """Copy sys.path, argv and the name of ``__main__`` from the owner."""
    sys.path[:] = map(unpack_text, setup.path)
    sys.argv[:] = map(unpack_text, setup.arguments)
    if setup.python_path is None:
        os.environ.pop("PYTHONPATH", None)
    else:
        os.environ["PYTHONPATH"] = unpack_text(setup.python_path)
    become_main(setup.main_name, None if setup.main_file is None else unpack_text(setup.main_file))
    faulthandler.enable()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def _run(setup: Setup, channel: SocketChannel) -> int:
    from phyletic.checkpoints import Checkpoints, blobs_at
    from phyletic.space import Space
    from phyletic.workers.loop import Trials

    try:
        train = unpack(setup.train)
    except Exception as error:
        failed = errors.StudyFailed(f"{setup.worker} could not load the training function: {error!r}")
        failed.__cause__ = error
        channel.give_up(failed)
        return 1
    trials = Trials(
        channel,
        store=Checkpoints(blobs_at(unpack_text(setup.checkpoints))),
        space=Space.from_json(setup.space),
        session=lambda: setup.session,
        reload=setup.reload,
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
    _begin(setup)
    sys.exit(_run(setup, SocketChannel(connection)))


if __name__ == "__main__":
    main()
