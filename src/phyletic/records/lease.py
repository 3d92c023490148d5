"""The right of one session to run one attempt at a trial."""

from __future__ import annotations

import msgspec


class Lease(msgspec.Struct, frozen=True):
    """Names an attempt; every write for the attempt carries its lease.

    Attributes:
        trial: The trial's number.
        fence: A number from 1 that rises with each grant of the trial.
        token: 32 random hexadecimal digits, so that no other session can guess them.
        session: Identity of the session that holds the lease.
    """

    trial: int
    fence: int
    token: str
    session: str
