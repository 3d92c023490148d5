"""Why a trial starts from where it starts, with the hyperparameters it has."""

from __future__ import annotations

from typing import Literal

import msgspec

from phyletic.records.values import Value

__all__ = ["Change", "Decision", "Suggestion"]


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one hyperparameter got another value.

    Attributes:
        path: The hyperparameter's flat path.
        before: What it changed from: the inherited value where it was explored, the value in the member's previous
            trial where it was inherited or dropped; None where it did not exist there.
        after: Value in the new trial; None where it does not exist there.
        how: In words, such as ``"x0.8"``, ``"resampled"``, ``"inherited"``, ``"dropped"`` or a function's name.
    """

    path: str
    before: Value
    after: Value
    how: str


class Decision(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A decision with its inputs, so that "why did this learning rate change" has an answer.

    Attributes:
        kind: ``"birth"`` (a newborn of the first generation), ``"continue"`` (the member goes on from its own
            checkpoint), ``"explore"`` (it does, with its own hyperparameters changed), ``"exploit"`` (from a donor's),
            ``"rescue"`` (its score was not finite or it failed: from a donor's, or fresh where there is no donor),
            ``"resume"`` (the rest of a trial handed back early).
        as_of: Sequence number of the study that the decision saw; the population is rebuilt from it.
        rank: The member's place among those ranked, 0 the best; None where it was not ranked.
        ranked: How many members were ranked.
        threshold: The score that separated losers from the others, in the metric's own units.
        donor: Number of the trial taken from; None without one.
        donor_member: The donor's member.
        donor_rank: The donor's place among those ranked.
        inherited: What came from the donor: ``"both"``, ``"weights"``, ``"hyperparameters"``, or "" without one.
        explored: Name of the rule that changed hyperparameters, with a hash where it is a user's function.
        changes: Each hyperparameter whose value differs from the member's previous trial's, or was explored.
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
    """What an algorithm wants a member to do next.

    Attributes:
        parent: Number of the trial whose checkpoint to start from; None for a newborn.
        hyperparameters: A value for every parameter that is active, constants too, by flat path.
        decision: Why.
        steps: Steps to train; None where ``seconds`` bounds the trial. The coordinator cuts it to the budget.
        seconds: Seconds to train; None where ``steps`` bounds the trial.
    """

    parent: int | None
    hyperparameters: dict[str, Value]
    decision: Decision
    steps: int | None
    seconds: float | None = None
