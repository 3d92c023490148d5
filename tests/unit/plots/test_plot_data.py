"""The data of the plots, checked without drawing."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phyletic.plots import axes, curves, data, families
from phyletic.records import Metric, Trial, TrialState
from phyletic.space import Choice, Float, Int, Space

Population = Callable[..., list[Trial]]


def test_every_ended_trial_is_a_stroke_or_a_mark(population: Population, metric: Metric) -> None:
    trials = population(8)
    series = curves.score_series(trials, metric)
    told = {stroke.trial for stroke in series.strokes} | {mark.trial for mark in series.marks}
    assert told == {trial.number for trial in trials}
    assert sorted(mark.kind for mark in series.marks) == ["failed", "not finite"]


def test_strokes_join_parent_and_child(population: Population, metric: Metric) -> None:
    trials = population(8)
    known = {trial.number: trial for trial in trials}
    for stroke in curves.score_series(trials, metric).strokes:
        trial = known[stroke.trial]
        assert (stroke.steps[-1], stroke.values[-1]) == (trial.end_step, trial.score)
        if trial.parent is not None:
            parent = known[trial.parent]
            assert (stroke.steps[0], stroke.values[0]) == (parent.end_step, parent.score)


def test_a_line_skips_a_trial_without_a_score(population: Population, metric: Metric) -> None:
    first, second, third = (trial for trial in population(1, 3, failing=False))
    partial = msgspec.structs.replace(second, state=TrialState.PARTIAL, score=None, metrics={})
    series = curves.score_series([first, partial, third], metric)
    assert series.strokes[-1].steps == (100, 300)


def test_the_best_lineage_is_the_chain_of_parents_to_the_best_trial(population: Population) -> None:
    trials = population(8)
    known = {trial.number: trial for trial in trials}
    for metric, choose in ((Metric("accuracy", "max"), max), (Metric("accuracy", "min"), min)):
        best = families.best_trial(trials, metric)
        assert known[best].score == choose(trial.score for trial in trials if trial.finite)
        path = families.lineage_numbers(trials, best)
        assert known[path[0]].parent is None
        assert [known[number].parent for number in path[1:]] == list(path[:-1])
        marked = {stroke.trial for stroke in curves.score_series(trials, metric).strokes if stroke.best}
        assert marked == set(path)


def test_families_partition_the_trials(population: Population, metric: Metric) -> None:
    trials = population(12)
    found = families.families(trials, families.best_trial(trials, metric))
    assert sum(family.size for family in found) == len(trials)
    assert [family.best for family in found] == [True] + [False] * (len(found) - 1)
    assert [family.size for family in found[1:]] == sorted((family.size for family in found[1:]), reverse=True)


def test_the_scores_of_a_metric_other_than_the_first(population: Population) -> None:
    trials = [
        msgspec.structs.replace(trial, metrics={**trial.metrics, "loss": float(trial.number)})
        for trial in population(2, 3, failing=False)
    ]
    assert families.score_of(trials, Metric("loss", "min"))[5] == 5.0
    assert families.score_of(trials, Metric("unknown", "min"))[5] == trials[5].score


def test_schedules_are_piecewise_constant(population: Population, metric: Metric) -> None:
    space = Space({"lr": Float(1e-4, 1e-1, log=True), "layers": Int(1, 4), "optimizer": Choice(["adam", "sgd"])})
    trials = population(8)
    known = {trial.number: trial for trial in trials}
    lr, layers, optimizer = data.panels(trials, space, families.best_trial(trials, metric))
    assert lr.scale == axes.Scale("lr", log=True)
    assert layers.scale == axes.Scale("layers", integer=True)
    assert optimizer.scale == axes.Scale("optimizer", levels=("adam", "sgd"))
    assert len(lr.strokes) == sum(trial.end_step is not None for trial in trials)
    for stroke in lr.strokes:
        trial = known[stroke.trial]
        assert stroke.values[-2:] == (trial.hyperparameters["lr"],) * 2
        assert stroke.steps[-2:] == (trial.start_step, trial.end_step)
        if trial.parent is not None:
            assert stroke.values[0] == known[trial.parent].hyperparameters["lr"]
            assert stroke.steps[0] == trial.start_step


def test_options_that_are_equal_in_python_have_separate_places(population: Population) -> None:
    trials = [
        msgspec.structs.replace(trial, hyperparameters={"mixed": value}, parent=None)
        for trial, value in zip(population(3, 1, failing=False), (1, True, None), strict=True)
    ]
    (panel,) = data.panels(trials, Space({"mixed": Choice([1, True, None])}))
    assert [stroke.values[-1] for stroke in panel.strokes] == [0.0, 1.0, 2.0]


def test_a_conditional_hyperparameter_has_gaps(population: Population) -> None:
    space = Space({"optimizer": Choice({"sgd": {"momentum": Float(0.0, 1.0)}, "adam": {}})})
    values = [{"optimizer": "adam"}, {"optimizer": "sgd", "optimizer.sgd.momentum": 0.9}]
    trials = [
        msgspec.structs.replace(trial, hyperparameters=own)
        for trial, own in zip(population(2, 1, failing=False), values, strict=True)
    ]
    _, momentum = data.panels(trials, space)
    assert [stroke.trial for stroke in momentum.strokes] == [1]


def test_the_tree_has_every_exploit_as_a_hop(population: Population, metric: Metric) -> None:
    trials = population(8)
    known = {trial.number: trial for trial in trials}
    tree = data.tree_series(trials, metric)
    crossing = {t.number for t in trials if t.parent is not None and known[t.parent].member != t.member}
    failed = {trial.number for trial in trials if trial.state is TrialState.FAILED}
    assert {hop.trial for hop in tree.hops} == crossing - failed
    assert all(hop.donor == known[known[hop.trial].parent].member for hop in tree.hops)
    assert tree.members == 8
    heads = {max(t.number for t in trials if t.member == member) for member in range(8)}
    assert heads <= {segment.trial for segment in tree.segments if segment.alive}


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60),
    st.sampled_from(["min", "max"]),
)
@settings(max_examples=60, derandomize=True, deadline=None)
def test_the_good_end_is_never_cut(values: list[float], mode: str) -> None:
    low, high = axes.readable_range(values, mode)  # type: ignore[arg-type,misc]
    assert low < high
    assert high >= max(values) if mode == "max" else low <= min(values)


def test_a_diverged_score_does_not_squash_the_others() -> None:
    losses = [1.0 - place / 100 for place in range(50)]
    low, high = axes.readable_range([*losses, 1e9], "min")  # type: ignore[misc]
    assert high < 2.0
    low, high = axes.readable_range([*(-loss for loss in losses), -1e9], "max")  # type: ignore[misc]
    assert low > -2.0
    assert axes.readable_range(losses, "min")[1] >= 1.0  # type: ignore[index]
    assert axes.readable_range([math.nan], "min") is None


def test_widely_spread_losses_have_a_logarithmic_axis(population: Population) -> None:
    loss = Metric("loss", "min")
    trials = population(4, 6, failing=False)
    spread = [msgspec.structs.replace(t, metrics={"loss": 2.0 / 3.0**t.generation}) for t in trials]
    series = curves.score_series(spread, loss)
    assert series.log
    assert series.limits is not None
    assert 0 < series.limits[0] <= 2.0 / 3.0**5
    assert series.limits[1] >= 2.0
    assert not curves.score_series(spread, Metric("loss", "max")).log
    crossing = [msgspec.structs.replace(t, metrics={"loss": t.generation - 1.0}) for t in trials]
    assert not curves.score_series(crossing, loss).log


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_of_the_trials_does_not_matter(population: Population, metric: Metric, order: int) -> None:
    trials = population(4)
    assert data.tree_series(trials[::order], metric) == data.tree_series(trials, metric)
    assert curves.score_series(trials[::order], metric) == curves.score_series(trials, metric)
