"""Encoding algorithms as JSON and decoding them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import MappingProxyType

import msgspec
import pytest

from phyletic.errors import InvalidArgument
from phyletic.evolution import (
    PBT,
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
from phyletic.evolution.codec import algorithm_from_json, algorithm_to_json
from phyletic.evolution.explore import Explored


@dataclass(frozen=True)
class Outside(RandomSearch):
    """An algorithm that phyletic does not know."""

    weights: tuple[float, ...] = (1.0, 2.0)
    table: MappingProxyType | dict | None = None


class Halving(msgspec.Struct, frozen=True):
    """An explore rule that phyletic does not know."""

    by: float = 2.0

    def explore(self, space, values, stream):
        return Explored(dict(values), {})


ALGORITHMS = [
    PBT(8, 100),
    PBT(3, interval_seconds=1.5, exploit=TTest(5, 0.1), explore=Gaussian(0.2, 0.1), synchronous=True, burn_in=7),
    PBT(4, 5, exploit=BinaryTournament(), explore=[Resample(0.5), Perturb((0.5, 2.0))], inherit="weights"),
    PBT(4, 5, exploit=Truncation(0.3), gate=NoiseGate(0.5, 0.1), compare="matched", explore=Halving(3.0)),
    RandomSearch(5, 10, synchronous=True),
    GridSearch(10, points={"x": 3, "type": 2}),
    GridSearch(10, 4, 7),
    Outside(5, 10, weights=(0.5,), table={"type": "PBT", "a": [1, {"b": None}]}),
]


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda algorithm: type(algorithm).__name__)
def test_an_algorithm_survives_json(algorithm):
    document = algorithm_to_json(algorithm)
    text = json.dumps(document, allow_nan=False)
    again = algorithm_from_json(json.loads(text))
    assert type(again) is type(algorithm)
    if not isinstance(algorithm, Outside):  # its inner list comes back as a tuple
        assert again == algorithm
    assert algorithm_to_json(again) == document


def test_the_json_form_is_readable():
    assert algorithm_to_json(PBT(8, 100)) == {
        "type": "PBT",
        "population": 8,
        "interval": 100,
        "interval_seconds": None,
        "exploit": {"type": "Truncation", "fraction": 0.25},
        "explore": {"type": "Perturb", "factors": [0.5, 2.0], "resample_probability": 0.1},
        "synchronous": False,
        "burn_in": 0,
        "inherit": "both",
        "compare": "latest",
        "gate": None,
        "save_every": None,
        "early_stopping": None,
    }
    assert algorithm_to_json(ALGORITHMS[-1])["type"] == f"{__name__}:Outside"


def test_missing_fields_take_their_defaults():
    assert algorithm_from_json({"type": "PBT", "interval": 100}) == PBT(interval=100)


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({}, "type"),
        ({"type": None}, "type"),
        ({"type": "Evolution"}, "Evolution"),
        ({"type": "no_such_module:Mine"}, "no_such_module"),
        ({"type": "json:NoSuchClass"}, "NoSuchClass"),
        ({"type": "json:dumps"}, "class"),
        ({"type": "pathlib:Path"}, "dataclass"),
        ({"type": "PBT", "interval": 5, "temperature": 3}, "temperature"),
        ({"type": "PBT", "interval": 0}, "interval"),
        ({"type": "PBT", "interval": 5, "exploit": {"type": "Truncation", "fraction": 3}}, "fraction"),
        ({"type": "Perturb"}, "algorithm"),
        ([], "algorithm"),
        ("PBT", "algorithm"),
        (None, "algorithm"),
    ],
)
def test_a_bad_document_is_refused(document, named):
    with pytest.raises(InvalidArgument, match=named):
        algorithm_from_json(document)


@dataclass(frozen=True)
class Unstorable(RandomSearch):
    value: object = None


@pytest.mark.parametrize("value", [object(), float("nan"), float("inf"), {1, 2}, print, Unstorable, b"bytes"])
def test_a_value_that_json_cannot_hold_is_named(value):
    with pytest.raises(InvalidArgument, match=r"algorithm\.value"):
        algorithm_to_json(Unstorable(4, 5, value=value))


@pytest.mark.parametrize("value", [None, 3, "PBT", {"type": "PBT"}, [PBT(8, 100)], PBT, Perturb()])
def test_only_algorithms_are_encoded(value):
    with pytest.raises(InvalidArgument, match="algorithm"):
        algorithm_to_json(value)
