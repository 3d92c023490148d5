"""Ctrl-C and termination of the owner of local workers, as requests that its loop looks at."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, ClassVar

__all__ = ["Interrupts"]


class Interrupts:
    """While it is entered, signals are noted instead of ending the process.

    The first Ctrl-C asks to drain, the second to stop. SIGTERM and SIGHUP ask to hand back what runs. Handlers are set
    in the main thread alone, only where nobody else set one, and put back at the end.

    Args:
        study: The uuid of the study that runs meanwhile, by which :meth:`request` finds it.

    Attributes:
        draining: Whether running trials shall end and no other shall begin.
        stopping: Whether everything shall stop now.
        terminated: The signal that asked this process to end; None while there was none.
    """

    entered: ClassVar[list[Interrupts]] = []
    """Those that are entered now, so that a request from elsewhere can do what a signal does."""

    def __init__(self, study: str = "") -> None:
        self.study = study
        self.draining = False
        self.stopping = False
        self.terminated: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                self._before[signal.SIGINT] = signal.signal(signal.SIGINT, self._interrupt)
            for number in (signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) is signal.SIG_DFL:
                    self._before[number] = signal.signal(number, self._terminate)
        Interrupts.entered.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
        if self in Interrupts.entered:
            Interrupts.entered.remove(self)

    @classmethod
    def request(cls, study: str, now: bool) -> bool:
        """Do to a study's run what Ctrl-C does, once or (``now``) twice; returns whether there is one.

        Raises:
            KeyboardInterrupt: Training code runs in this process, and is to stop now.
        """
        found = [interrupts for interrupts in cls.entered if interrupts.study == study]
        for interrupts in found:
            if not interrupts.draining:
                interrupts._interrupt(signal.SIGINT, None)
            if now:
                interrupts._interrupt(signal.SIGINT, None)
        return bool(found)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.stopping = self.draining
        self.draining = True

    def _terminate(self, number: int, frame: FrameType | None) -> None:
        self.terminated = self.terminated or number
        self.draining = True
