"""Who is better than whom.

Non-finite scores and failed members rank below every finite score, whichever mode. Ties are broken by the member's
number, the lower one ranking better, so that a ranking is a total order: with a strict comparison of scores two equal
members would never exploit each other.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from phyletic.evolution.view import MemberView

__all__ = ["Ranking", "average", "rank_latest", "rank_matched"]


class Ranking(msgspec.Struct, frozen=True):
    """Members from best to worst.

    Attributes:
        members: Those that have a score to compare, best first.
        scores: Their scores in the metric's own units, in the same order.
        places: Each member's place in that order, 0 the best, by its number.
        finite: How many scores count: the first ``finite`` members have a finite score and have not failed.
        mode: Which way is better.
    """

    members: tuple[MemberView, ...]
    scores: tuple[float, ...]
    places: dict[int, int]
    finite: int
    mode: Literal["max", "min"]

    def __len__(self) -> int:
        return len(self.members)

    def threshold(self, place: int) -> float | None:
        """Return the score at a place, or None where it does not count."""
        return self.scores[place] if 0 <= place < self.finite else None


def rank_latest(members: Iterable[MemberView], mode: Literal["max", "min"]) -> Ranking:
    """Rank members by the score of their latest completed trial; those without one are not ranked."""
    scored: list[tuple[float | None, MemberView]] = []
    for view in members:
        trial = view.trial
        if trial is not None:
            scored.append((trial.score, view))
    return _rank(scored, mode)


def rank_matched(members: Iterable[MemberView], mode: Literal["max", "min"], own: MemberView) -> Ranking:
    """Rank a member against its peers as they were when they had trained no longer than it has.

    A score tells little about hyperparameters when one member has trained twice as long as the other, as happens
    without a barrier. Comparing at equal or less experience is the remedy of DexPBT (Petrenko et al. 2023,
    arXiv 2305.12127).

    Args:
        members: The population; peers with no score at or before ``own``'s age are not ranked.
        mode: Which way is better.
        own: Who is compared, by the score of its head.
    """
    age = own.trial.end_step if own.trial is not None else None
    if age is None:
        return rank_latest(members, mode)
    scored: list[tuple[float | None, MemberView]] = []
    for view in members:
        if view.member == own.member:
            assert view.trial is not None
            scored.append((view.trial.score, view))
        elif view.trial is not None:
            reached = bisect_right(view.history, age, key=_end_step)
            if reached:
                scored.append((view.history[reached - 1][1], view))
    return _rank(scored, mode)


def _end_step(entry: tuple[int, float]) -> int:
    return entry[0]


def _rank(scored: Sequence[tuple[float | None, MemberView]], mode: Literal["max", "min"]) -> Ranking:
    sign = -1.0 if mode == "max" else 1.0
    good: list[tuple[float, int, MemberView]] = []
    bad: list[tuple[int, float, MemberView]] = []
    isfinite = math.isfinite
    for score, view in scored:
        if score is None:
            bad.append((view.member, math.nan, view))
        elif isfinite(score) and not view.failed:
            good.append((sign * score, view.member, view))
        else:
            bad.append((view.member, score, view))
    # The member's number makes every key unique, so the views themselves are never compared.
    good.sort()
    bad.sort()
    members = [entry[2] for entry in good]
    scores = [sign * entry[0] for entry in good]
    finite = len(members)
    for _, score, view in bad:
        members.append(view)
        scores.append(score)
    places = {view.member: place for place, view in enumerate(members)}
    return Ranking(tuple(members), tuple(scores), places, finite, mode)


def average(numbers: Sequence[float]) -> float:
    """Return the mean: the same on every Python version, and without overflow for finite numbers."""
    count = len(numbers)
    return math.fsum([number / count for number in numbers])
