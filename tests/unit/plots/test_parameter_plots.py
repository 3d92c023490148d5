"""Pictures of hyperparameters: by step, in pairs, in parallel, animated, and in a notebook."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from PIL import Image

import phyletic as ph
from phyletic import plots
from phyletic.errors import InvalidArgument, MissingDependency
from phyletic.plots.axes import Scale, scale_of
from phyletic.plots.spots import spots, standings
from phyletic.records import Metric, Trial, TrialState

Population = Callable[..., list[Trial]]
SPACE = ph.Space(
    {
        "lr": ph.Float(1e-4, 1e-1, log=True),
        "width": ph.Choice([32, 64], fixed=True),
        "layers": ph.Int(1, 4),
        "optimizer": ph.Choice(["adam", "sgd"]),
    }
)


# The data


def test_standings_rise_from_the_worst_to_the_best_of_a_generation(population: Population, metric: Metric) -> None:
    trials = population(5, 4, failing=False)
    found = standings(trials, metric)
    for generation in range(4):
        peers = sorted((t for t in trials if t.generation == generation), key=lambda t: t.score or 0.0)
        assert [found[trial.number] for trial in peers] == [0.0, 0.25, 0.5, 0.75, 1.0]
    worse = standings(trials, Metric(metric.name, "min"))
    assert all(worse[number] == pytest.approx(1 - standing) for number, standing in found.items())


def test_equal_scores_have_equal_standings_and_a_lone_trial_is_the_best(population: Population, metric: Metric) -> None:
    trials = [
        msgspec.structs.replace(trial, score=1.0, metrics={"accuracy": 1.0})
        for trial in population(3, 1, failing=False)
    ]
    assert set(standings(trials, metric).values()) == {0.5}
    assert set(standings(trials[:1], metric).values()) == {1.0}


def test_spots_have_the_coordinates_of_their_trials(population: Population, metric: Metric) -> None:
    trials = population(6, 6)
    x, y = scale_of("lr", trials, SPACE), scale_of("optimizer", trials, SPACE)
    assert (x.log, x.levels) == (True, ())
    assert y.levels == ("adam", "sgd")
    known = {trial.number: trial for trial in trials}
    found = {spot.trial: spot for spot in spots(trials, metric, x, y)}
    assert set(found) == {trial.number for trial in trials if trial.end_step is not None}
    for number, spot in found.items():
        trial = known[number]
        assert spot.place == (
            trial.hyperparameters["lr"],
            ["adam", "sgd"].index(str(trial.hyperparameters["optimizer"])),
        )
        start = [] if trial.parent is None else [(trial.start_step, found[trial.parent].place)]
        assert list(zip(spot.steps, spot.path, strict=True)) == [*start, (trial.end_step, spot.place)]
        assert spot.step == trial.end_step
    best = next(spot for spot in found.values() if spot.best and spot.step == max(s.step for s in found.values()))
    assert known[best.trial].score == max(t.score for t in trials if t.finite and t.score is not None)


def test_a_metric_can_be_an_axis_and_a_nan_has_no_spot(population: Population, metric: Metric) -> None:
    trials = population(6, 7)
    axis = scale_of("accuracy", trials, SPACE)
    assert axis == Scale("accuracy", reported=True)
    missing = {t.number for t in trials if t.end_step is not None} - {s.trial for s in spots(trials, metric, axis)}
    assert missing == {t.number for t in trials if t.end_step is not None and not t.finite} != set()
    with pytest.raises(InvalidArgument, match="accuracy"):
        scale_of("momentum", trials, SPACE)


# The pictures


@pytest.mark.parametrize("members", [1, 2, 40])
def test_every_picture_can_be_saved(members: int, population: Population, metric: Metric, tmp_path: Path) -> None:
    trials = population(members, 6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number, figure in enumerate(
            [
                plots.parameters(trials, SPACE, metric),
                plots.parameters(trials, SPACE),
                plots.parameters(trials, SPACE, metric, pair=("lr", "layers")),
                plots.parameters(trials, SPACE, pair=("lr", "accuracy")),
                plots.parallel_coordinates(trials, SPACE, metric),
                plots.parallel_coordinates(trials, SPACE, Metric(metric.name, "min")),
            ]
        ):
            figure.savefig(tmp_path / f"{number}.png", dpi=40)
            assert (tmp_path / f"{number}.png").stat().st_size > 2000


def test_axes_follow_the_domains(population: Population, metric: Metric) -> None:
    trials = population(6, 6)
    (axes,) = plots.parameters(trials, SPACE, metric, pair=("lr", "optimizer")).axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "linear")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["adam", "sgd"]
    by_step = [a for a in plots.parameters(trials, SPACE, metric).axes if a.get_ylabel() in SPACE.parameters]
    assert {axes.get_ylabel(): axes.get_yscale() for axes in by_step} == {
        "lr": "log",
        "width": "linear",
        "layers": "linear",
        "optimizer": "linear",
    }


def test_points_shrink_and_the_best_lineage_is_labelled_with_steps(population: Population, metric: Metric) -> None:
    trials = population(4, 6, failing=False)
    (axes,) = plots.parameters(trials, SPACE, metric, pair=("lr", "accuracy"), colour="member").axes
    sizes = [list(points.get_sizes()) for points in axes.collections if len(points.get_offsets()) > 1]
    best = next(found for found in sizes if len(found) == 6)  # the points of the best lineage, from the newborn on
    assert best == sorted(best, reverse=True)
    assert best[0] > 5 * best[-1]
    assert {text.get_text() for text in axes.texts} <= {str(trial.end_step) for trial in trials}
    assert "600" in {text.get_text() for text in axes.texts}


def test_too_many_members_cannot_each_have_a_colour(population: Population, metric: Metric) -> None:
    with pytest.raises(InvalidArgument, match="at most 6 members"):
        plots.parameters(population(7, 2), SPACE, metric, pair=("lr", "layers"), colour="member")


def test_incompatible_arguments_are_refused(population: Population, metric: Metric) -> None:
    trials = population(3, 3)
    pair = ("lr", "layers")
    for call in (
        lambda: plots.parameters(trials, SPACE, metric, colour="member"),
        lambda: plots.parameters(trials, SPACE, metric, pair=pair, hyperparameters=["lr"]),
        lambda: plots.parameters(trials, SPACE, metric, pair=("lr", "momentum")),
        lambda: plots.parameters(trials, SPACE, metric, pair="lr"),  # type: ignore[arg-type]
        lambda: plots.parameters(trials, SPACE, metric, hyperparameters=["momentum"]),
        lambda: plots.parameters([], SPACE, metric),
        lambda: plots.parallel_coordinates(trials, SPACE, metric, hyperparameters=["momentum"]),
        lambda: plots.parallel_coordinates(trials, SPACE, Metric("loss", "min"), hyperparameters=["momentum"]),
        lambda: plots.animate(trials, SPACE, metric, kind="parameters"),
        lambda: plots.animate(trials, SPACE, metric, pair=pair),
        lambda: plots.animate(trials, SPACE, metric, kind="summary"),  # type: ignore[arg-type]
        lambda: plots.animate(trials, SPACE, metric, frames=0),
        lambda: plots.animate(trials, SPACE, metric, seconds=0),
        lambda: plots.animate([], SPACE, metric),
    ):
        with pytest.raises(InvalidArgument):
            call()
    waiting = [
        msgspec.structs.replace(trial, state=TrialState.WAITING, end_step=None, score=None, metrics={})
        for trial in trials
    ]
    for draw in (plots.parameters, plots.parallel_coordinates, plots.animate):
        with pytest.raises(InvalidArgument):
            draw(waiting, SPACE, metric)


# Animations, notebooks, studies


@pytest.mark.parametrize("kind", ["scores", "schedule", "lineage", "parameters"])
def test_an_animation_has_a_different_frame_for_each_step(
    kind: str, population: Population, metric: Metric, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # pyplot would keep every figure
    trials = population(3, 4, failing=False)
    pair = ("lr", "accuracy") if kind == "parameters" else None
    film = plots.animate(trials, SPACE, metric, kind=kind, pair=pair, seconds=4, dpi=30)  # type: ignore[arg-type]
    film.save(tmp_path / "film.gif")
    with Image.open(tmp_path / "film.gif") as image:
        frames = []
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            whole = image.convert("RGB")
            # without the corner that shows the step
            frames.append(whole.crop((0, 0, whole.width, int(0.85 * whole.height))).tobytes())
    # the last frame stays for a while; Pillow writes it as one long frame
    assert len(frames) == 4
    assert len(set(frames)) == 4
    assert film._repr_mimebundle_()["image/gif"]
    with pytest.raises(InvalidArgument, match=r"\.gif"):
        film.save(tmp_path / "film.png")


def test_fewer_frames_end_with_the_last_step(population: Population, metric: Metric) -> None:
    film = plots.animate(population(2, 5, failing=False), SPACE, metric, frames=2, dpi=20)
    with Image.open(io.BytesIO(film.gif)) as image:
        assert getattr(image, "n_frames", 1) == 2


def test_without_pillow_the_extra_is_named(
    population: Population, metric: Metric, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.animation", None)
    with pytest.raises(MissingDependency, match=r"phyletic\[plots\]"):
        plots.animate(population(2, 2), SPACE, metric)


def test_a_notebook_shows_the_figure(population: Population, metric: Metric) -> None:
    shown = plots.scores(population(2, 3), metric)._repr_png_()  # type: ignore[attr-defined]
    with Image.open(io.BytesIO(shown)) as image:
        assert image.format == "PNG"


def test_a_study_is_drawn_by_kind() -> None:
    study = ph.Study(
        "drawn",
        space={"lr": ph.Float(1e-3, 1e-1, log=True)},
        metric=["score", "loss"],
        mode=["max", "min"],
        algorithm=ph.PBT(2, 1),
        budget=ph.Budget(steps=3),
        seed=0,
    )
    for trial in study:
        trial.report(score=trial["lr"], loss=1 - trial["lr"])
    titles = {
        kind: plots.plot(study, kind).axes[0].get_title(loc="left")
        for kind in ("summary", "scores", "lineage", "parallel")
    }
    assert titles["summary"].startswith("score by lineage")
    assert titles["scores"].startswith("score by lineage")
    assert titles["lineage"].startswith("Lineages of 2 members")
    assert titles["parallel"].startswith("score of 5 trials")
    assert plots.plot(study, "scores", metric="loss").axes[0].get_title(loc="left").startswith("loss by lineage")
    assert len(plots.plot(study, "parameters", pair=("lr", "loss")).axes) == 1
    assert plots.plot(study, "schedule").axes[0].get_ylabel() == "lr"
    with pytest.raises(InvalidArgument, match='"parallel"'):
        plots.plot(study, "pie")
    with pytest.raises(InvalidArgument, match='"score", "loss"'):
        plots.plot(study, metric="accuracy")
    with pytest.raises(InvalidArgument, match=r"pair is .* left out with 'schedule': .*'hyperparameters'"):
        plots.plot(study, "schedule", pair=("lr", "loss"))


def test_widely_spread_losses_are_on_a_logarithmic_scale(population: Population) -> None:
    loss = Metric("loss", "min")
    trials = [
        msgspec.structs.replace(trial, score=10.0**-trial.generation, metrics={"loss": 10.0**-trial.generation})
        for trial in population(3, 4, failing=False)
    ]
    (axes,) = plots.parallel_coordinates(trials, SPACE, loss).axes
    assert {"0.001", "1"} <= {text.get_text() for text in axes.texts}
    ends = sorted({round(line[-1][1], 6) for lines in axes.collections for line in lines.get_segments()})  # type: ignore[attr-defined]
    assert ends == pytest.approx([0, 1 / 3, 2 / 3, 1])
    bar = plots.lineage_tree(trials, loss, colour="score").axes[1]
    assert bar.get_yscale() == "log"
