"""Which role each call of the service needs: the one table for gRPC, HTTP, the documents and the tests."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


class Role(enum.StrEnum):
    """What a token may do; each role may also do what those before it may."""

    READ = "read"
    WORKER = "worker"
    ADMIN = "admin"

    def covers(self, needed: Role) -> bool:
        """Whether this role may do what another may.

        Example:
            >>> Role.WORKER.covers(Role.READ), Role.WORKER.covers(Role.ADMIN)
            (True, False)
        """
        order = list(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True)
class Rule:
    """What a call needs.

    Attributes:
        role: The least role.
        names_a_study: Whether the call is about one study. A token for one study may then be used for that study only;
            other calls take such a token, and answer with no more than its study.
    """

    role: Role
    names_a_study: bool = True


CALLS: Mapping[str, Rule] = MappingProxyType(
    {
        "Hello": Rule(Role.READ, names_a_study=False),
        "ListStudies": Rule(Role.READ, names_a_study=False),
        "Metrics": Rule(Role.READ, names_a_study=False),
        "GetStudy": Rule(Role.READ),
        "ListTrials": Rule(Role.READ),
        "Watch": Rule(Role.READ),
        "GetCheckpoint": Rule(Role.READ),
        "Suggest": Rule(Role.WORKER, names_a_study=False),
        "EarlyStop": Rule(Role.WORKER, names_a_study=False),
        "Exchange": Rule(Role.WORKER),
        "PutCheckpoint": Rule(Role.WORKER),
        "DiscardCheckpoint": Rule(Role.WORKER),
        "ListCheckpoints": Rule(Role.ADMIN),
        "CreateStudy": Rule(Role.ADMIN),
        "Control": Rule(Role.ADMIN),
    }
)
"""By the name of the call in the protocol. A call that is not here is refused. Health checks need no token."""
