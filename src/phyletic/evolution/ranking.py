"""Rank members from best to worst.

Non-finite scores and failed members rank below every finite score, whichever mode. Ties are broken by the member's
number, the lower one ranking better, so that a ranking is a total order: with a strict comparison of scores two equal
members would never exploit each other.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Literal, TypeAlias

import msgspec

from phyletic.errors import NotFound
from phyletic.records import Trial

Key: TypeAlias = tuple[int, float, int]
"""Sorts members, best first: 0 if the score counts and else 1, the score with the lower the better, the number."""


class MemberView(msgspec.Struct, frozen=True, kw_only=True):
    """One member of a population, as an algorithm sees it.

    Attributes:
        member: Its place in the population, from 0.
        trial: Its head: its latest completed trial. None before the first.
        scores: The latest evaluations of the metric along its lineage, newest last: as many as the algorithm's
            ``reads.scores`` asks for.
        history: ``(end_step, score)`` of the latest trials along its lineage, oldest first; empty unless the
            algorithm's ``reads.history`` is true.
        failed: Whether its latest trial was given up, so the algorithm must rescue it.
        early_stopped: Whether the algorithm ended its latest trial early.
    """

    member: int
    trial: Trial | None = None
    scores: tuple[float, ...] = ()
    history: tuple[tuple[int, float], ...] = ()
    failed: bool = False
    early_stopped: bool = False

    @property
    def sound(self) -> bool:
        """Whether it can continue from its own head: a finite score, and neither failed nor stopped early."""
        return self.trial is not None and not self.failed and not self.early_stopped and self.trial.finite


class Ranking(msgspec.Struct, frozen=True):
    """Members from best to worst.

    Attributes:
        members: The members with a score to compare, best first.
        scores: Their scores in the metric's own units, in the same order.
        keys: Their sorting keys, in the same order.
        finite: How many scores count: the first ``finite`` members have a finite score and have not failed.
        mode: Which way is better.
    """

    members: tuple[MemberView, ...]
    scores: tuple[float, ...]
    keys: tuple[Key, ...]
    finite: int
    mode: Literal["max", "min"]

    def __len__(self) -> int:
        return len(self.members)

    def place(self, view: MemberView) -> int | None:
        """Return the place, 0 the best, of a member that is ranked by its latest score; None if it is not ranked."""
        if view.trial is None:
            return None
        key = _key(view.trial.score, view, self.mode)
        place = bisect_left(self.keys, key)
        return place if place < len(self.keys) and self.keys[place] == key else None

    def place_of(self, view: MemberView) -> int:
        """Return the place of a member that is ranked.

        Raises:
            NotFound: The member is not ranked.
        """
        place = self.place(view)
        if place is None:
            raise NotFound(f"member {view.member} is not ranked")
        return place

    def threshold(self, place: int) -> float | None:
        """Return the score at a place, or None if it does not count."""
        return self.scores[place] if 0 <= place < self.finite else None


class Standings:
    """Members sorted by their latest scores, and kept sorted while scores come in.

    A ranking of n members costs O(n log n) to make; keeping one costs O(log n) comparisons a score.

    Args:
        mode: Which way is better.
    """

    def __init__(self, mode: Literal["max", "min"]) -> None:
        self._mode = mode
        self._keys: list[Key] = []
        self._members: list[MemberView] = []
        self._scores: list[float] = []
        self._key_of: dict[int, Key] = {}

    def put(self, view: MemberView) -> None:
        """Rank a member by its new view instead of its former one."""
        self.remove(view.member)
        if view.trial is None:
            return
        key = _key(view.trial.score, view, self._mode)
        place = bisect_left(self._keys, key)
        self._keys.insert(place, key)
        self._members.insert(place, view)
        self._scores.insert(place, _shown(view.trial.score))
        self._key_of[view.member] = key

    def remove(self, member: int) -> None:
        """Remove a member from the ranking."""
        key = self._key_of.pop(member, None)
        if key is not None:
            place = bisect_left(self._keys, key)
            del self._keys[place], self._members[place], self._scores[place]

    def ranking(self) -> Ranking:
        """Return the ranking as it is now."""
        finite = bisect_left(self._keys, (1,))
        return Ranking(tuple(self._members), tuple(self._scores), tuple(self._keys), finite, self._mode)


def _key(score: float | None, view: MemberView, mode: Literal["max", "min"]) -> Key:
    """Return the key that sorts a member.

    Args:
        score: Its score; None if it has none.
        view: The member.
        mode: Which way is better.
    """
    if score is None or view.failed or not math.isfinite(score):
        return (1, 0.0, view.member)
    return (0, -score if mode == "max" else score, view.member)


def _shown(score: float | None) -> float:
    return math.nan if score is None else score


def rank_latest(members: Iterable[MemberView], mode: Literal["max", "min"]) -> Ranking:
    """Rank members by the score of their latest completed trial; those without one are not ranked."""
    return _rank([(view.trial.score, view) for view in members if view.trial is not None], mode)


def rank_matched(members: Iterable[MemberView], mode: Literal["max", "min"], own: MemberView) -> Ranking:
    """Rank a member against its peers as they were when they had trained no longer than it has.

    A score tells little about hyperparameters when one member has trained twice as long as the other, as happens
    without a barrier. Comparing at equal or less experience is the remedy of DexPBT (Petrenko et al. 2023,
    arXiv 2305.12127).

    Args:
        members: The population; peers with no score at or before ``own``'s age are not ranked.
        mode: Which way is better.
        own: The member to compare, by the score of its head.
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
            reached = bisect_right(view.history, age, key=itemgetter(0))
            if reached:
                scored.append((view.history[reached - 1][1], view))
    return _rank(scored, mode)


def _rank(scored: Sequence[tuple[float | None, MemberView]], mode: Literal["max", "min"]) -> Ranking:
    # The member's number makes every key unique, so the views themselves are never compared.
    entries = sorted([(_key(score, view, mode), view, _shown(score)) for score, view in scored], key=itemgetter(0))
    keys = tuple([key for key, _, _ in entries])
    return Ranking(
        members=tuple([view for _, view, _ in entries]),
        scores=tuple([score for _, _, score in entries]),
        keys=keys,
        finite=sum(key[0] == 0 for key in keys),
        mode=mode,
    )


def average(numbers: Sequence[float]) -> float:
    """Return the mean: the same on every Python version, and without overflow for finite numbers."""
    count = len(numbers)
    return math.fsum([number / count for number in numbers])
