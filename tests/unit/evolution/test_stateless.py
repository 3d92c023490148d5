"""Without a study, ``suggest`` gives the same trials as a study: for programs that keep their own trials."""

from __future__ import annotations

import json
import math

import msgspec
import pytest

import phyletic as ph
from phyletic.errors import InvalidArgument, InvalidSpace

SPACE = {"lr": ph.Float(1e-4, 1e-1, log=True), "width": ph.Choice([2, 3], fixed=True)}
ALGORITHMS = {
    "pbt": ph.PBT(5, 4, exploit=ph.Truncation(0.4), synchronous=True),
    "t-test": ph.PBT(5, 4, exploit=ph.TTest(window=6, p=0.9), synchronous=True),
    "matched": ph.PBT(5, 4, compare="matched", exploit=ph.BinaryTournament(), synchronous=True),
    "random": ph.RandomSearch(5, 4, synchronous=True),
    "grid": ph.GridSearch(4, points=2, synchronous=True),
    "explore only": ph.ExploreOnly(5, 4, synchronous=True),
}
STEPS = 22  # the last trial is shortened
INITIAL = [{"lr": 0.01}]


def definition_of(algorithm, **changes):
    return ph.StudyDefinition(
        **{"space": SPACE, "metric": "score", "mode": "max", "algorithm": algorithm, "steps": STEPS, **changes}
    )


def studied(algorithm):
    """Return a study's trials and their reports as dictionaries; some fail, some have no finite score."""
    study = ph.Study(
        "studied",
        space=SPACE,
        metric="score",
        mode="max",
        algorithm=algorithm,
        budget=ph.Budget(steps=STEPS),
        seed=7,
        initial=INITIAL,
        max_failures=1,
    )
    with study:
        while isinstance(trial := study.ask(), ph.LiveTrial):
            if trial.seed % 9 == 0:
                study.fail(trial, "by bad luck")
                continue
            for part in (1, 2):
                trial.report(score=trial["lr"] * part + trial.seed % 5, step=trial.start_step + part)
            study.tell(trial, score=math.nan if trial.seed % 11 == 0 else trial["lr"] * 9 + trial.seed % 3)
        return [
            {**msgspec.structs.asdict(one), "evaluations": [*map(msgspec.structs.asdict, study.evaluations(one))]}
            for one in study.trials()
        ]


def decided(suggestion):
    return msgspec.structs.replace(suggestion.decision, as_of=0)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_suggestions_equal_those_of_the_synchronous_study(name):
    trials = studied(ALGORITHMS[name])
    definition = definition_of(ALGORITHMS[name], initial=INITIAL)
    last = max(trial["generation"] for trial in trials)
    assert last >= 4
    assert any(trial["state"] == "failed" for trial in trials)
    for generation in range(last + 1):
        before = [trial for trial in trials if trial["generation"] < generation]
        made = [trial for trial in trials if trial["generation"] == generation]
        suggested = ph.suggest(definition, before, k=100, seed=7)
        assert len(suggested) == len(made)
        for one, trial in zip(suggested, made, strict=True):
            suggestion = one.suggestion
            assert (one.number, one.member, one.seed) == (trial["number"], trial["member"], trial["seed"])
            assert (suggestion.parent, suggestion.steps) == (trial["parent"], trial["steps"])
            assert suggestion.hyperparameters == trial["hyperparameters"]
            assert decided(suggestion) == msgspec.structs.replace(trial["decision"], as_of=0)
    assert ph.suggest(definition, trials, k=100, seed=7) == []


def test_a_generation_may_be_asked_for_in_parts():
    trials = studied(ALGORITHMS["pbt"])
    definition = definition_of(ALGORITHMS["pbt"], initial=INITIAL)
    for count in range(5, 20):
        # the study decided this generation at once, and the first trials of it are complete already
        one = ph.suggest(definition, trials[:count], k=1, seed=7)[0]
        assert (one.number, one.member) == (count, trials[count]["member"])
        assert one.suggestion.hyperparameters == trials[count]["hyperparameters"]


def test_the_next_generation_waits_for_the_last_trial_of_this_one():
    definition = definition_of(ALGORITHMS["pbt"])
    trials = [
        {"number": one, "member": one, "hyperparameters": {"lr": 0.01, "width": 2}, "end_step": 4, "score": one}
        for one in range(5)
    ]
    assert len(ph.suggest(definition, trials, k=5)) == 5
    running = {**trials[3], "end_step": None, "score": None}
    assert ph.suggest(definition, [*trials[:3], running, trials[4]], k=5) == []


