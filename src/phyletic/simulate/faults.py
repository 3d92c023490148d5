"""What may go wrong in a simulation, and how fast workers are: frozen configurations, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass, fields

from phyletic.coordinator.sessions import LONGEST_LEASE
from phyletic.errors import InvalidArgument
from phyletic.evolution.arguments import check_integer, check_number, check_probability, check_sequence

_LONGEST = 1e9
"""Seconds: some thirty years."""
_MOST_LEASES = 1000
"""During longer waits, the heartbeats of detached workers would be nearly all events."""


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """How long things take, in seconds of at most 1e9.

    Args:
        step: Seconds of one step on an average worker.
        overhead: Seconds of a trial beside its steps: loading, evaluating, saving.
        spread: Standard deviation of the logarithm of a worker's speed, at most 10; with 0, all workers are alike.
        straggler: The share of the workers that are slow, from 0 to 1.
        slowness: How many times slower those are, at most 1e9.
        latency: Mean seconds that a message takes to arrive.

    Raises:
        InvalidArgument: An argument is out of its range.
    """

    step: float = 1.0
    overhead: float = 0.0
    spread: float = 0.0
    straggler: float = 0.0
    slowness: float = 100.0
    latency: float = 0.001

    def __post_init__(self) -> None:
        for name in ("step", "slowness"):
            check_number(name, getattr(self, name), above=0, most=_LONGEST)
        for name in ("overhead", "latency"):
            check_number(name, getattr(self, name), least=0, most=_LONGEST)
        check_number("spread", self.spread, least=0, most=10)
        check_probability("straggler", self.straggler)


@dataclass(frozen=True, kw_only=True)
class Faults:
    """How often things go wrong; without arguments, nothing does. Values are probabilities, unless they say otherwise.

    Args:
        crash: A worker dies during an attempt. The owner sees an attached worker's death ``detection`` seconds later.
            Another worker takes its place.
        pause: A worker sleeps at the end of an attempt: an attached one until it is taken for dead, so that its result
            comes too late; a detached one for up to two leases, so that its result may come too late.
        fail: The training code raises during an attempt.
        cursed: The members whose training code always raises.
        not_finite: The loss becomes NaN or infinite, and stays so in everything that inherits those weights.
        damaged: The parent's checkpoint is not what was published.
        partial: A worker hands its trial back early.
        uneven: The training code trains another number of steps than it was asked to.
        leave: A worker leaves for good after an attempt, unless it is the last.
        join: Another worker joins after an attempt.
        lose: A message or its answer is lost, at most 0.9; the message is sent again after ``again`` seconds.
        duplicate: A message arrives twice.
        delay: A message takes up to ``detection`` seconds longer, so that later ones overtake it.
        owner: The owner's process dies while it decides, before or after the commit; another begins at once.
        power: The owner's machine loses power after a decision. Everything that was not yet on the disk is gone, and
            so are the workers on that machine; another owner begins at once.
        suspend: The owner is suspended after a decision, for up to three leases, and hears nobody meanwhile; it then
            stays awake for at least one lease.
        forget: The deletion of a condemned checkpoint fails.
        detached: The share of the workers that are detached. The owner does not see them die or leave, but their
            leases have a deadline, which each of their messages moves.
        lease: Seconds that a detached worker's lease lasts without a message, at most 30 days; the worker sends a
            heartbeat eight times as often.
        cut: A detached worker reaches nobody for up to two leases during an attempt; it goes on training.
        detection: Seconds until a death is seen; at most 1e9, and at most 1000 leases if workers are detached.
        again: Seconds after which a message without an answer is sent again; with the same limits as ``detection``.

    Raises:
        InvalidArgument: An argument is out of its range.
    """

    crash: float = 0.0
    pause: float = 0.0
    fail: float = 0.0
    cursed: tuple[int, ...] = ()
    not_finite: float = 0.0
    damaged: float = 0.0
    partial: float = 0.0
    uneven: float = 0.0
    leave: float = 0.0
    join: float = 0.0
    lose: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.0
    owner: float = 0.0
    power: float = 0.0
    suspend: float = 0.0
    forget: float = 0.0
    detached: float = 0.0
    lease: float = 20.0
    cut: float = 0.0
    detection: float = 5.0
    again: float = 2.0

    def __post_init__(self) -> None:
        times = ("lease", "detection", "again")
        for name in times:
            check_number(name, getattr(self, name), above=0, most=LONGEST_LEASE if name == "lease" else _LONGEST)
        cursed = check_sequence("cursed", self.cursed, "the numbers of members, such as (0, 3)")
        for member in cursed:
            check_integer("cursed", member, 0)
        object.__setattr__(self, "cursed", cursed)
        for field in fields(self):
            if field.name not in (*times, "cursed"):
                check_probability(field.name, getattr(self, field.name))
        if self.lose > 0.9:
            raise InvalidArgument("lose", self.lose, "at most 0.9, so that something arrives")
        for name in ("detection", "again"):
            if self.detached and getattr(self, name) > _MOST_LEASES * self.lease:
                raise InvalidArgument(name, getattr(self, name), f"at most {_MOST_LEASES} leases of detached workers")

    @property
    def unanswered(self) -> bool:
        """Whether a message may get no answer."""
        return bool(self.lose or self.owner or self.power or self.cut)
