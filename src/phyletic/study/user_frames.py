"""Tracebacks that show the user's own code and leave out phyletic's."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import phyletic

_PACKAGE = str(Path(phyletic.__file__).parent)


def user_frames(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the frames of phyletic's own code.

    Args:
        trace: The traceback of an error that phyletic raised; its message says what was wrong.
    """
    if trace is None:
        return None
    inner = user_frames(trace.tb_next)
    if trace.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        return inner
    return TracebackType(inner, trace.tb_frame, trace.tb_lasti, trace.tb_lineno)
