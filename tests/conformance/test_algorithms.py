"""Every algorithm of phyletic, in each of its variants, passes the suite that ships with the package."""

from __future__ import annotations

import pytest

from phyletic.evolution import (
    PBT,
    Algorithm,
    BinaryTournament,
    Gaussian,
    GridSearch,
    NoiseGate,
    Perturb,
    RandomSearch,
    Resample,
    Truncation,
    TTest,
)
from phyletic.testing.algorithms import AlgorithmConformance


def nudge(hyperparameters, rng):
    """Redraw nothing, scale every float within reach a little."""
    return {
        path: value * rng.uniform(0.999, 1.0) if path == "x" and value > 0.001 else value
        for path, value in hyperparameters.items()
    }


VARIANTS = {
    "defaults": {"interval": 4},
    "synchronous": {"interval": 4, "synchronous": True},
    "halves": {"interval": 4, "exploit": Truncation(0.5), "explore": Perturb((0.5, 2.0), 0.25)},
    "tournament": {"interval": 4, "exploit": BinaryTournament(), "explore": Resample(0.5)},
    "t-test": {"interval": 4, "exploit": TTest(window=4, p=0.5), "explore": Gaussian(0.2, 0.1)},
    "weights": {"interval": 4, "inherit": "weights", "exploit": BinaryTournament()},
    "hyperparameters": {"interval": 4, "inherit": "hyperparameters", "exploit": BinaryTournament()},
    "matched": {"interval": 4, "compare": "matched", "exploit": BinaryTournament(), "gate": NoiseGate()},
    "chain": {"interval_seconds": 1.5, "explore": [Perturb(), Resample(0.1), Gaussian()], "burn_in": 8},
    "function": {"interval": 4, "explore": nudge, "exploit": BinaryTournament()},
}


@pytest.mark.parametrize("variant", VARIANTS)
class TestPBT(AlgorithmConformance):
    @pytest.fixture(autouse=True)
    def _variant(self, variant: str) -> None:
        self.arguments = VARIANTS[variant]

    def make(self, population: int) -> Algorithm:
        return PBT(population, **self.arguments)


class TestRandomSearch(AlgorithmConformance):
    exploits = False

    def make(self, population: int) -> Algorithm:
        return RandomSearch(population, interval=4)


class TestGridSearch(AlgorithmConformance):
    exploits = False

    def make(self, population: int) -> Algorithm:
        return GridSearch(interval=4, points=2)


class TestGridSearchOfAGivenSize(AlgorithmConformance):
    exploits = False

    def make(self, population: int) -> Algorithm:
        return GridSearch(interval_seconds=2.0, points=3, population=population, synchronous=True)
