"""Why a trial has its parent and its hyperparameters."""

from __future__ import annotations

from typing import Literal

import msgspec

from phyletic.space.values import Value


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """The change of one hyperparameter.

    Attributes:
        path: The hyperparameter's flat path.
        before: If explored, the inherited value; if inherited or dropped, the value in the member's previous trial.
            None if it did not exist there.
        after: The value in the new trial; None if it does not exist there.
        how: How it changed: ``"x0.8"``, ``"resampled"``, ``"inherited"``, ``"dropped"``, a function's name or similar.
    """

    path: str
    before: Value
    after: Value
    how: str


class Decision(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A decision with its inputs: the answer to "why did this learning rate change".

    Attributes:
        kind: ``"birth"``: a newborn of the first generation. ``"continue"``: the member continues from its own
            checkpoint. ``"explore"``: it does so with changed hyperparameters. ``"exploit"``: it starts from a donor's
            checkpoint. ``"rescue"``: it failed or its score was not finite, so it starts from a donor's checkpoint, or
            afresh without a donor. ``"resume"``: the rest of a trial that was handed back early.
        as_of: The study's sequence number when it was decided; the population it saw is rebuilt from it.
        rank: The member's rank, 0 for the best; None if it was not ranked.
        ranked: How many members were ranked.
        threshold: The score that separated losers from the others, in the metric's own units.
        donor: Number of the donor's trial; None without a donor.
        donor_member: The donor's member.
        donor_rank: The donor's rank.
        inherited: What came from the donor: ``"both"``, ``"weights"``, ``"hyperparameters"``, or "" without a donor.
        explored: Name of the rule that changed hyperparameters, with a hash if it is a user's function.
        changes: Each hyperparameter that was explored, or whose value differs from the member's previous trial.
        note: A remark of the algorithm, such as the p-value of a test.
    """

    kind: Literal["birth", "continue", "explore", "exploit", "rescue", "resume"]
    as_of: int = 0
    rank: int | None = None
    ranked: int = 0
    threshold: float | None = None
    donor: int | None = None
    donor_member: int | None = None
    donor_rank: int | None = None
    inherited: Literal["", "both", "weights", "hyperparameters"] = ""
    explored: str = ""
    changes: tuple[Change, ...] = ()
    note: str = ""


class Suggestion(msgspec.Struct, frozen=True, kw_only=True):
    """An algorithm's wish for a member's next trial.

    Attributes:
        parent: Number of the trial whose checkpoint to start from; None for a newborn.
        hyperparameters: A value for every active parameter and constant, by flat path.
        decision: Why.
        steps: Steps to train; None if ``seconds`` limits the trial. The coordinator cuts it to the budget.
        seconds: Seconds to train; None if ``steps`` limits the trial.
    """

    parent: int | None
    hyperparameters: dict[str, Value]
    decision: Decision
    steps: int | None
    seconds: float | None = None
