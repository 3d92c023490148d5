"""Ctrl-C, termination and ``Study.stop``, as requests that a run looks at."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, ClassVar

__all__ = ["Interrupts"]


class Interrupts:
    """While it is entered, signals are noted instead of ending the process.

    The first Ctrl-C asks to drain, the second to stop. SIGTERM and SIGHUP ask to hand back what runs. Handlers are set
    in the main thread alone, only for signals that have none of the program's own, and put back at the end. A process
    that the training code forks has the handlers of before.

    Args:
        study: The uuid of the study that runs meanwhile, by which :meth:`request` finds it.
        heed: Called with this object after each request: in a signal handler, or in the thread that asked.
        once: Whether a second signal goes to the handler of before, such as Python's own, which raises
            KeyboardInterrupt.

    Attributes:
        draining: Whether running trials shall end and no other shall begin.
        stopping: Whether everything shall stop now.
        terminated: The signal that asked this process to end; None before.
    """

    entered: ClassVar[list[Interrupts]] = []
    """Those that are entered now, so that a request from elsewhere can do what a signal does."""

    def __init__(
        self, study: str = "", *, heed: Callable[[Interrupts], object] | None = None, once: bool = False
    ) -> None:
        self.study = study
        self.draining = False
        self.stopping = False
        self.terminated: int | None = None
        self._heed = heed
        self._once = once
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number, default in _DEFAULTS.items():
                if signal.getsignal(number) is default:
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
        """Do to a study's run what Ctrl-C does, once or (``now``) twice; return whether there is a run."""
        found = [interrupts for interrupts in cls.entered if interrupts.study == study]
        for interrupts in found:
            interrupts.draining = True
            interrupts.stopping = interrupts.stopping or now
            interrupts._tell()
        return bool(found)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._once:
            signal.signal(number, self._before[number])
        if number == signal.SIGINT:
            self.stopping = self.draining
        else:
            self.terminated = self.terminated or number
        self.draining = True
        self._tell()

    def _tell(self) -> None:
        if self._heed is not None:
            self._heed(self)

    def _leave_to_parent(self) -> None:
        for number, handler in self._before.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, handler)
        self._before.clear()


_DEFAULTS: dict[int, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}


_forking = threading.local()


def _hold() -> None:
    # a signal that came before the child has put the handlers back would be lost: multiprocessing ends its children so
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, tuple(_DEFAULTS) if Interrupts.entered else ())


def _let_go() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _leave_all_to_parent() -> None:
    for interrupts in Interrupts.entered:
        interrupts._leave_to_parent()
    _let_go()


os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_leave_all_to_parent)
