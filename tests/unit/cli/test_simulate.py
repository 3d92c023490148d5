"""``phyletic simulate``: its options, its table and its JSON."""

from __future__ import annotations

import json
import re
import statistics

import pytest
from click.testing import CliRunner

from phyletic.cli import main

SMALL = ["simulate", "--population", "4", "--workers", "2", "--interval", "5", "--steps", "40", "--seeds", "2"]


def simulated(*arguments):
    found = CliRunner().invoke(main, [*SMALL, "--json", *arguments], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_pbt_is_compared_with_random_search_at_the_same_settings():
    found = simulated()
    assert list(found) == ["pbt", "random"]
    for name, one in found.items():
        assert [simulation["seed"] for simulation in one["simulations"]] == [0, 1]
        regrets = [simulation["regret"] for simulation in one["simulations"]]
        assert one["mean"]["regret"] == pytest.approx(sum(regrets) / 2)
        assert (one["mean"]["exploits"] > 0) == (name == "pbt")
    assert found["random"]["mean"]["completed"] == 4 * 40 / 5
    assert found == simulated()
    assert list(simulated("--algorithm", "random")) == ["random"]


def test_each_option_has_its_effect():
    plain = simulated()["random"]["mean"]
    assert simulated("--step-seconds", "3")["random"]["mean"]["wall_seconds"] == pytest.approx(
        3 * plain["wall_seconds"], rel=0.01
    )
    assert simulated("--overhead", "5")["random"]["mean"]["wall_seconds"] == pytest.approx(
        2 * plain["wall_seconds"], rel=0.01
    )
    assert simulated("--straggler", "1")["random"]["mean"]["wall_seconds"] > 90 * plain["wall_seconds"]
    assert simulated("--crash-rate", "0.3")["random"]["mean"]["losses"] > 0 == plain["losses"]
    spread = ("--spread", "1", "--workers", "4")
    assert (
        simulated(*spread, "--synchronous")["random"]["mean"]["utilisation"]
        < simulated(*spread)["random"]["mean"]["utilisation"]
    )


FIGURES = ["wall_seconds", "utilisation", "regret", "exploits", "completed", "losses", "member_steps"]


def test_json_has_every_figure():
    for one in simulated().values():
        assert list(one) == ["mean", "regret_interval", "simulations"]
        assert list(one["mean"]) == FIGURES
        assert [list(simulation) for simulation in one["simulations"]] == [["seed", *FIGURES]] * 2


def test_the_table_shows_the_same_figures():
    options = ["simulate", "--population", "32", "--workers", "8", "--crash-rate", "0.1", "--steps", "60"]
    table = CliRunner().invoke(main, options, catch_exceptions=False).stdout.splitlines()
    said = json.loads(CliRunner().invoke(main, [*options, "--json"], catch_exceptions=False).stdout)
    titles, *rows = [re.split(r"  +", line) for line in table]
    assert titles == ["algorithm", "wall time", "utilised", "regret", "trials", "exploits", "lost", "steps"]
    assert [row[0] for row in rows] == list(said) == ["pbt", "random"]
    assert max(map(len, table)) <= 100
    for name, *cells in rows:
        mean = said[name]["mean"]
        regrets = [simulation["regret"] for simulation in said[name]["simulations"]]
        assert len(regrets) == 10
        hours, minutes, seconds = map(int, cells[0].split(":"))
        assert abs(3600 * hours + 60 * minutes + seconds - mean["wall_seconds"]) <= 1
        assert float(cells[1].removesuffix(" %")) == pytest.approx(100 * mean["utilisation"], abs=0.06)
        half = 1.96 * statistics.stdev(regrets) / 10**0.5
        low, high = said[name]["regret_interval"]
        assert (low, high) == pytest.approx((mean["regret"] - half, mean["regret"] + half))
        assert cells[2] == f"{mean['regret']:.3g} ({low:.3g} to {high:.3g})"
        rounded = [mean["completed"], mean["exploits"], mean["losses"], mean["member_steps"]]
        assert [float(cell) for cell in cells[3:]] == pytest.approx(rounded, abs=0.5)
        assert mean["losses"] > 0
    # eight workers that are always busy would take steps / 8 seconds
    steps, seconds = said["random"]["mean"]["member_steps"], said["random"]["mean"]["wall_seconds"]
    assert steps == 32 * 60
    assert steps / 8 < seconds < 1.5 * steps / 8
    assert said["random"]["mean"]["utilisation"] == pytest.approx(steps / (8 * seconds), rel=0.02)


def test_one_simulation_has_no_interval():
    table = CliRunner().invoke(main, [*SMALL, "--seeds", "1"], catch_exceptions=False).stdout
    assert "(" not in table
