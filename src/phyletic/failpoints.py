"""Named places at which a test can make a process fail.

phyletic passes a failpoint before and after each operation that another process can see: making a file or folder,
write, fsync, rename, unlink, begin, commit and message. Unarmed, a failpoint costs one comparison with ``None``. A test
arms the failpoints of its own process with :func:`armed`. The environment variable ``PHYLETIC_FAILPOINT`` arms one in a
child process: ``name`` or ``name:n`` kills the child with SIGKILL at the nth passing.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_handler: Callable[[str], None] | None = None


def failpoint(name: str) -> None:
    """Pass the failpoint ``name``; this does nothing unless a test armed failpoints."""
    if _handler is not None:
        _handler(name)


@contextmanager
def armed(handler: Callable[[str], None]) -> Iterator[None]:
    """Call ``handler`` with the name of each failpoint that the process passes inside the block; it may raise.

    Example:
        >>> passed = []
        >>> with armed(passed.append):
        ...     failpoint("disk.write.before")
        >>> passed
        ['disk.write.before']
    """
    global _handler
    previous, _handler = _handler, handler
    try:
        yield
    finally:
        _handler = previous


def _arm_from_environment() -> None:
    spec = os.environ.get("PHYLETIC_FAILPOINT")
    if not spec:
        return
    name, _, nth = spec.partition(":")
    left = int(nth or 1)

    def kill(passed: str) -> None:
        nonlocal left
        if passed == name:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    global _handler
    _handler = kill


_arm_from_environment()
