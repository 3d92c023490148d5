"""The pictures have their contents, need no window system, and can draw odd populations."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from matplotlib.figure import Figure

from phyletic import plots
from phyletic.errors import InvalidArgument, MissingDependency
from phyletic.records import Metric, Trial, TrialState
from phyletic.space import Choice, Float, Int, Space

Population = Callable[..., list[Trial]]
SPACE = Space(
    {
        "lr": Float(1e-4, 1e-1, log=True),
        "width": Choice([32, 64], fixed=True),
        "layers": Int(1, 4),
        "optimizer": Choice(["adam", "sgd"]),
    }
)


def pictures(trials: list[Trial], metric: Metric) -> dict[str, Figure]:
    return {
        "scores": plots.scores(trials, metric),
        "schedule": plots.schedule(trials, SPACE, metric),
        "lineage_tree": plots.lineage_tree(trials, metric),
        "by_score": plots.lineage_tree(trials, metric, colour="score"),
        "summary": plots.summary(trials, SPACE, metric, title="digits"),
    }


def texts(figure: Figure) -> str:
    found = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    for axes in figure.axes:
        found += [axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel()]
    return "\n".join(found)


@pytest.mark.parametrize("members", [1, 2, 40])
def test_every_picture_can_be_saved(members: int, population: Population, metric: Metric, tmp_path: Path) -> None:
    trials = population(members, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, figure in pictures(trials, metric).items():
            figure.savefig(tmp_path / f"{name}.png", dpi=40)
            assert (tmp_path / f"{name}.png").stat().st_size > 2000


def test_titles_axes_and_marks_are_named(population: Population, metric: Metric) -> None:
    drawn = pictures(population(8), metric)
    assert "accuracy by lineage: best" in texts(drawn["scores"])
    assert "(higher is better)" in texts(drawn["scores"])
    for name in ("scores", "lineage_tree", "summary"):
        assert "score not finite (1)" in texts(drawn[name])
        assert "failed (1)" in texts(drawn[name])
        assert "step" in texts(drawn[name])
    assert "Lineages of 8 members" in texts(drawn["lineage_tree"])


def test_axes_follow_the_domains(population: Population, metric: Metric) -> None:
    figure = plots.schedule(population(8), SPACE, metric)
    by_name = {axes.get_ylabel(): axes for axes in figure.axes}
    assert by_name["lr"].get_yscale() == "log"
    assert by_name["layers"].get_yscale() == "linear"
    assert [text.get_text() for text in by_name["optimizer"].get_yticklabels()] == ["adam", "sgd"]


def test_only_the_chosen_hyperparameters_are_drawn(population: Population, metric: Metric) -> None:
    figure = plots.schedule(population(4), SPACE, metric, hyperparameters=["lr"])
    assert [axes.get_ylabel() for axes in figure.axes] == ["lr"]
    with pytest.raises(InvalidArgument, match="hyperparameters is 'momentum'"):
        plots.schedule(population(4), SPACE, metric, hyperparameters=["momentum"])


def test_the_best_lineage_is_the_thickest_line(population: Population, metric: Metric) -> None:
    axes = plots.scores(population(8), metric).axes[0]
    thickest = max(axes.lines, key=lambda line: line.get_linewidth())
    others = max(collection.get_linewidth()[0] for collection in axes.collections if len(collection.get_linewidth()))
    assert thickest.get_linewidth() > 2 * others


def test_a_study_without_a_finite_score_can_be_drawn(population: Population, metric: Metric) -> None:
    trials = [
        msgspec.structs.replace(trial, score=float("nan"), metrics={"accuracy": float("nan")})
        for trial in population(3, 1, failing=False)
    ]
    assert "no finite score yet" in texts(plots.scores(trials, metric))
    assert "score not finite (3)" in texts(plots.summary(trials, SPACE, metric))


def test_a_study_without_an_ended_trial_can_be_drawn(population: Population, metric: Metric) -> None:
    trials = [
        msgspec.structs.replace(trial, state=TrialState.WAITING, end_step=None, score=None, metrics={})
        for trial in population(3, 1, failing=False)
    ]
    assert "no finite score yet" in texts(plots.scores(trials, metric))
    plots.lineage_tree(trials, metric)
    plots.summary(trials, SPACE, metric)
    with pytest.raises(InvalidArgument, match="at least one has ended"):
        plots.schedule(trials, SPACE, metric)


def test_nothing_to_draw_is_an_error(metric: Metric) -> None:
    with pytest.raises(InvalidArgument, match="at least one trial"):
        plots.scores([], metric)
    with pytest.raises(InvalidArgument, match="colour is 'age'"):
        plots.lineage_tree([], metric, colour="age")  # type: ignore[arg-type]


def test_without_matplotlib_the_extra_is_named(
    population: Population, metric: Metric, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "phyletic.plots.figure", raising=False)
    with pytest.raises(MissingDependency, match=r"pip install 'phyletic\[plots\]'"):
        plots.scores(population(2), metric)


def test_importing_plots_imports_no_matplotlib() -> None:
    code = "import sys, phyletic.plots; print([name for name in sys.modules if name.startswith('matplotlib')])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_figure_does_not_import_pyplot(population: Population, metric: Metric) -> None:
    code = "import sys, phyletic.plots.drawing as d; d.new_figure(1, 1); print('matplotlib.pyplot' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
