"""The script writes pictures of PBT; the same training code without PBT reaches a lower score."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from phyletic import plots
from phyletic.plots.curves import score_series

EXAMPLE = Path(__file__).parents[2] / "examples" / "visualise_pbt.py"


def test_two_and_four_members_with_pbt_and_as_a_grid(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, EXAMPLE, "--output", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    found = re.findall(r"(\d) members, (\w+) *: Q = ([\d.]+) of 1.2, +(\d+) exploits", ended.stdout)
    best = {(int(members), name): float(q) for members, name, q, _ in found}
    exploits = {(int(members), name): int(count) for members, name, _, count in found}
    for members in (2, 4):
        assert best[members, "pbt"] == pytest.approx(1.2, abs=1e-4)
        # alone, the better member climbs its own coordinate, and the other a hundred times slower
        assert best[members, "grid"] == pytest.approx(0.7286, abs=1e-4)
        # a quantile of a half: in each of 24 rounds one half copies the other
        assert exploits[members, "pbt"] == 24 * members // 2
        assert exploits[members, "grid"] == 0
    rates = re.findall(r"(\d+) learning rates, on the grid: (\w+)", ended.stdout)
    assert [grid for _, grid in rates] == ["True"] * 4
    # each member draws one, and without exploring keeps it
    assert [count for count, _ in rates][1::2] == ["2", "4"]
    assert "member 1: Q = 0.220 at step 4, 0.425 at step 5" in ended.stdout
    pictures = {path.name for path in tmp_path.glob("*.png")}
    kinds = ("weights", "hyperparameters", "q")
    assert pictures == {f"{name}_{m}_{kind}.png" for name in ("pbt", "grid") for m in (2, 4) for kind in kinds}
    films = sorted(tmp_path.glob("*.gif"))
    assert len(films) == 4
    for film in films:
        assert film.stat().st_size < 1_500_000
        with Image.open(film) as image:
            assert image.format == "GIF"
            assert getattr(image, "n_frames", 1) > 20


def test_the_exploit_of_the_first_round_is_a_jump_from_step_four_to_five() -> None:
    example = runpy.run_path(str(EXAMPLE))
    births = example["BIRTHS"][2]
    assert births == [(0.01, 0.99), (0.99, 0.01)]
    with example["search"](example["algorithms"](2)["pbt"], births) as study:
        trials, reports, q = study.trials(), study.reports(), study.metrics[0]
        assert [trial.hyperparameters["h0"] for trial in trials[:2]] == [0.01, 0.99]
        assert len({trial.hyperparameters["lr"] for trial in trials[:2]}) == 2
        series = score_series(trials, q, reports)
        jump = series.jumps[0]
        line = next(stroke for stroke in series.strokes if stroke.trial == jump.trial)
        assert series.strokes[0].steps == (0, 1, 2, 3, 4)
        assert line.steps[:2] == (4, 5)
        # nearly all of the jump comes from the other's weights
        own, start, after = jump.left[1], jump.start[1], line.values[1]
        assert own < start < after
        assert after - own > 10 * (after - start)
        drawn = plots.plot(study, "scores", colour="member", labels=[f"h = {h}" for h in births])
        texts = {text.get_text() for text in drawn.legends[0].get_texts()}
        assert {"h = (0.01, 0.99)", "h = (0.99, 0.01)", "exploit (24)"} <= texts
