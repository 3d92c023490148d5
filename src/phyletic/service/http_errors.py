"""The HTTP status of each error, and its answer: the error's name and text as JSON, and never a traceback."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from phyletic import errors
from phyletic.coordinator.messages import Refused
from phyletic.remote.http_connection import encode
from phyletic.service.hosts import QueueFull
from phyletic.service.json_requests import Failure
from phyletic.service.logs import logger, request_id

if TYPE_CHECKING:
    from starlette.responses import Response

ERROR = "Phyletic-Error"
"""The header with the error's name, for answers to HEAD, which have no body."""

_STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (errors.NotAuthenticated, 401),
    (errors.NotAllowed, 403),
    (errors.NotFound, 404),
    (errors.LimitExceeded, 413),
    (errors.CheckpointDamaged, 422),
    (errors.InvalidArgument, 400),
    (QueueFull, 429),
    (errors.StorageError, 503),
    (errors.Unreachable, 503),
    (errors.PhyleticError, 409),
)


def status_of(error: Exception) -> int:
    """Return the HTTP status of an error.

    Example:
        >>> status_of(errors.NotAllowed("read only")), status_of(ZeroDivisionError())
        (403, 500)
    """
    if isinstance(error, OSError) and not isinstance(error, errors.PhyleticError):
        return 507 if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else 503
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)


def error_response(error: Exception) -> Response:
    """Return the answer for an error; what it does not foresee is logged here, and the client learns no more of it."""
    from starlette.responses import Response

    status = status_of(error)
    if isinstance(error, errors.PhyleticError):
        refused = Refused.of(error)
        failure = Failure(error=refused.error, message=refused.message, name=refused.name, value=refused.value)
    elif isinstance(error, OSError):
        text = "the server's disk is full" if status == 507 else "the server cannot use its disk"
        failure = Failure(error="StorageError", message=text)
        logger.warning("a request failed: %s", error)
    else:
        text = f"an error inside of the server; its log has request {request_id()}"
        failure = Failure(error="InternalError", message=text)
        logger.error("a request failed", exc_info=error)
    headers = {ERROR: failure.error}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status in (429, 503):
        headers["Retry-After"] = "1"
    return Response(encode(failure), status, headers, "application/json")
