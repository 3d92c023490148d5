"""Names, colours, labels and given axes: the same arguments mean the same in every picture."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import phyletic as ph
from phyletic import plots
from phyletic.errors import InvalidArgument
from phyletic.plots.drawing import HALO, INK
from phyletic.plots.interval_labels import Wish, arranged
from phyletic.plots.tints import GREY, PALETTE, tints
from phyletic.records import Evaluation, Metric, Trial

Population = Callable[..., list[Trial]]
SPACE = ph.Space(
    {
        "lr": ph.Float(1e-4, 1e-1, log=True),
        "width": ph.Choice([32, 64], fixed=True),
        "layers": ph.Int(1, 4),
        "optimizer": ph.Choice(["adam", "sgd"]),
    }
)
PAIR = ("lr", "accuracy")


def drawing(trials: list[Trial], metric: Metric) -> dict[str, Callable[..., Figure]]:
    """Return what draws lines with names and colours, into one pair of axes."""
    return {
        "scores": lambda **a: plots.scores(trials, metric, **a),
        "schedule": lambda **a: plots.schedule(trials, SPACE, metric, hyperparameters=["lr"], **a),
        "lineage": lambda **a: plots.lineage_tree(trials, metric, **a),
        "pair": lambda **a: plots.parameters(trials, SPACE, metric, pair=PAIR, **a),
    }


def named(figure: Figure) -> dict[str, str]:
    """Return the colours of a legend's entries by their names."""
    boxes = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend() is not None)]
    return {entry.get_label(): entry.get_color() for box in boxes for entry in box.legend_handles}  # type: ignore[union-attr]


KINDS = pytest.mark.parametrize("kind", ["scores", "schedule", "lineage", "pair"])


@KINDS
def test_names_and_colours_are_in_the_legend(kind: str, population: Population, metric: Metric) -> None:
    draw = drawing(population(2, 4, failing=False), metric)[kind]
    found = named(draw(labels=["small", "large"], colours={1: "red"}))
    assert found["large"] == "#FF0000"
    assert found["small"] in PALETTE
    found = named(draw(labels={0: "_first"}))
    assert any(name.endswith("_first") for name in found)


@KINDS
def test_given_axes_are_drawn_into(kind: str, population: Population, metric: Metric) -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    returned = drawing(population(3, 4), metric)[kind](ax=left)
    assert returned is figure
    assert left.has_data()
    assert not right.has_data()
    assert left.get_legend() is not None
    assert figure.legends == []
    parallel = plots.parallel_coordinates(population(3, 4), SPACE, metric, ax=right)
    assert parallel is figure
    assert right.has_data()


def test_two_studies_in_the_same_axes_are_both_seen_and_named(population: Population, metric: Metric) -> None:
    axes = Figure().subplots()
    long, short = population(2, 6, failing=False), population(2, 2, failing=False, seed=1)
    plots.scores(long, metric, labels=["a", "b"], ax=axes)
    plots.scores(short, metric, labels=["c", "d"], ax=axes)
    assert axes.get_xlim()[1] >= 600
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert {"a", "b", "c", "d"} <= set(texts)
    assert texts.count("best lineage") == 1


@KINDS
@pytest.mark.parametrize(
    ("argument", "value", "allowed"),
    [
        ("labels", ["a", "b", "c", "d"], "a list of texts"),
        ("labels", {7: "a"}, "the newborn trials are 0, 1, 2"),
        ("labels", [1, 2], "a list of texts"),
        ("labels", ["\ud800"], "can be written"),
        ("labels", "ab", "a list of texts"),
        ("colours", ["nocolour"], "#0072B2"),
        ("colours", {0: 1}, "matplotlib colours"),
        ("ax", "axes", "matplotlib axes"),
    ],
)
def test_what_cannot_be_used_is_named(
    kind: str, argument: str, value: Any, allowed: str, population: Population, metric: Metric
) -> None:
    draw = drawing(population(3, 2, failing=False), metric)[kind]
    with pytest.raises(InvalidArgument, match=rf"^{argument} is .*{allowed}"):
        draw(**{argument: value})


def test_members_have_colours_of_their_own_and_more_need_given_ones(population: Population, metric: Metric) -> None:
    trials = population(7, 3, failing=False)
    with pytest.raises(InvalidArgument, match="at most 6 members"):
        plots.scores(trials, metric, colour="member")
    made = tints(trials, 0, colour="member", colours=["black"] * 7)
    assert set(made.colours.values()) == {"#000000"}
    few = tints(population(3, 3, failing=False), 0, colour="member", labels=["a"])
    assert [few.colours[member] for member in range(3)] == list(PALETTE[:3])
    assert few.names == {0: "a", 1: "member 1", 2: "member 2"}
    assert named(plots.scores(population(3, 3, failing=False), metric, colour="member"))["member 2"] == PALETTE[2]


