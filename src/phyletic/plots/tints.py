"""Colours and names of lines: by the newborn that began a lineage, or by member."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from phyletic.errors import InvalidArgument, MissingDependency
from phyletic.evolution.arguments import check_one_of, check_sequence
from phyletic.plots.families import families
from phyletic.records import Trial
from phyletic.records.encodings import is_unicode

# Okabe and Ito's colours for all kinds of colour vision (jfly.uni-koeln.de/color), the best family's first; yellow,
# which is weak on white, and black are left out.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY = "#B8B8B8"

Labels: TypeAlias = Sequence[str] | Mapping[int, str]
"""Names of lines: a list names 0, 1, 2 and so on, a dictionary those that are its keys."""
Colours: TypeAlias = Sequence[str] | Mapping[int, str]
"""Matplotlib colours of lines, as :data:`Labels` names them."""


class Coloured(Protocol):
    """What has a founder and a member, and so a colour."""

    @property
    def founder(self) -> int:
        """The newborn with which its lineage begins."""

    @property
    def member(self) -> int:
        """Its member."""


class Tints(msgspec.Struct, frozen=True):
    """The colours and names of a picture's lines.

    Attributes:
        by: Whether lines are told apart by the newborn that began their lineage or by their member.
        order: Numbers of these newborns, or members, the most important first: that of the best trial, then by size.
        colours: A colour by newborn or member; grey for those that have none of their own.
        names: A name for the legend by newborn or member.
        best: Whether there is a best trial.
    """

    by: Literal["founder", "member"]
    order: tuple[int, ...]
    colours: dict[int, str]
    names: dict[int, str]
    best: bool

    def key(self, thing: Coloured) -> int:
        """Return by which number a thing has its colour: its founder's or its member's."""
        return thing.founder if self.by == "founder" else thing.member

    def colour(self, thing: Coloured) -> str:
        """Return a thing's colour."""
        return self.colours[self.key(thing)]

    @property
    def own(self) -> tuple[int, ...]:
        """Return those with a colour of their own, in the order of the legend."""
        own = tuple(key for key in self.order if self.colours[key] != GREY)
        return own if self.by == "founder" else tuple(sorted(own))


def tints(
    trials: Sequence[Trial],
    best: int | None,
    *,
    colour: str = "founder",
    labels: object = None,
    colours: object = None,
) -> Tints:
    """Return the colours and names of the lines through some trials.

    Args:
        trials: Trials of one study.
        best: Number of the best trial; None if no trial has a finite score.
        colour: ``"founder"`` or ``"member"``.
        labels: Names for the legend; None for names such as "member 3".
        colours: Colours; None for the palette, whose best colour is the best lineage's.

    Raises:
        InvalidArgument: ``colour`` is neither of the two, there are too many members for the palette, or a label or a
            colour is not usable or is for what is not among the trials.

    Example:
        >>> from phyletic.testing.generations import completed_trial
        >>> made = tints([completed_trial(number, 0.5, {}) for number in (0, 1)], 1, colour="member", labels=["a", "b"])
        >>> made.names[1], made.order
        ('b', (1, 0))
    """
    check_one_of("colour", colour, ("founder", "member"))
    if colour == "founder":
        groups = {family.founder: family.size for family in families(trials, best)}
        plural = {founder: f"{size} trial{'s' * (size != 1)}" for founder, size in groups.items()}
        names = {founder: f"born as trial {founder} ({plural[founder]})" for founder in groups}
        what = "newborn trials"
    else:
        winner = next((trial.member for trial in trials if trial.number == best), None)
        sizes = Counter(trial.member for trial in trials)
        groups = {key: sizes[key] for key in sorted(sizes, key=lambda key: (key != winner, key))}
        names = {member: f"member {member}" for member in groups}
        what = "members"
    given = _by_number("labels", labels, "texts", list(groups), what)
    for text in given.values():
        if not is_unicode(text):
            raise InvalidArgument("labels", text, "texts that can be written")
    chosen = check_colours(_by_number("colours", colours, "matplotlib colours", list(groups), what))
    if colour == "member" and not chosen and len(groups) > len(PALETTE):
        allowed = f'"founder", or "member" for at most {len(PALETTE)} members, or for more with colours='
        raise InvalidArgument("colour", colour, allowed)
    painted = _painted(groups, chosen, by_number=colour == "member")
    return Tints(colour, tuple(groups), painted, {**names, **given}, best is not None)  # type: ignore[arg-type]


def _painted(groups: Mapping[int, int], chosen: Mapping[int, str], *, by_number: bool) -> dict[int, str]:
    """Return a colour by number: the given ones, else the palette's for the first, grey for all others.

    Args:
        groups: How many trials each number has, the most important first.
        chosen: The given colours.
        by_number: Whether the palette is given out in the order of the numbers.
    """
    left = [colour for colour in PALETTE if colour not in chosen.values()]
    order = sorted(groups) if by_number else list(groups)
    few = len(groups) <= len(PALETTE)  # of many families, those of one trial have no colour
    painted = {}
    for place, key in enumerate(order):
        if key in chosen:
            painted[key] = chosen[key]
        elif left and (place == 0 or few or groups[key] > 1):
            painted[key] = left.pop(0)
        else:
            painted[key] = GREY
    return painted


def _by_number(name: str, value: object, kind: str, known: Sequence[int], what: str) -> dict[int, str]:
    """Return texts by number, as a list or a dictionary gives them.

    Args:
        name: The argument.
        value: Its value.
        kind: What the texts are, for the error.
        known: The numbers that there are.
        what: What the numbers count.
    """
    shown = ", ".join(map(str, sorted(known)[:12])) + (", …" if len(known) > 12 else "")
    allowed = f"a list of {kind}, or a dictionary of them by number; the {what} are {shown}"
    if value is None:
        return {}
    if isinstance(value, Mapping):
        made = dict(value)
        for key in made:
            if isinstance(key, bool) or not isinstance(key, int) or key not in known:
                raise InvalidArgument(name, key, allowed)
    else:
        made = dict(enumerate(check_sequence(name, value, allowed)))
        if len(made) > max(known) + 1:
            raise InvalidArgument(name, value, allowed)
    for text in made.values():
        if not isinstance(text, str):
            raise InvalidArgument(name, text, allowed)
    return {key: text for key, text in made.items() if key in known}


def check_colours(chosen: Mapping[Any, str]) -> dict[Any, str]:
    """Return colours that matplotlib knows.

    Raises:
        InvalidArgument: It does not know one.
        MissingDependency: matplotlib is not installed.
    """
    if not chosen:
        return {}
    try:
        from matplotlib.colors import is_color_like, to_hex
    except ImportError:
        raise MissingDependency("matplotlib", "plots", "drawing") from None
    for colour in chosen.values():
        if not is_color_like(colour):
            raise InvalidArgument("colours", colour, 'matplotlib colours, such as "#0072B2" or "tab:blue"')
    return {key: str(to_hex(colour)).upper() for key, colour in chosen.items()}
