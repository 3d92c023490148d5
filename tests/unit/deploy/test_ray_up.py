"""Ray takes deploy/ray-up.yaml as ``ray up`` would, before it asks a cloud for anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("ray")

import jsonschema
from ray.autoscaler._private.util import prepare_config, validate_config

FILE = Path(__file__).parents[3] / "deploy" / "ray-up.yaml"


def given() -> dict[str, Any]:
    return dict(yaml.safe_load(FILE.read_text()))


def test_ray_takes_the_file() -> None:
    validate_config(prepare_config(given()))


def test_a_word_that_ray_does_not_know_is_refused() -> None:
    with pytest.raises(jsonschema.ValidationError, match="max_wrokers"):
        validate_config(prepare_config({**given(), "max_wrokers": 8}))


def test_the_head_trains_nothing_and_the_others_are_preemptible() -> None:
    types = given()["available_node_types"]
    head = types.pop(given()["head_node_type"])
    assert head["resources"] == {"CPU": 0, "GPU": 0}
    for one in types.values():
        assert one["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
        assert one["resources"]["GPU"] > 0