def complete(one, score):
    suggestion = one.suggestion
    return {
        "number": one.number,
        "member": one.member,
        "parent": suggestion.parent,
        "hyperparameters": suggestion.hyperparameters,
        "end_step": (one.number // 3 + 1) * 4,
        "score": score,
    }


def test_the_member_furthest_behind_is_next_and_each_has_one_open_trial():
    definition = definition_of(ph.PBT(3, 4))
    births = ph.suggest(definition, [], k=9)
    assert [one.member for one in births] == [0, 1, 2]
    trials = [complete(one, score) for one, score in zip(births, (0.1, 0.2, 0.3), strict=True)]
    running = {key: value for key, value in trials[2].items() if key not in ("end_step", "score")}
    assert [one.member for one in ph.suggest(definition, [*trials[:2], running], k=9)] == [0, 1]
    older = {**trials[0], "end_step": 8}
    assert [one.member for one in ph.suggest(definition, [older, *trials[1:]], k=2)] == [1, 2]


def test_the_rest_of_a_partial_trial_comes_first():
    for algorithm in (ph.PBT(2, 4), ph.PBT(2, 4, synchronous=True)):
        values = {"lr": 0.01, "width": 2}
        partial = {"number": 0, "member": 0, "hyperparameters": values, "steps": 4, "end_step": 1, "state": "partial"}
        done = {"number": 1, "member": 1, "hyperparameters": values, "steps": 4, "end_step": 4, "score": 1.0}
        first, *others = ph.suggest(definition_of(algorithm), [partial, done], k=2)
        assert (first.member, first.suggestion.parent, first.suggestion.steps) == (0, 0, 3)
        assert first.suggestion.decision.kind == "resume"
        assert first.suggestion.hyperparameters == values
        assert [one.member for one in others] == ([] if algorithm.synchronous else [1])


def test_trials_may_come_from_json_in_any_order_and_are_not_modified():
    trials = [complete(one, 0.5) for one in ph.suggest(definition_of(ph.PBT(3, 4)), [], k=3)]
    given = json.loads(json.dumps(trials))
    before = json.dumps(given)
    first = ph.suggest(definition_of(ph.PBT(3, 4)), given, k=3, seed=2)
    assert json.dumps(given) == before
    assert first == ph.suggest(definition_of(ph.PBT(3, 4)), given[::-1], k=3, seed=2)
    as_mapping = {"space": SPACE, "metric": "score", "mode": "max", "algorithm": ph.PBT(3, 4), "steps": STEPS}
    assert first == ph.suggest(as_mapping, given, k=3, seed=2)


def test_hopeless_trials_are_named():
    algorithm = ph.PBT(4, 4, early_stopping=ph.MedianStopping(grace=1, least=2))

    def reporting(number, value, **more):
        reports = [{"step": 1, "metric": "score", "value": value}]
        return dict(number=number, member=number, hyperparameters={"lr": 0.1, "width": 2}, evaluations=reports, **more)

    trials = [reporting(0, 3.0, end_step=4, score=3.0), reporting(1, 2.0), reporting(2, 0.5), reporting(3, 4.0)]
    assert ph.early_stop(definition_of(algorithm), trials) == (1, 2)
    assert ph.early_stop(definition_of(algorithm, mode="min"), trials) == (3,)
    assert ph.early_stop(definition_of(ph.PBT(4, 4)), trials) == ()


GOOD = {"number": 0, "member": 0, "hyperparameters": {"lr": 0.01, "width": 2}, "end_step": 4, "score": 1.0}


@pytest.mark.parametrize(
    ("trials", "named"),
    [
        ([3], r"trials\[0\] is 3"),
        ([{**GOOD, "number": -1}], r"trials\[0\]"),
        ([{**GOOD, "score": "high"}], r"trials\[0\]"),
        ([{**GOOD, "member": 3}], r"trials\[0\]\.member is 3, but must be below the population, 3"),
        ([GOOD, GOOD], r"trials\[1\]\.number is 0"),
        ([{**GOOD, "number": 4, "parent": 1}], "trials is 1, but must be a trial that has ended, .* parent of 4"),
        ([{**GOOD, "evaluations": [1.0]}], r"trials\[0\]"),
    ],
)
def test_impossible_trials_are_refused(trials, named):
    with pytest.raises(InvalidArgument, match=named):
        ph.suggest(definition_of(ph.PBT(3, 4)), trials)


def test_values_outside_of_the_space_are_refused():
    with pytest.raises(InvalidSpace, match="lr"):
        ph.suggest(definition_of(ph.PBT(3, 4)), [{**GOOD, "hyperparameters": {"lr": 7.0, "width": 2}}])
    with pytest.raises(InvalidSpace, match="lr"):
        definition_of(ph.PBT(3, 4), initial=[{"lr": 7.0}])
