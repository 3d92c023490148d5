"""The owner's end of its reaper, which ends the workers when the owner is gone, whatever ended it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

from phyletic.workers import reaper

__all__ = ["Lifeline"]


class Lifeline:
    """Workers live as long as it is open: its reaper, a process outside all groups, kills them at its end.

    A worker whose owner is gone also ends by itself when it says something next. The reaper ends those that cannot:
    stopped ones, those whose code holds the interpreter, and what they started in groups of their own.
    """

    def __init__(self) -> None:
        self._groups: dict[int, str] = {}
        self._reaper: subprocess.Popen[bytes] | None = None

    def guard(self, group: int, session: str) -> None:
        """Have a worker's process group ended with this process.

        Args:
            group: The process group.
            session: What its processes carry in their environment.
        """
        self._groups[group] = session
        self._tell(f"guard {group} {session}\n")

    def release(self, group: int) -> None:
        """Forget a process group: nothing of it is alive, so its number may be used again."""
        session = self._groups.pop(group, None)
        if session is not None:
            self._tell(f"release {group} {session}\n")

    def close(self) -> None:
        """End the lifeline, and with it whatever is still guarded."""
        if self._reaper is not None:
            assert self._reaper.stdin is not None
            with contextlib.suppress(OSError):
                self._reaper.stdin.close()
            self._reaper.wait()
            self._reaper = None

    def _tell(self, message: str) -> None:
        if self._reaper is not None and self._reaper.poll() is None:
            assert self._reaper.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                self._reaper.stdin.write(message.encode())
                return
        self._start_reaper()

    def _start_reaper(self) -> None:
        """Start the reaper, or another one if it was killed, and tell it all groups."""
        self.close()
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
        guarded = "".join(f"guard {group} {session}\n" for group, session in self._groups.items())
        self._reaper.stdin.write(guarded.encode())
