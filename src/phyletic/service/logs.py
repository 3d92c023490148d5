"""The server's log: a line of JSON an entry, with the request it belongs to, and an entry for each change."""

from __future__ import annotations

import json
import logging
import secrets
import time
from contextvars import ContextVar
from typing import Any

logger = logging.getLogger("phyletic.service")
_request: ContextVar[str] = ContextVar("request", default="")
_token: ContextVar[str] = ContextVar("token", default="")
_LONGEST_ID = 64

REQUEST = "x-request-id"
"""Key of the metadata, or header, with a client's own id of a request."""


def begin_request(given: str | None = None) -> str:
    """Begin a request, and return its id, which the entries of its task carry.

    Args:
        given: The client's own id; drawn if it gave none, or one that cannot be.
    """
    usable = given is not None and given.isascii() and given.isprintable() and 0 < len(given) <= _LONGEST_ID
    request = given if usable and given is not None else secrets.token_hex(8)
    _request.set(request)
    _token.set("")
    return request


def request_id() -> str:
    """Return the id of the request that this task answers."""
    return _request.get()


def note_token(id: str) -> None:
    """Note by whose token the request is, for the entries of its task."""
    _token.set(id)


def audit(call: str, study: str, change: object, outcome: str = "done") -> None:
    """Log who changed what: a study that was created, or a change of its control.

    Args:
        call: The call.
        study: The study's name.
        change: What was asked for.
        outcome: What became of it.
    """
    logger.info("%s of study %r: %s", call, study, outcome, extra={"audit": {"change": str(change)[:2000]}})


class JsonLines(logging.Formatter):
    """Formats an entry as one line of JSON.

    Example:
        >>> entry = logging.LogRecord("phyletic", logging.INFO, "", 0, "ready", (), None)
        >>> entry.created = 0.0
        >>> JsonLines().format(entry)
        '{"at": "1970-01-01T00:00:00.000Z", "level": "info", "logger": "phyletic", "message": "ready"}'
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        milliseconds = int(record.created % 1 * 1000)
        document: dict[str, Any] = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{milliseconds:03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request := _request.get():
            document["request"] = request
        if token := _token.get():
            document["token"] = token
        document |= getattr(record, "audit", {})
        if record.exc_info:
            document["traceback"] = self.formatException(record.exc_info)
        return json.dumps(document, ensure_ascii=False)


def log_to_stderr() -> None:
    """Write the entries of phyletic to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    ours = logging.getLogger("phyletic")
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    ours.propagate = False
