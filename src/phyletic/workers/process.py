"""A local worker's process: ``python -m phyletic.workers.process``, which only an owner starts."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence

from phyletic.coordinator.messages import Ask, Command, Reply, Tell
from phyletic.workers.interrupts import Interrupts
from phyletic.workers.pickling import become_program
from phyletic.workers.wire import TERMINATED, Answers, Request, Setup, receive, send
from phyletic.workers.worker import beat_from_thread, refusal, source_of_trials, training_function, work


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
        with self._speaking, contextlib.suppress(OSError):
            send(self._connection, refusal(error))


def _run(setup: Setup, channel: SocketChannel) -> int:
    train = training_function(setup, channel)
    if train is None:
        return 1
    trials = source_of_trials(setup, channel)

    def hand_back(interrupts: Interrupts) -> None:
        trials.preempt()
        channel.terminate()

    beat_from_thread(trials, setup.beat_seconds)
    with Interrupts(heed=hand_back, once=True):
        status = work(train, trials, channel)
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
