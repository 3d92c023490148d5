"""One process of a command, with its process group and the end of its standard error."""

from __future__ import annotations

import codecs
import contextlib
import os
import secrets
import selectors
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

from phyletic.workers.process_tree import Lifeline, kill_tree
from phyletic.workers.reaper import MARKER

_TAIL_BYTES = 4096
_CHUNK_BYTES = 65536


class CommandProcess:
    """A process that leads a process group, so that signals reach all that it starts.

    Its standard output is this process's; its standard error goes to this process's too, through a pipe. It has no
    standard input.

    Args:
        argv: The program and its arguments.
        environment: Its environment variables.
        lifeline: Kills the group if this process ends first.

    Raises:
        OSError: It cannot be started.
    """

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], lifeline: Lifeline) -> None:
        self._session = secrets.token_hex(16)
        self._lifeline = lifeline
        marked = " ".join([*environment.get(MARKER, "").split(), self._session])
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            bufsize=0,
            env={**environment, MARKER: marked},
            process_group=0,
        )
        lifeline.guard(self._process.pid, self._session)
        assert self._process.stderr is not None
        self._stderr = self._process.stderr
        os.set_blocking(self._stderr.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stderr, selectors.EVENT_READ)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._tail = b""
        self._ended = False

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    @property
    def status(self) -> int:
        """How the ended process ended: its exit status, or the negative number of the signal that killed it."""
        return self._process.wait()

    @property
    def errors(self) -> str:
        """The end of its standard error."""
        return self._tail.decode(errors="replace").strip()

    def wait(self, seconds: float) -> None:
        """Wait until it writes an error or ends, and copy what it wrote.

        Args:
            seconds: The longest wait.
        """
        if self._selector.get_map():
            if self._selector.select(seconds):
                self._copy()
        else:
            # it closed its standard error
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)

    def terminate(self) -> None:
        """Ask the process and its group to end (SIGTERM)."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGTERM)

    def end(self) -> None:
        """Kill the process and all that it left, reap it, and copy the rest of its standard error."""
        if self._ended:
            return
        self._ended = True
        kill_tree(self._process.pid, self._session)
        self._process.wait()
        self._lifeline.release(self._process.pid)
        while self._selector.get_map() and self._copy():
            pass
        self._selector.close()
        self._stderr.close()

    def _copy(self) -> bool:
        """Copy what can be read now; return whether there may be more."""
        try:
            chunk = os.read(self._stderr.fileno(), _CHUNK_BYTES)
        except BlockingIOError:
            return False
        if not chunk:
            self._selector.unregister(self._stderr)
        self._tail = (self._tail + chunk)[-_TAIL_BYTES:]
        # training goes on even if the log cannot be written
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(self._decoder.decode(chunk, final=not chunk))
            sys.stderr.flush()
        return bool(chunk)
