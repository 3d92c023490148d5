"""Suggestions for programs that keep their own trials: pure functions of a definition, trials and a seed.

Nothing is stored and nothing is remembered: the same arguments give the same answer. For a synchronous study whose
trials are given, the suggestions are those that the study made itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from phyletic.errors import InvalidArgument
from phyletic.evolution.algorithm import Algorithm, check_algorithm, hopeless_trials
from phyletic.evolution.arguments import check_integer, check_mapping, check_seed, check_sequence
from phyletic.evolution.early_stop import MOST_CURVES, TrialCurve
from phyletic.evolution.unstored_population import UnstoredPopulation
from phyletic.randomness import RandomStream, trial_seed
from phyletic.records import Decision, Evaluation, Metric, Suggestion, Trial, TrialState
from phyletic.space import Space
from phyletic.unknown_arguments import explain_unknown_arguments


@explain_unknown_arguments
@dataclass(frozen=True, kw_only=True)
class StudyDefinition:
    """The definition of a study, for :func:`suggest` and :func:`early_stop`.

    Args:
        space: What may vary: a :class:`Space`, or the dictionary that makes one.
        metric: Name of the metric that ranks members.
        mode: ``"max"`` if a higher score is better, ``"min"`` if a lower one is.
        algorithm: The algorithm, which also says how many members there are.
        steps: The age in steps at which a member ends, as in ``Budget(steps=...)``; None for no limit.
        initial: Values for the first members, as for ``Study``.

    Raises:
        InvalidArgument: An argument cannot be used; for the space and values, an InvalidSpace that names the parameter.

    Example:
        >>> import phyletic as ph
        >>> ph.StudyDefinition(
        ...     space={"lr": ph.Float(0.001, 0.1, log=True)}, metric="loss", mode="min", algorithm=ph.PBT(4, 100)
        ... ).mode
        'min'
    """

    space: Space
    metric: str
    mode: Literal["max", "min"]
    algorithm: Algorithm
    steps: int | None = None
    initial: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.space, Space):
            allowed = "a Space, or a dictionary from names to domains"
            object.__setattr__(self, "space", Space(check_mapping("space", self.space, allowed)))
        Metric(self.metric, self.mode)
        size = check_algorithm(self.algorithm).population_size(self.space)
        if self.steps is not None:
            check_integer("steps", self.steps, 1)
        initial = check_sequence("initial", self.initial, "a list of dictionaries, one for each of the first members")
        if len(initial) > size:
            raise InvalidArgument("initial", f"a list of {len(initial)}", f"no longer than the population, {size}")
        for place, given in enumerate(initial):
            name = f"initial[{place}]"
            self.space.complete(
                check_mapping(name, given, "a dictionary from hyperparameters to values"), RandomStream(0)
            )
        object.__setattr__(self, "initial", initial)


class MemberSuggestion(msgspec.Struct, frozen=True, kw_only=True):
    """The next trial of a member.

    Attributes:
        number: The number that the trial must have among all trials.
        member: The member that it belongs to.
        seed: Seed of its training code, below 2**32.
        suggestion: Its parent, hyperparameters, length and decision.
    """

    number: int
    member: int
    seed: int
    suggestion: Suggestion


class _Known(msgspec.Struct, frozen=True):
    trial: Trial
    evaluations: tuple[Evaluation, ...]
    early_stopped: bool


def suggest(
    definition: StudyDefinition | Mapping[str, Any],
    trials: Sequence[Trial | Mapping[str, Any]],
    k: int = 1,
    seed: int = 0,
) -> list[MemberSuggestion]:
    """Suggest the next trials of a population from the trials so far.

    Each member without an open trial gets one: births first, then the member furthest behind, and among equals the
    member that has waited longest. With a synchronous algorithm a generation is suggested in member order, once every
    trial of the generation before has ended; until then the list is empty. The rest of a partial trial comes first.

    Run the trial under the suggestion's number, and pass it among ``trials`` from then on: first as a running trial,
    then completed, partial or failed.

    Args:
        definition: The definition, or a dictionary of the arguments of :class:`StudyDefinition`.
        trials: All trials so far: records such as ``study.trials()`` returns, or dictionaries with the same fields.
            A dictionary needs ``number``, ``member`` and ``hyperparameters``; ``parent`` unless it is a newborn;
            ``end_step`` and ``score`` once it has completed; ``state`` if it is neither running nor completed. It may
            also hold ``early_stopped``, and ``evaluations``, a list of ``{"step": ..., "metric": ..., "value": ...}``,
            which a t-test and :func:`early_stop` read.
        k: How many suggestions are wanted, at least 1.
        seed: The study's seed; all randomness comes from it and from the numbers of the trials.

    Returns:
        At most ``k`` suggestions, fewer if fewer members can go on.

    Raises:
        InvalidArgument: An argument cannot be used; for hyperparameters, an InvalidSpace that names the parameter.

    Example:
        >>> import phyletic as ph
        >>> definition = ph.StudyDefinition(
        ...     space={"lr": ph.Float(0.001, 0.1, log=True)}, metric="loss", mode="min", algorithm=ph.PBT(2, 100)
        ... )
        >>> [(born.number, born.member, born.suggestion.parent) for born in ph.suggest(definition, [], k=2)]
        [(0, 0, None), (1, 1, None)]
        >>> trials = [
        ...     {"number": 0, "member": 0, "hyperparameters": {"lr": 0.01}, "end_step": 100, "score": 0.3},
        ...     {"number": 1, "member": 1, "hyperparameters": {"lr": 0.02}, "end_step": 100, "score": 0.2},
        ... ]
        >>> [(one.member, one.suggestion.decision.kind) for one in ph.suggest(definition, trials, k=2)]
        [(0, 'exploit'), (1, 'continue')]
    """
    defined = _check_definition(definition)
    known = _check_trials(defined, trials)
    check_integer("k", k, 1)
    study = _population(defined, known, check_seed(seed))
    first = known[-1].trial.number + 1 if known else 0
    partial = [member for member in study.ready() if _is_partial(study.latest(member))]
    suggestions = [_resume(study, member, first + place) for place, member in enumerate(partial[:k])]
    if defined.algorithm.synchronous:
        study, members = _incomplete_generation(defined, known, study)
    else:
        members = sorted(set(study.ready()) - set(partial), key=lambda member: _turn(study, member))
    population = study.population()
    for place, member in enumerate(members[: k - len(suggestions)], len(suggestions)):
        decided = study.decide(member, first + place, population)
        cut = msgspec.structs.replace(decided.suggestion, steps=decided.trial.steps)
        seed = decided.trial.seed
        suggestions.append(MemberSuggestion(number=first + place, member=member, seed=seed, suggestion=cut))
    return suggestions


def early_stop(
    definition: StudyDefinition | Mapping[str, Any], trials: Sequence[Trial | Mapping[str, Any]]
) -> tuple[int, ...]:
    """Return the numbers of the running trials that are not worth finishing.

    Args:
        definition: As for :func:`suggest`.
        trials: All trials so far; those with ``evaluations`` are compared. See :func:`suggest`.

    Returns:
        Numbers of running trials; none if the algorithm has no rule to stop trials early.

    Raises:
        InvalidArgument: An argument cannot be used.

    Example:
        >>> import phyletic as ph
        >>> algorithm = ph.PBT(2, 100, early_stopping=ph.NonFiniteStopping())
        >>> definition = ph.StudyDefinition(
        ...     space={"lr": ph.Float(0.001, 0.1)}, metric="loss", mode="min", algorithm=algorithm
        ... )
        >>> report = {"step": 10, "metric": "loss", "value": float("nan")}
        >>> ph.early_stop(
        ...     definition, [{"number": 0, "member": 0, "hyperparameters": {"lr": 0.01}, "evaluations": [report]}]
        ... )
        (0,)
    """
    defined = _check_definition(definition)
    known = _check_trials(defined, trials)
    ended = [one for one in known if one.trial.end_step is not None][-MOST_CURVES:]
    running = [one for one in known if one.trial.state is TrialState.RUNNING and one.evaluations]
    curves = [
        TrialCurve(
            trial=one.trial.number,
            member=one.trial.member,
            start_step=one.trial.start_step,
            running=one.trial.end_step is None,
            points=tuple((said.step, said.value) for said in one.evaluations if said.metric == defined.metric),
            latest={said.metric: said.value for said in one.evaluations},
        )
        for one in (*ended, *running)
    ]
    return hopeless_trials(defined.algorithm, curves, defined.mode)


def _incomplete_generation(
    defined: StudyDefinition, known: Sequence[_Known], study: UnstoredPopulation
) -> tuple[UnstoredPopulation, list[int]]:
    """Return the population before the present generation, and the members that still need a trial of it.

    Args:
        defined: The definition of the study.
        known: All trials, by number.
        study: The population with all of them.
    """
    counts = [0] * study.size
    generation: dict[int, int] = {}
    for one in known:
        # the rest of a partial trial belongs to the generation of that trial
        resumed = one.trial.parent is not None and _is_partial(study.trials[one.trial.parent])
        counts[one.trial.member] += not resumed
        generation[one.trial.number] = counts[one.trial.member] - 1
    going_on = [member for member in range(study.size) if not study.ended(member)]
    present = min((counts[member] for member in going_on), default=0)
    before = [one for one in known if generation[one.trial.number] < present]
    earlier = _population(defined, before, study.seed)
    latest = [trial for member in range(study.size) if (trial := earlier.latest(member)) is not None]
    if any(trial.state.open or _is_partial(trial) for trial in latest):
        return earlier, []
    return earlier, [member for member in going_on if counts[member] == present]


def _turn(study: UnstoredPopulation, member: int) -> tuple[bool, int, int, int]:
    latest = study.latest(member)
    failed = latest is not None and latest.state is TrialState.FAILED
    return failed, study.age(member), -1 if latest is None else latest.number, member


def _resume(study: UnstoredPopulation, member: int, number: int) -> MemberSuggestion:
    """Suggest the rest of a member's partial trial.

    Args:
        study: The population.
        member: The member.
        number: The number that the trial will have.
    """
    partial = study.latest(member)
    assert partial is not None
    steps = None if partial.steps is None else max(1, partial.steps - (partial.steps_done or 0))
    rest = Suggestion(
        parent=partial.number,
        hyperparameters=dict(partial.hyperparameters),
        decision=Decision(kind="resume", as_of=len(study.trials)),
        steps=steps,
        seconds=partial.seconds,
    )
    return MemberSuggestion(number=number, member=member, seed=trial_seed(study.seed, number), suggestion=rest)


def _is_partial(trial: Trial | None) -> bool:
    return trial is not None and trial.state is TrialState.PARTIAL


def _population(defined: StudyDefinition, known: Sequence[_Known], seed: int) -> UnstoredPopulation:
    """Return the population after some trials.

    Args:
        defined: The definition of the study.
        known: Its trials, by number.
        seed: The study's seed.
    """
    study = UnstoredPopulation(defined.algorithm, defined.space, defined.mode, seed, defined.steps, defined.initial)
    for one in known:
        reported = [said.value for said in one.evaluations if said.metric == defined.metric]
        if not reported and one.trial.score is not None:
            reported = [one.trial.score]
        study.add(one.trial, reported, early_stopped=one.early_stopped)
    return study


def _check_definition(definition: object) -> StudyDefinition:
    if isinstance(definition, StudyDefinition):
        return definition
    allowed = "a StudyDefinition, or a dictionary of its arguments"
    given = check_mapping("definition", definition, allowed)
    try:
        return StudyDefinition(**given)
    except TypeError as error:
        raise InvalidArgument("definition", definition, f"{allowed} ({error!s:.300})") from error


def _check_trials(defined: StudyDefinition, trials: object) -> list[_Known]:
    """Return the trials in the order of their numbers."""
    size = defined.algorithm.population_size(defined.space)
    known: dict[int, _Known] = {}
    given = check_sequence("trials", trials, "a list of trials, or of dictionaries with their fields")
    for place, one in enumerate(given):
        read = _check_trial(f"trials[{place}]", one, defined.space)
        if read.trial.number in known:
            raise InvalidArgument(f"trials[{place}].number", read.trial.number, "the number of no other trial")
        if read.trial.member >= size:
            raise InvalidArgument(f"trials[{place}].member", read.trial.member, f"below the population, {size}")
        known[read.trial.number] = read
    for number in sorted(known):
        trial = known[number].trial
        if trial.parent is None:
            continue
        end_step = known[trial.parent].trial.end_step if trial.parent in known else None
        if end_step is None:
            raise InvalidArgument("trials", trial.parent, f"a trial that has ended, since it is the parent of {number}")
        if not trial.start_step:
            begun = msgspec.structs.replace(trial, start_step=end_step)
            known[number] = msgspec.structs.replace(known[number], trial=begun)
    return [known[number] for number in sorted(known)]


def _check_trial(name: str, given: object, space: Space) -> _Known:
    """Return a trial that the user gave, with its reports.

    Args:
        name: The argument's name.
        given: A Trial, or a dictionary of its fields.
        space: The study's space.
    """
    if isinstance(given, Trial):
        return _Known(given, (), False)
    fields = check_mapping(name, given, "a trial, or a dictionary of its fields")
    ended = fields.get("end_step") is not None
    defaults = {
        "generation": 0,
        "parent": None,
        "start_step": 0,
        "steps": None,
        "seed": 0,
        "state": TrialState.COMPLETED if ended else TrialState.RUNNING,
        "decision": Decision(kind="birth"),
    }
    try:
        trial = msgspec.convert({**defaults, **fields}, Trial)
        evaluations = msgspec.convert(fields.get("evaluations", ()), tuple[Evaluation, ...])
        early_stopped = msgspec.convert(fields.get("early_stopped", False), bool)
    except (msgspec.ValidationError, InvalidArgument) as error:
        raise InvalidArgument(name, given, f"a dictionary of a trial's fields ({error!s:.300})") from error
    values = space.validate(trial.hyperparameters)
    return _Known(msgspec.structs.replace(trial, hyperparameters=values), evaluations, early_stopped)
