"""Incidents: how often each thing went wrong in a simulation. That a fault may happen does not show that it did."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Incidents:
    """How often each thing went wrong.

    Attributes:
        lost: Messages and answers that were lost.
        doubled: Messages that arrived twice.
        delayed: Messages and answers that took so long that later ones overtook them.
        cuts: Links that were cut.
        unreachable: Messages and answers that did not arrive because their link was cut.
        repeated: Messages that were sent again because no answer came.
        told_again: Results that were sent again after they had been acknowledged.
        refused: Results that came too late, since their leases had ended.
        crashed: Workers that died during an attempt.
        orphaned: Workers that died with their owner.
        slept: Workers that were suspended at the end of an attempt.
        joined: Workers that joined while the study ran.
        left: Workers that left while the study ran.
        stragglers: Workers that were slow from the beginning.
        regranted: Trials that were granted again because their worker was silent past its deadline.
        suspended: Suspensions of the owner.
        spared: Leases that went on although their deadlines passed while the owner was suspended.
        deaths: Owners that died while they decided.
        unheard: Results that were committed by an owner that died before it could answer.
        outages: Losses of power.
        undone: Grants that were not on the disk, and that a loss of power undid.
        forgotten: Deletions that failed.
        raised: Attempts whose training code raised.
        damaged: Attempts that found their parent's checkpoint damaged.
        not_finite: Results whose loss was NaN or infinite.
        partial: Results of trials that were handed back early.
        uneven: Results of attempts that trained another number of steps than they were asked to.
    """

    lost: int = 0
    doubled: int = 0
    delayed: int = 0
    cuts: int = 0
    unreachable: int = 0
    repeated: int = 0
    told_again: int = 0
    refused: int = 0
    crashed: int = 0
    orphaned: int = 0
    slept: int = 0
    joined: int = 0
    left: int = 0
    stragglers: int = 0
    regranted: int = 0
    suspended: int = 0
    spared: int = 0
    deaths: int = 0
    unheard: int = 0
    outages: int = 0
    undone: int = 0
    forgotten: int = 0
    raised: int = 0
    damaged: int = 0
    not_finite: int = 0
    partial: int = 0
    uneven: int = 0
