"""The right of one session to run one attempt at a trial."""

from __future__ import annotations

import msgspec

__all__ = ["Lease"]


class Lease(msgspec.Struct, frozen=True):
    """Names an attempt; every write for the attempt carries it.

    Attributes:
        trial: The trial's number.
        fence: Rises with each grant of the trial, from 1.
        token: 32 random hexadecimal digits, so that nobody writes by guessing.
        session: Identity of the worker's incarnation that holds it.
    """

    trial: int
    fence: int
    token: str
    session: str
