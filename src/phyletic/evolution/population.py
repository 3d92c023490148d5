"""The population at one moment, as an algorithm sees it: frozen facts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import msgspec

from phyletic.errors import NotFound
from phyletic.evolution.ranking import MemberView, Ranking, rank_latest
from phyletic.space import Space


class Population(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A population as it was at one sequence number of its study.

    All suggestions made on one object share its ranking, which the first of them computes: a synchronous generation of
    a thousand members sorts them once.

    Attributes:
        space: What may vary.
        mode: ``"max"`` if higher scores are better, ``"min"`` if lower ones are.
        members: Every member, in the order of their numbers.
        as_of: The study's sequence number at that moment.
        limit: The age in steps at which training ends; a trial that reached it cannot be a donor. None for no limit.
        ranked: The ranking by latest scores, if the maker of this view keeps one; None to compute it on demand.
    """

    space: Space
    mode: Literal["max", "min"]
    members: tuple[MemberView, ...]
    as_of: int
    limit: int | None = None
    ranked: Ranking | None = None

    @cached_property
    def ranking(self) -> Ranking:
        """The members that have completed a trial, best first, by their latest score."""
        return rank_latest(self.members, self.mode) if self.ranked is None else self.ranked

    @cached_property
    def _places(self) -> dict[int, int]:
        return {view.member: place for place, view in enumerate(self.members)}

    @cached_property
    def _able(self) -> dict[Sequence[int], list[int]]:
        return {}

    def donors(self, ranking: Ranking, places: Sequence[int], member: int) -> list[int]:
        """Return the places in a ranking of those that may donate to a member.

        Args:
            ranking: The population from best to worst.
            places: Places in it to choose from.
            member: The member that takes; it is no donor of its own.
        """
        shared = ranking is self.ranking and isinstance(places, range)
        able = self._able.get(places) if shared else None
        if able is None:
            able = [place for place in places if self.may_donate(ranking.members[place])]
            if shared:  # found once for a whole generation
                self._able[places] = able
        return [place for place in able if ranking.members[place].member != member]

    def view(self, member: int) -> MemberView:
        """Return the view of one member.

        Raises:
            NotFound: The population has no such member.
        """
        try:
            if (view := self.members[member]).member == member:
                return view
        except IndexError:
            pass
        try:
            return self.members[self._places[member]]
        except KeyError:
            raise NotFound(f"the population has no member {member}") from None

    def may_donate(self, view: MemberView) -> bool:
        """Whether a member's head can be given to another: finite, not failed, and with steps left to train."""
        if not view.sound:
            return False
        end_step = view.trial.end_step if view.trial is not None else None
        return self.limit is None or end_step is None or end_step < self.limit
