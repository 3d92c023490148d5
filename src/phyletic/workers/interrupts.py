"""Ctrl-C and termination of the owner of local workers, as requests that its loop looks at."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from collections.abc import Mapping
from types import FrameType, TracebackType
from typing import Any, ClassVar

__all__ = ["Interrupts", "ThreadInterrupt", "let_forked_children_end"]

_AGAIN = 20
_AGAIN_SECONDS = 0.05


class Interrupts:
    """While it is entered, signals are noted instead of ending the process.

    The first Ctrl-C asks to drain, the second to stop. SIGTERM and SIGHUP ask to hand back what runs. Handlers are set
    in the main thread alone, only where nobody else set one, and put back at the end. Forked children have none.

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
        let_forked_children_end(self._before)
        Interrupts.entered.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
            _in_children.pop(number, None)
        self._before.clear()
        if self in Interrupts.entered:
            Interrupts.entered.remove(self)

    @classmethod
    def request(cls, study: str, now: bool) -> bool:
        """Do to a study's run what Ctrl-C does, once or (``now``) twice; returns whether there is one.

        Raises:
            KeyboardInterrupt: Training code runs in this thread, and is to stop now.
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


class ThreadInterrupt:
    """Raises KeyboardInterrupt in the thread that made it, from whatever thread it is asked for, until it is ended.

    Other threads interrupt it once: another time would only break off what it does to end.
    """

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._asking = threading.Lock()
        self._heard = threading.Event()
        self._asked = False
        self._over = False

    def interrupt(self, *, by_signal: bool) -> None:
        """Interrupt the thread.

        Args:
            by_signal: Whether SIGINT makes the main thread call this again; only a signal interrupts a system call,
                and only in the main thread.

        Raises:
            KeyboardInterrupt: This is the thread.
        """
        if threading.get_ident() == self._thread:
            self._heard.set()
            raise KeyboardInterrupt
        with self._asking:
            if self._over or self._asked:
                return
            self._asked = True
            if by_signal and self._thread == threading.main_thread().ident:
                # again where it came just before a system call began, which then goes on
                for _ in range(_AGAIN):
                    signal.pthread_kill(self._thread, signal.SIGINT)
                    if self._heard.wait(_AGAIN_SECONDS):
                        return
            else:
                self._raise(ctypes.py_object(KeyboardInterrupt))

    def end(self) -> None:
        """Let nothing come any more that was asked for; to be called in the thread, with its handler still in place."""
        self._heard.set()
        with self._asking:
            self._over = True
        if self._asked:
            self._raise(None)
            time.sleep(0)  # a signal on its way arrives at the end of a system call at the latest

    def _raise(self, kind: ctypes.py_object[type[BaseException]] | None) -> None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread), kind)


_in_children: dict[int, tuple[Any, Any]] = {}
"""Signals that this process handles: its handler, and what a child that it forks does instead."""
_forking = threading.local()
_wakes_owner = False


def let_forked_children_end(handlers: Mapping[int, Any], *, wakes_owner: bool = False) -> None:
    """Let children that training code forks end at a signal that this process handles; multiprocessing ends them so.

    The signals are held back while a process forks: one that came before the child has put its handler back would be
    taken for a request to this process. What the training code handles itself is left alone.

    Args:
        handlers: What a child does with each of the signals instead.
        wakes_owner: Whether this process's signals are also written to a descriptor, for its owner alone.
    """
    global _wakes_owner
    _in_children.update({number: (signal.getsignal(number), instead) for number, instead in handlers.items()})
    _wakes_owner = _wakes_owner or wakes_owner


def _hold() -> None:
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, tuple(_in_children))


def _let_go() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _end_as_a_child() -> None:
    for number, (handler, instead) in _in_children.items():
        if signal.getsignal(number) == handler:
            signal.signal(number, instead)
    _in_children.clear()
    Interrupts.entered.clear()
    if _wakes_owner:
        signal.set_wakeup_fd(-1)
    _let_go()


os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_end_as_a_child)