def test_the_legend_shows_the_best_lineage_as_it_is_drawn(population: Population, metric: Metric) -> None:
    draw = drawing(population(3, 4, failing=False), metric)
    assert named(draw["scores"](colour="member"))["best lineage"] == HALO
    assert named(draw["schedule"](colour="member"))["best lineage"] == INK
    assert named(draw["scores"]())["best lineage"] == named(draw["schedule"]())["best lineage"] == PALETTE[0]


def test_of_many_families_the_smallest_are_grey(population: Population) -> None:
    trials = population(40, 6)
    made = tints(trials, trials[-1].number)
    assert made.colours[made.order[0]] == PALETTE[0]
    assert sum(colour != GREY for colour in made.colours.values()) <= len(PALETTE)
    assert GREY in made.colours.values()


def test_one_panel_alone_fits_given_axes(population: Population, metric: Metric) -> None:
    with pytest.raises(InvalidArgument, match=r"ax is .*hyperparameters="):
        plots.schedule(population(2, 2), SPACE, metric, ax=Figure().subplots())
    for argument in ({"ax": Figure().subplots()}, {"labels": ["a"]}, {"colours": ["red"]}, {"reports": {}}):
        with pytest.raises(InvalidArgument, match="None without pair"):
            plots.parameters(population(2, 2), SPACE, metric, **argument)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match='None with colour="score"'):
        plots.lineage_tree(population(2, 2), metric, colour="score", labels=["a"])


# Labels of intervals


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_few_intervals_are_labelled_with_their_hyperparameters(population: Population, metric: Metric) -> None:
    trials = population(2, 3, failing=False)
    found = texts(plots.scores(trials, metric))
    assert len(found) == 6
    assert found[0].startswith("trial 0, member 0\nlr ")
    assert "number of the trial" not in named(plots.scores(trials, metric))
    assert texts(plots.scores(trials, metric, intervals=False)) == []


def test_more_intervals_are_numbered_and_too_many_are_not(population: Population, metric: Metric) -> None:
    figure = plots.scores(population(4, 12, failing=False), metric)
    assert len(texts(figure)) > 10
    assert all(text.isdigit() for text in texts(figure))
    assert "number of the trial" in named(figure)
    assert texts(plots.scores(population(40, 10), metric)) == []


@pytest.mark.parametrize("members", [1, 2, 6, 40])
@pytest.mark.parametrize("kind", ["scores", "pair"])
def test_no_two_labels_overlap(kind: str, members: int, population: Population, metric: Metric) -> None:
    figure = drawing(population(members, 6), metric)[kind]()
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    area = figure.axes[0].get_window_extent()
    assert all(area.x0 <= box.x0 and box.x1 <= area.x1 and area.y0 <= box.y0 and box.y1 <= area.y1 for box in boxes)


def test_labels_keep_off_lines_and_a_lead_crosses_nothing() -> None:
    wishes = [Wish(0, 1, (0.0, 0.0), "a long label", "0", True), Wish(1, 1, (0.0, 0.0), "another one", "1", False)]
    anchors = np.array([[100.0, 100.0], [100.0, 110.0]])
    wall = np.array([[float(x), 105.0] for x in range(0, 200)])
    below, above = arranged(wishes, anchors, wall, (200.0, 200.0))
    assert below.offset[1] < 0 < above.offset[1]
    full = np.array([[float(x), float(y)] for x in range(0, 200, 2) for y in range(0, 200, 2)])
    assert arranged(wishes, anchors, full, (200.0, 200.0)) == []


# Animations


def test_a_growing_pair_keeps_what_was_on_the_axes(population: Population, metric: Metric) -> None:
    axes = Figure().subplots()
    (line,) = axes.plot([0.0, 1.0], [0.0, 1.0])
    trials = population(2, 4, failing=False)
    film = plots.animate(trials, SPACE, metric, kind="parameters", pair=PAIR, ax=axes, labels=["a", "b"], dpi=20)
    assert line in axes.lines
    assert {"a", "b"} <= {text.get_text() for text in axes.get_legend().get_texts()}
    assert film.gif[:3] == b"GIF"


@pytest.mark.parametrize("kind", ["scores", "parameters"])
def test_an_animation_has_a_frame_for_each_report(kind: str, population: Population, metric: Metric) -> None:
    trials = population(2, 2, failing=False)
    said = {trial.number: [Evaluation(trial.start_step + 50, "accuracy", 0.3, "progress")] for trial in trials}
    pair = PAIR if kind == "parameters" else None
    film = plots.animate(trials, SPACE, metric, kind=kind, pair=pair, reports=said, dpi=30)  # type: ignore[arg-type]
    with Image.open(io.BytesIO(film.gif)) as image:
        assert getattr(image, "n_frames", 1) == 4
    with pytest.raises(InvalidArgument, match="reports is"):
        plots.animate(trials, SPACE, metric, kind="lineage", reports=said)
