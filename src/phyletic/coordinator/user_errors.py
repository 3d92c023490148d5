"""What an algorithm raises, which may be a user's own function, is the answer to one command and stops no other."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from phyletic.errors import PhyleticError, TrainingError


@contextmanager
def guarded(doing: str) -> Iterator[None]:
    """Turn what is raised in the block into a TrainingError with its traceback; errors of phyletic pass.

    Args:
        doing: What the algorithm was called for.
    """
    try:
        yield
    except PhyleticError:
        raise
    except Exception as error:
        text = "".join(traceback.format_exception(error)).rstrip()
        raise TrainingError(f"the algorithm raised {error!r} while {doing}\n\n{text}") from error
