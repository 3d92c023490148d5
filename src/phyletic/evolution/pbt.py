"""Population based training (Jaderberg et al. 2017, arXiv 1711.09846)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Literal, NamedTuple, cast

from phyletic.errors import InvalidArgument
from phyletic.evolution.algorithm import Reads
from phyletic.evolution.arguments import check_flag, check_integer, check_intervals, check_one_of
from phyletic.evolution.early_stop import EarlyStop, EarlyStopFunction, TrialCurve, as_early_stop, stopped_by_rules
from phyletic.evolution.exploit import Exploit, NoiseGate, Truncation, Verdict
from phyletic.evolution.explore import Explore, ExploreFunction, Perturb, rule_name
from phyletic.evolution.population import Population
from phyletic.evolution.ranking import MemberView, Ranking, rank_matched
from phyletic.evolution.suggestion import (
    changes_between,
    continuation,
    decision_about,
    drawn_birth,
    fresh_start,
    reason_of_rescue,
    suggestion,
)
from phyletic.evolution.user_function import as_rule
from phyletic.randomness import RandomStream
from phyletic.records import Suggestion
from phyletic.space import Space
from phyletic.unknown_arguments import explain_unknown_arguments


@explain_unknown_arguments
@dataclass(frozen=True)
class PBT:
    """Population based training: losers copy winners' weights and explore their hyperparameters.

    Each member trains for ``interval`` steps at a time. After each trial ``exploit`` decides whether it loses. A loser
    goes on from a donor's checkpoint with the donor's hyperparameters, changed by ``explore``; any other member goes on
    from its own checkpoint with its own hyperparameters.

    A member whose score is not finite, or that failed, is rescued, whatever the rules decide: it takes a donor from the
    best of the population, or starts afresh with newly drawn hyperparameters if no member can donate.

    Args:
        population: Number of members, at least 1 (the paper's experiments use 20 to 80; with 10 or fewer the search is
            greedy and its results vary).
        interval: Steps of one trial. The paper's *ready* condition.
        interval_seconds: Seconds of one trial, instead of ``interval``.
        exploit: The rule that chooses losers and donors: :class:`Truncation`, :class:`BinaryTournament` or
            :class:`TTest`.
        explore: How inherited hyperparameters change: :class:`Perturb`, :class:`Resample`, :class:`Gaussian`, a
            function ``(hyperparameters, rng) -> mapping``, or a list of these, applied in order.
        synchronous: Whether members wait for each other. Then a study is reproduced exactly by any number of workers.
            The default is asynchronous, as in the paper.
        burn_in: Steps before which a member does not exploit.
        inherit: What a loser copies. ``"both"`` is PBT; ``"weights"`` and ``"hyperparameters"`` are the ablations of
            the paper's figure 2. Fixed hyperparameters always belong to the weights.
        compare: ``"latest"`` ranks members by their latest scores; ``"matched"`` compares each member with the scores
            of its peers at the same age or younger (see :func:`rank_matched`).
        gate: A :class:`NoiseGate` for noisy scores, or None.
        save_every: Steps between two saves within a trial, at least 1; a trial that is tried again goes on from its
            latest save. None saves at a trial's end alone.
        early_stopping: Ends trials whose reports show that they are not worth finishing, and rescues their members:
            :class:`NonFiniteStopping`, :class:`MedianStopping`, a function ``(curve, others) -> bool``, or a list of
            these. Reports arrive at different times in each run, so such a study is not reproduced exactly.

    Raises:
        InvalidArgument: An argument is of the wrong kind or outside of its range.

    Example:
        >>> algorithm = PBT(population=20, interval=100, exploit=Truncation(0.25), explore=[Perturb((0.5, 2.0))])
        >>> algorithm.population, algorithm.interval
        (20, 100)
    """

    population: int = 8
    interval: int | None = None
    _: KW_ONLY
    interval_seconds: float | None = None
    exploit: Exploit = field(default_factory=Truncation)
    explore: Explore | ExploreFunction | Sequence[Explore | ExploreFunction] = field(default_factory=Perturb)
    synchronous: bool = False
    burn_in: int = 0
    inherit: Literal["both", "weights", "hyperparameters"] = "both"
    compare: Literal["latest", "matched"] = "latest"
    gate: NoiseGate | None = None
    save_every: int | None = None
    early_stopping: EarlyStop | EarlyStopFunction | Sequence[EarlyStop | EarlyStopFunction] | None = None

    def __post_init__(self) -> None:
        check_integer("population", self.population, 1)
        check_intervals(self.interval, self.interval_seconds)
        if isinstance(self.exploit, type) or not isinstance(self.exploit, Exploit):
            raise InvalidArgument("exploit", self.exploit, "a rule such as Truncation(), BinaryTournament() or TTest()")
        object.__setattr__(self, "explore", as_rule(self.explore))
        check_flag("synchronous", self.synchronous)
        check_integer("burn_in", self.burn_in, 0)
        check_one_of("inherit", self.inherit, ("both", "weights", "hyperparameters"))
        check_one_of("compare", self.compare, ("latest", "matched"))
        if self.gate is not None and not isinstance(self.gate, NoiseGate):
            raise InvalidArgument("gate", self.gate, "a NoiseGate, or None")
        if self.save_every is not None:
            check_integer("save_every", self.save_every, 1)
        object.__setattr__(self, "early_stopping", as_early_stop(self.early_stopping) or None)

    @property
    def reads(self) -> Reads:
        """The needs of the rules: scores for a t-test, histories to compare at equal age, curves to stop early."""
        return Reads(
            scores=self.exploit.window, history=self.compare == "matched", curves=self.early_stopping is not None
        )

    @property
    def rule(self) -> Explore:
        """The explore rule made from ``explore``."""
        return cast(Explore, self.explore)

    birth = drawn_birth

    def population_size(self, space: Space) -> int:
        """Return ``population``."""
        return self.population

    def early_stop(self, curves: Sequence[TrialCurve], mode: Literal["max", "min"]) -> tuple[int, ...]:
        """Return the numbers of the running trials that a rule would stop.

        Args:
            curves: The reports of the running trials and of the latest ended ones.
            mode: Which way the metric is better.
        """
        return stopped_by_rules(as_early_stop(self.early_stopping), curves, mode)

    def suggest(self, population: Population, member: int, stream: RandomStream) -> Suggestion:
        """Decide a member's next trial; see :meth:`Algorithm.suggest`."""
        view = population.view(member)
        if self.compare == "matched":
            ranking = rank_matched(population.members, population.mode, view)
        else:
            ranking = population.ranking
        if not view.sound:
            return self._rescue(population, ranking, view, stream)
        verdict = self._judge(ranking, view, stream)
        note = verdict.note
        if verdict.loses:
            donors = population.donors(ranking, verdict.donors, member)
            if donors:
                donor = _Donor(ranking, stream.choice(donors), "exploit", self.inherit)
                return self._copy(population, view, donor, verdict.threshold, note, stream)
            note = _joined(note, "no donor with steps left")
        decision = decision_about(view, "continue", population, ranking, threshold=verdict.threshold, note=note)
        return continuation(self, view, decision)

    def _judge(self, ranking: Ranking, view: MemberView, stream: RandomStream) -> Verdict:
        """Ask the exploit rule, then the gate; a member that is alone or too young does not lose.

        Args:
            ranking: The members to compare with.
            view: The member.
            stream: The source of random numbers.
        """
        if len(ranking) < 2:
            return Verdict(False, note="no peer to compare with")
        head = view.trial
        if head is not None and (head.end_step or 0) < self.burn_in:
            return Verdict(False, note=f"burn-in until step {self.burn_in}")
        verdict = self.exploit.judge(ranking, view, stream)
        if self.gate is None or not verdict.loses:
            return verdict
        low, high = self.gate.cuts(ranking.scores[: ranking.finite], ranking.mode)
        loses = _beyond(low, ranking.scores[ranking.place_of(view)], ranking)
        donors = [place for place in verdict.donors if _beyond(ranking.scores[place], high, ranking)]
        note = _joined(verdict.note, f"gate: replaced beyond {low:.6g}, copied beyond {high:.6g}")
        return Verdict(loses and bool(donors), donors, verdict.threshold, note)

    def _rescue(self, population: Population, ranking: Ranking, view: MemberView, stream: RandomStream) -> Suggestion:
        """Give a member a donor from the best, or a fresh start if no member can donate.

        Args:
            population: The view of all members.
            ranking: The ranking to take the donor from, if one of its members can donate.
            view: The member in need of rescue.
            stream: The source of random numbers.
        """
        note = reason_of_rescue(view)
        rankings = (ranking,) if ranking is population.ranking else (ranking, population.ranking)
        for candidates in rankings:
            able = population.donors(candidates, range(candidates.finite), view.member)
            if not able:
                continue
            elite = [place for place in able if place < self.exploit.elite(len(candidates))]
            if self.gate is not None:
                _, high = self.gate.cuts(candidates.scores[: candidates.finite], candidates.mode)
                elite = [place for place in elite if _beyond(candidates.scores[place], high, candidates)]
            place = stream.choice(elite or able[:1])
            return self._copy(population, view, _Donor(candidates, place, "rescue", "both"), None, note, stream)
        return fresh_start(self, population, view, population.space.sample(stream))

    def _copy(
        self,
        population: Population,
        view: MemberView,
        donor: _Donor,
        threshold: float | None,
        note: str,
        stream: RandomStream,
    ) -> Suggestion:
        """Copy the donor's weights, hyperparameters or both, and explore the hyperparameters.

        Args:
            population: The view of all members.
            view: The member that copies.
            donor: The donor, and the reason.
            threshold: The score that separated losers from the others; None for a rescue.
            note: A remark for people who read the decision.
            stream: The source of random numbers.
        """
        space, ranking = population.space, donor.ranking
        winner = ranking.members[donor.place]
        head, own = winner.trial, view.trial
        assert head is not None
        if donor.inherited == "both" or own is None:
            parent, values = head.number, dict(head.hyperparameters)
        elif donor.inherited == "weights":
            parent, values = head.number, space.with_fixed_of(own.hyperparameters, head.hyperparameters)
        else:
            parent, values = own.number, space.with_fixed_of(head.hyperparameters, own.hyperparameters)
        explored = self.rule.explore(space, values, stream)
        before = values if own is None else own.hyperparameters
        decision = decision_about(
            view,
            donor.kind,
            population,
            ranking,
            threshold=threshold,
            donor=head.number,
            donor_member=winner.member,
            donor_rank=donor.place,
            inherited=donor.inherited,
            explored=rule_name(self.rule),
            changes=changes_between(before, values, explored.values, explored.how),
            note=note,
        )
        return suggestion(self, parent, explored.values, decision)


class _Donor(NamedTuple):
    """The donor that a member copies, and why."""

    ranking: Ranking
    place: int
    kind: Literal["exploit", "rescue"]
    inherited: Literal["both", "weights", "hyperparameters"]


def _beyond(better: float, worse: float, ranking: Ranking) -> bool:
    """Whether the first score is strictly better than the second.

    Args:
        better: The first score.
        worse: The second score.
        ranking: The ranking of both; it knows which way is better.
    """
    return better > worse if ranking.mode == "max" else better < worse


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)
