"""What makes workers end when their owner is gone, whatever ended it.

Three things, each of which holds where another does not: Linux kills a worker with the thread that started it; a thread
in the worker waits for the end of a pipe that only the owner holds open, and ends the worker's process group; and a
reaper, a process outside all groups, ends what is left: stopped workers, and children in groups of their own.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
import weakref

from phyletic.workers import reaper

__all__ = ["Lifeline", "end_with_owner"]

_PR_SET_PDEATHSIG = 1

_open: weakref.WeakSet[Lifeline] = weakref.WeakSet()


class Lifeline:
    """The owner's end: its workers live as long as it is open.

    Attributes:
        worker_end: File descriptor that each worker inherits; it ends when the owner does.
    """

    def __init__(self) -> None:
        self.worker_end, self._owner_end = os.pipe()
        self._groups: dict[int, str] = {}
        self._reaper: subprocess.Popen[bytes] | None = None
        _open.add(self)

    def guard(self, group: int, session: str) -> None:
        """Have a worker's process group ended with this process.

        Args:
            group: The process group.
            session: What its processes carry in their environment.
        """
        self._groups[group] = session
        self._say(f"guard {group} {session}\n")

    def release(self, group: int) -> None:
        """Forget a process group: nothing of it is alive, so its number may be used again."""
        session = self._groups.pop(group, None)
        if session is not None:
            self._say(f"release {group} {session}\n")

    def close(self) -> None:
        """End the lifeline, and with it whatever is still guarded."""
        _open.discard(self)
        for end in (self.worker_end, self._owner_end):
            os.close(end)
        if self._reaper is not None:
            assert self._reaper.stdin is not None
            with contextlib.suppress(OSError):
                self._reaper.stdin.close()
            self._reaper.wait()
            self._reaper = None

    def let_go(self) -> None:
        """Close the owner's ends in a process that was forked from the owner, and is not it."""
        os.close(self._owner_end)
        if self._reaper is not None and self._reaper.stdin is not None:
            self._reaper.stdin.close()

    def _say(self, message: str) -> None:
        if self._reaper is not None and self._reaper.poll() is None:
            assert self._reaper.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                self._reaper.stdin.write(message.encode())
                return
        self._start_reaper()

    def _start_reaper(self) -> None:
        """Start the reaper, or another one where it was killed, and tell it all groups there are."""
        if self._reaper is not None and self._reaper.stdin is not None:
            with contextlib.suppress(OSError):
                self._reaper.stdin.close()
        self._reaper = subprocess.Popen(
            [sys.executable, "-I", "-S", reaper.__file__, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",
            start_new_session=True,
        )
        assert self._reaper.stdin is not None
        told = "".join(f"guard {group} {session}\n" for group, session in self._groups.items())
        self._reaper.stdin.write(told.encode())


def _let_go_in_fork() -> None:
    for lifeline in list(_open):
        with contextlib.suppress(OSError):
            lifeline.let_go()
    _open.clear()


os.register_at_fork(after_in_child=_let_go_in_fork)


def end_with_owner(worker_end: int, owner: int) -> None:
    """The worker's end: have this process and its group killed when the owner is gone.

    Args:
        worker_end: The inherited file descriptor, :attr:`Lifeline.worker_end`.
        owner: The owner's process, which is this one's parent as long as it lives.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # started after prctl: an owner that went before it is seen by its number
    threading.Thread(target=_end_group, args=(worker_end, owner), name="phyletic lifeline", daemon=True).start()


def _end_group(worker_end: int, owner: int) -> None:
    end = select.poll()
    end.register(worker_end, select.POLLIN)
    while os.getppid() == owner and not end.poll(1000):
        pass
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
