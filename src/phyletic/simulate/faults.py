"""What goes wrong in a simulation, and how fast workers are: plain configurations, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass, fields

from phyletic.coordinator.sessions import LONGEST_LEASE
from phyletic.errors import InvalidArgument
from phyletic.evolution.arguments import check_integer, check_number, check_probability, check_sequence

__all__ = ["Faults", "Speeds"]

_LONGEST = 1e9
"""Seconds: some thirty years."""
_MOST_LEASES = 1000
"""In more of them than a few thousand, detached workers say so much that nothing seems to happen besides."""


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """How long things take, in seconds of at most 1e9.

    Args:
        step: Seconds of one step on an average worker.
        overhead: Seconds of a trial beside its steps: loading, evaluating, saving.
        spread: Standard deviation of the logarithm of a worker's speed, at most 10; 0 makes all workers alike.
        straggler: Share of the workers that are slow, from 0 to 1.
        slowness: How many times slower those are, at most 1e9.
        latency: Mean seconds that a message is on its way.

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
    """How often things go wrong: probabilities from 0 to 1, unless it says otherwise. Without arguments, nothing does.

    Args:
        crash: That a worker dies during an attempt. Its death is seen after ``detection`` seconds, and another worker
            takes its place.
        pause: That a worker sleeps at the end of an attempt until it was taken for dead, so that its result comes too
            late; a detached one for up to two leases, which may or may not be too late.
        fail: That the training code raises during an attempt.
        cursed: Members whose training code always raises.
        not_finite: That the loss becomes NaN or infinite; it stays so in all that inherits those weights.
        damaged: That a parent's checkpoint is not what was published.
        partial: That a worker hands its trial back early.
        uneven: That the training code trains another number of steps than it was asked to.
        leave: That a worker leaves for good after an attempt, while another stays.
        join: That one more worker joins after an attempt.
        lose: That a message, or the answer to it, is lost; it is sent again after ``again`` seconds.
        duplicate: That a message arrives twice.
        delay: That a message takes up to ``detection`` seconds more, so that later ones overtake it.
        owner: That the owner of the study dies while it decides, before or after the commit; another begins at once.
        power: That the owner's machine loses power after a decision: what was not on the disk yet is gone, and so are
            the workers on that machine; another owner begins at once.
        suspend: That the owner is suspended after a decision, for up to three leases, and hears nobody meanwhile; it
            then stays awake for one lease or more.
        forget: That the deletion of a checkpoint that was condemned fails.
        detached: Share of the workers that are on machines the owner cannot look at. Nobody sees their death or their
            leaving: their leases have a deadline, which each word from them moves.
        lease: Seconds that a detached worker's lease lasts without a word, at most 30 days; it says something eight
            times as often.
        cut: That a detached worker reaches nobody for a while during an attempt, for up to two leases; it trains on.
        detection: Seconds until a death is seen; at most 1e9, and 1000 leases where workers are detached.
        again: Seconds after which a message without an answer is sent again; at most as many.

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
        """Whether what is said may get no answer."""
        return bool(self.lose or self.owner or self.power or self.cut)
