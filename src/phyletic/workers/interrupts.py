"""Ctrl-C, termination and ``Study.stop``, as requests that a run looks at."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, ClassVar


class SignalExit(SystemExit):
    """A signal ends this process, with the exit status that a shell reports: 128 and the signal's number.

    Args:
        number: The signal.
        finished: Whether the study that ran meanwhile is finished.
    """

    def __init__(self, number: int, finished: bool = False) -> None:
        super().__init__(128 + number)
        self.number, self.finished = number, finished


def leave(number: int, frame: FrameType | None) -> None:
    """Handle a signal by SignalExit, so that this process can still do something before it ends."""
    raise SignalExit(number)


@contextmanager
def leaving_on(*numbers: int) -> Iterator[None]:
    """Within the block, have some signals end this process by SignalExit; a run takes them for requests.

    Only the main thread sets handlers, and only for signals for which the program has none of its own.

    Args:
        *numbers: The signals.
    """
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in numbers:
            if signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_TAKEN: dict[int, tuple[Any, ...]] = {
    signal.SIGINT: (signal.default_int_handler,),
    signal.SIGTERM: (signal.SIG_DFL, leave),
    signal.SIGHUP: (signal.SIG_DFL,),
    # programs use it for their own ends, so only `leaving_on` makes it a request
    signal.SIGUSR1: (leave,),
}
"""By signal: the handlers in whose place a run puts its own."""


class Interrupts:
    """While a block has entered it, note signals instead of ending the process.

    The first Ctrl-C asks to drain, the second to stop. SIGTERM and SIGHUP ask to hand back the running trials, and so
    does SIGUSR1 within :func:`leaving_on`. Only the main thread sets handlers, only for signals for which the program
    has none of its own, and the end of the block restores them. A process that the training code forks has the earlier
    handlers, or the system's in place of :func:`leave`.

    Args:
        study: The uuid of the study that runs meanwhile, by which :meth:`request` finds this object.
        heed: Called with this object after each request: in a signal handler, or in the thread that asked.
        once: Whether a second signal goes to the earlier handler, such as Python's own, which raises
            KeyboardInterrupt.

    Attributes:
        draining: Whether the run should finish the running trials and begin no other.
        stopping: Whether everything should stop now.
        terminated: The signal that asked this process to end; None before.
        signalled: The first signal that came; None before, and after requests alone.
    """

    entered: ClassVar[list[Interrupts]] = []
    """The objects that a block has entered, so that a request from elsewhere can do what a signal does."""

    def __init__(
        self, study: str = "", *, heed: Callable[[Interrupts], object] = lambda interrupts: None, once: bool = False
    ) -> None:
        self.study = study
        self.draining = False
        self.stopping = False
        self.terminated: int | None = None
        self.signalled: int | None = None
        self.heed = heed
        self._once = once
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number, taken in _TAKEN.items():
                handler = signal.getsignal(number)
                if handler in taken or _is_of_ray(handler):
                    self._before[number] = signal.signal(number, self._handle)
        Interrupts.entered.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        Interrupts.entered.remove(self)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    @classmethod
    def request(cls, study: str, now: bool) -> bool:
        """Do to a study's run what Ctrl-C does, once or (``now``) twice; return whether the study has a run."""
        found = [interrupts for interrupts in cls.entered if interrupts.study == study]
        for interrupts in found:
            interrupts.draining = True
            interrupts.stopping = interrupts.stopping or now
            interrupts.heed(interrupts)
        return bool(found)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._once:
            signal.signal(number, self._before[number])
        self.signalled = self.signalled or number
        if number == signal.SIGINT:
            self.stopping = self.draining
        else:
            self.terminated = self.terminated or number
        self.draining = True
        self.heed(self)


def _is_of_ray(handler: object) -> bool:
    """Whether ``ray.init`` set a handler: it ends the process, so no trial would be handed back."""
    return str(getattr(handler, "__module__", "")).startswith("ray._private.")


_forking = threading.local()


def _hold_signals() -> None:
    # a child would lose a signal that comes before it has the earlier handlers, and multiprocessing ends children so
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, tuple(_TAKEN) if Interrupts.entered else ())


def _release_signals() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _restore_in_child() -> None:
    for interrupts in Interrupts.entered:
        for number, handler in interrupts._before.items():
            if signal.getsignal(number) == interrupts._handle:
                signal.signal(number, signal.SIG_DFL if handler is leave else handler)
        interrupts._before.clear()
    _release_signals()


os.register_at_fork(before=_hold_signals, after_in_parent=_release_signals, after_in_child=_restore_in_child)
