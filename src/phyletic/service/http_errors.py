"""The HTTP status of each error, and its answer: the error's name and text as JSON, and never a traceback."""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING

from phyletic import errors

if TYPE_CHECKING:
    from starlette.responses import JSONResponse

ERROR = "Phyletic-Error"
"""The header with the error's name, for answers to HEAD, which have no body."""

_STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (errors.NotAuthenticated, 401),
    (errors.NotAllowed, 403),
    (errors.NotFound, 404),
    (errors.LimitExceeded, 413),
    (errors.CheckpointDamaged, 422),
    (errors.InvalidArgument, 400),
    (errors.StorageError, 503),
    (errors.Unreachable, 503),
    (errors.PhyleticError, 409),
)
_log = logging.getLogger(__name__)


def status_of(error: Exception) -> int:
    """Return the HTTP status of an error.

    Example:
        >>> status_of(errors.NotAllowed("read only")), status_of(ZeroDivisionError())
        (403, 500)
    """
    if isinstance(error, OSError) and not isinstance(error, errors.PhyleticError):
        return 507 if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else 503
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)


def error_response(error: Exception) -> JSONResponse:
    """Return the answer for an error; what it does not foresee is logged here, and the client learns no more of it."""
    from starlette.responses import JSONResponse

    status = status_of(error)
    name, text = type(error).__name__, str(error)
    if isinstance(error, OSError) and not isinstance(error, errors.PhyleticError):
        name, text = "StorageError", "the server's disk is full" if status == 507 else "the server cannot use its disk"
        _log.warning("a request failed: %s", error)
    elif status == 500:
        name, text = "InternalError", "the server met an error that it did not foresee; its log has more"
        _log.error("a request failed", exc_info=error)
    headers = {ERROR: name} | ({"WWW-Authenticate": "Bearer"} if status == 401 else {})
    return JSONResponse({"error": name, "message": text}, status, headers)
