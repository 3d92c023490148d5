"""The first failure of a study in which nothing has completed: most likely an error in the training code.

Trying again would only repeat it, so the run ends at once. A study that is run again afterwards tries as any other, so
that one member's impossible first values never block it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import phyletic
from phyletic.coordinator.state import StudyState
from phyletic.errors import StudyFailed
from phyletic.records import StudyChange
from phyletic.records.event import ENDED_ATTEMPT

_FRAME = re.compile(r'^ *File "(.+)", line (\d+)', re.MULTILINE)
_PACKAGE = str(Path(phyletic.__file__).parent)


class FirstFailure:
    """Knows whether a failure is the first thing that happened to a study.

    Args:
        state: The study's state as the run begins.

    Attributes:
        error: The error of the first attempt that failed in this run, if nothing had completed or failed before.
    """

    def __init__(self, state: StudyState) -> None:
        counters = state.counters
        tried = counters.completed or counters.failed or any(opened.trial.failures for opened in state.open.values())
        self._untried = not tried
        self.error: str | None = None

    def take(self, changes: Sequence[StudyChange]) -> None:
        """Take what was committed."""
        for change in changes:
            if change.kind == "completed":
                self._untried = False
            elif self._untried and change.kind == ENDED_ATTEMPT and change.payload["cause"] == "error":
                self._untried = False
                self.error = change.payload["error"]

    def check(self) -> None:
        """Raise StudyFailed, with the error's place first, if there was one."""
        if self.error is not None:
            raise StudyFailed(
                f"{place_of(self.error)}{last_line(self.error)}\n\n{self.error}\n\nThe first trial failed before any "
                "had completed, so the run ended at once; run it again to try the others."
            )


def last_line(text: str) -> str:
    r"""Return the last line of a traceback, which names the exception.

    Example:
        >>> last_line("Traceback (most recent call last):\n  ...\nValueError: no such file")
        'ValueError: no such file'
    """
    return text.strip().rpartition("\n")[2]


def place_of(text: str) -> str:
    r"""Return ``"file:line: "`` of the innermost frame of the user's own code in a traceback, or "" if it has none.

    Example:
        >>> place_of('  File "/home/me/train.py", line 7, in train\n    step()\nValueError: no')
        '/home/me/train.py:7: '
    """
    frames = [(file, line) for file, line in _FRAME.findall(text) if not file.startswith(_PACKAGE)]
    own = [frame for frame in frames if "site-packages" not in frame[0] and "/lib/python" not in frame[0]]
    file, line = (own or frames or [("", "")])[-1]
    return f"{file}:{line}: " if file else ""
