"""When what a finalizer wants done may be done: a finalizer runs in any thread, and in the middle of a call."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from phyletic.errors import PhyleticError


class DeferredCalls:
    """Runs functions that finalizers put off, as soon as their thread has ended its call to the server."""

    def __init__(self) -> None:
        self._here = threading.local()

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Put off, for the length of the block, what finalizers in this thread want done."""
        here = self._here
        here.depth = getattr(here, "depth", 0) + 1
        try:
            yield
        finally:
            here.depth -= 1
            while not here.depth and (later := getattr(here, "later", None)):
                _attempt(later.popleft())

    def defer(self, function: Callable[[], object]) -> None:
        """Call a function at once if this thread is known not to be in a call, after its call, or in another thread."""
        depth = getattr(self._here, "depth", None)
        if depth:
            if not hasattr(self._here, "later"):
                self._here.later = deque()
            self._here.later.append(function)
        elif depth == 0 or not threading.main_thread().is_alive():
            _attempt(function)
        else:
            # it may be one of the library's own threads, which must not wait for a call
            threading.Thread(target=_attempt, args=(function,), name="phyletic releasing", daemon=True).start()


def _attempt(function: Callable[[], object]) -> None:
    # what does not reach the server ends with its lease
    with suppress(PhyleticError, IndexError):
        function()
