"""``phyletic plot`` draws every kind of plot."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

import phyletic as ph
from phyletic.cli import main


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("plot") / "study.db"
    with ph.Study(
        "toy",
        space={"lr": ph.Float(1e-3, 1e-1, log=True), "depth": ph.Int(1, 4)},
        metric=["score", "loss"],
        mode=["max", "min"],
        algorithm=ph.PBT(3, 1, synchronous=True),
        budget=ph.Budget(steps=3),
        storage=path,
        seed=0,
    ) as study:
        for trial in study:
            trial.report(score=trial["lr"] * trial["depth"], loss=-trial["lr"])
    return str(path)


def call(storage: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["plot", "toy", "--storage", storage, *arguments])


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--kind", "scores", "--metric", "loss"),
        ("--kind", "scores", "--colour", "member"),
        ("--kind", "schedule"),
        ("--kind", "lineage", "--colour", "score"),
        ("--kind", "parameters"),
        ("--kind", "parameters", "--pair", "lr", "loss", "--colour", "member"),
        ("--kind", "parallel"),
    ],
)
def test_each_kind_is_drawn(arguments: tuple[str, ...], storage: str, tmp_path: Path) -> None:
    result = call(storage, *arguments, "-o", str(tmp_path / "a.png"), "--dpi", "40")
    assert result.exit_code == 0, result.output
    assert result.output == f"picture: {tmp_path / 'a.png'}\n"
    with Image.open(tmp_path / "a.png") as image:
        assert image.format == "PNG"


def test_the_file_suffix_chooses_the_format(storage: str, tmp_path: Path) -> None:
    assert call(storage, "-o", str(tmp_path / "a.svg")).exit_code == 0
    assert "<svg" in (tmp_path / "a.svg").read_text()
    sizes = []
    for dpi in ("30", "60"):
        result = call(storage, "--kind", "animate", "--pair", "lr", "loss", "-o", str(tmp_path / "a.gif"), "--dpi", dpi)
        assert result.exit_code == 0, result.output
        with Image.open(tmp_path / "a.gif") as image:
            assert getattr(image, "n_frames", 1) == 3
            sizes.append(image.width)
    assert sizes[1] == 2 * sizes[0]


@pytest.mark.parametrize("pair", [(), ("--pair", "lr", "score")])
def test_an_animation_has_a_frame_for_each_step_that_was_reported(pair: tuple[str, ...], tmp_path: Path) -> None:
    with ph.Study(
        "toy",
        space={"lr": ph.Float(1e-3, 1e-1, log=True)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(2, 2, synchronous=True),
        budget=ph.Budget(steps=4),
        storage=tmp_path / "reporting.db",
        seed=0,
    ) as study:
        for trial in study:
            for step in trial.range():
                trial.report(score=trial["lr"] * (step + 1), step=step + 1)
    result = call(str(tmp_path / "reporting.db"), "--kind", "animate", *pair, "-o", str(tmp_path / "a.gif"))
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "a.gif") as image:
        assert getattr(image, "n_frames", 1) == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-o", "a.bmp"), ".png or .svg or .pdf"),
        (("-o", "a.gif"), ".png or .svg or .pdf"),
        (("--kind", "animate", "-o", "a.png"), ".gif"),
        (("-o", "nowhere/a.png"), "a file that can be written"),
        (("--kind", "animate", "-o", "nowhere/a.gif"), "in a folder that exists"),
        (("--kind", "scores", "--pair", "lr", "depth", "-o", "a.png"), "left out with 'scores'"),
        (("--kind", "scores", "--colour", "score", "-o", "a.png"), 'one of "founder", "member"'),
        (("--kind", "lineage", "--colour", "member", "-o", "a.png"), 'one of "founder", "score"'),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    arguments: tuple[str, ...], said: str, storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call(storage, *arguments)
    assert result.exit_code in (1, 2)
    assert said in " ".join(result.output.split())
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_name_is_an_error_that_lists_the_known_ones(storage: str, tmp_path: Path) -> None:
    result = call(storage, "--kind", "parameters", "--pair", "lr", "momentum", "-o", str(tmp_path / "a.png"))
    assert result.exit_code == 1
    assert "momentum" in result.output
    assert "lr, depth, score, loss" in result.output
