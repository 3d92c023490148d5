"""The first failure of a study in which nothing has completed: most likely an error in the training code.

Trying again would only repeat it, so the run ends at once. A study that is run again afterwards tries as any other, so
that one member's impossible first values never block it.
"""

from __future__ import annotations

import re
from pathlib import Path

import phyletic
from phyletic.coordinator.owner import Owner
from phyletic.errors import StudyFailed

_FRAME = re.compile(r'^ *File "(.+)", line (\d+)', re.MULTILINE)
_PACKAGE = str(Path(phyletic.__file__).parent)


class FirstFailure:
    """Knows whether a failure is the first thing that happened to a study.

    Args:
        owner: The study's owner, as the run begins.
    """

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._untried = True
        self._untried = owner.state.counters.completed == 0 and self._error() is None

    @property
    def is_first(self) -> bool:
        """Whether an attempt has failed in this run, and nothing had completed or failed before."""
        return self._error() is not None

    def check(self) -> None:
        """Raise StudyFailed, with the error's place first, once :attr:`is_first` is true."""
        error = self._error()
        if error is not None:
            raise StudyFailed(
                f"{place_of(error)}{last_line(error)}\n\n{error}\n\nThe first trial failed before any had completed, "
                "so the run ended at once; run it again to try the others."
            )

    def _error(self) -> str | None:
        if not self._untried:
            return None
        with self._owner.looking() as state:
            self._untried = state.counters.completed == 0
            failed = (opened.trial.error for opened in state.open.values() if opened.trial.failures)
            return next(failed, None) if self._untried else None


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
