"""The script writes pictures of PBT; the same training code without PBT reaches a lower score."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

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
        # alone, the better member climbs its own coordinate: 1.2 - 3/4 * 0.9**2 = 0.5925
        assert best[members, "grid"] == pytest.approx(0.5923, abs=1e-4)
        # a quantile of a half: in each of 24 rounds one half copies the other
        assert exploits[members, "pbt"] == 24 * members // 2
        assert exploits[members, "grid"] == 0
    rates = re.findall(r"(\d+) learning rates, on the grid: (\w+)", ended.stdout)
    assert [grid for _, grid in rates] == ["True"] * 4
    assert [count for count, _ in rates][1::2] == ["1", "1"]
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
