from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from phyletic.cli import main

SMALL = ["simulate", "--population", "4", "--workers", "2", "--interval", "5", "--steps", "40", "--seeds", "2"]


def simulated(*arguments):
    found = CliRunner().invoke(main, [*SMALL, "--json", *arguments], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_it_compares_with_random_search_at_the_same_settings():
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


def test_people_get_a_table():
    found = CliRunner().invoke(main, SMALL, catch_exceptions=False)
    lines = found.stdout.splitlines()
    assert lines[0].split("  ")[0] == "algorithm"
    assert [line.split()[0] for line in lines[1:]] == ["pbt", "random"]
    assert "±" in lines[1]
