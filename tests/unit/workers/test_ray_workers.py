"""The configuration of Ray actors, and whether a cluster has room for them; no Ray runs here."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import phyletic as ph
from phyletic.errors import InvalidArgument, MissingDependency


def make_study(folder: Path, **changes: Any) -> ph.Study:
    settings: dict[str, Any] = {"storage": folder / "study.db", **changes}
    return ph.Study(
        "study",
        space={"lr": ph.Float(1e-3, 1e-1, log=True)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(population=2, interval=4),
        budget=ph.Budget(steps=8),
        seed=0,
        **settings,
    )


def train(trials: Any) -> None:
    raise AssertionError("no trial is trained here")


@pytest.mark.parametrize(
    ("arguments", "named", "allowed"),
    [
        ({"count": 2, "num_gpus": -1}, "num_gpus", "0"),
        ({"count": 2, "num_gpus": 1.5}, "num_gpus", "a whole number, or a fraction below 1"),
        ({"count": 2, "num_cpus": -1}, "num_cpus", "0"),
        ({"min": 5, "max": 4}, "min", "at most max=4"),
        ({"count": 2, "min": 1}, "min", "left out"),
        ({}, "count", "RayWorkers(max=16)"),
        ({"count": 2, "max": 3}, "count", "RayWorkers(max=16)"),
        ({"count": 0}, "count", "1"),
        ({"count": 10**6}, "count", "at most 10000"),
        ({"count": 2, "placement": "TIGHT"}, "placement", "PACK"),
        ({"count": 2, "placement": "STRICT_PACK"}, "placement", "PACK"),
        ({"count": 2, "gang": 0}, "gang", "1"),
        ({"count": 2, "memory_fraction": 0.5}, "memory_fraction", "None without num_gpus"),
        ({"count": 2, "num_gpus": 1, "memory_fraction": 0}, "memory_fraction", "above 0"),
        ({"count": 2, "resources": {"GPU": 1}}, "resources", "num_gpus"),
        ({"count": 2, "resources": {"slot": 0}}, "resources['slot']", "above 0"),
        ({"count": 2, "runtime_env": "."}, "runtime_env", "working_dir"),
    ],
)
def test_a_wrong_argument_is_named_with_what_is_allowed(arguments: dict[str, Any], named: str, allowed: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        ph.RayWorkers(**arguments)
    assert str(raised.value).startswith(named)
    assert allowed in str(raised.value)


def test_devices_are_assigned_by_ray(tmp_path: Path) -> None:
    with make_study(tmp_path) as study, pytest.raises(InvalidArgument, match=r"devices .*num_gpus"):
        study.run(train, workers=ph.RayWorkers(2), devices=[0, 1])


def test_checkpoints_in_the_memory_of_this_process_are_an_error(tmp_path: Path) -> None:
    refused = pytest.raises(InvalidArgument, match=r"workers is .* in the memory of this process")
    with make_study(tmp_path, checkpoints="memory:") as study, refused:
        study.run(train, workers=ph.RayWorkers(2))


def test_the_extra_to_install_is_named_without_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "ray"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ray", None)
    with make_study(tmp_path) as study, pytest.raises(MissingDependency, match=r"phyletic\[ray\]"):
        study.run(train, workers=ph.RayWorkers(2))


# Room


@pytest.mark.parametrize(
    ("workers", "nodes", "numbers"),
    [
        (ph.RayWorkers(64), [{"CPU": 4.0}, {"CPU": 4.0}], ["64", "8 workers", "2 nodes", "8 CPU"]),
        (ph.RayWorkers(1, num_gpus=1), [{"CPU": 4.0}], ["1", "0 workers", "0 GPU"]),
        (ph.RayWorkers(1, gang=8), [{"CPU": 4.0}], ["gang", "8", "0 workers of 8 ranks", "4 CPU"]),
        (ph.RayWorkers(2, gang=3), [{"CPU": 4.0}], ["2", "1 worker of 3 ranks", "1 node"]),
        (ph.RayWorkers(1, gang=3, placement="STRICT_PACK"), [{"CPU": 2.0}, {"CPU": 2.0}], ["gang", "STRICT_PACK"]),
        (ph.RayWorkers(1, gang=3, placement="STRICT_SPREAD"), [{"CPU": 8.0}, {"CPU": 8.0}], ["gang", "STRICT_SPREAD"]),
        (ph.RayWorkers(2, num_cpus=0, resources={"slot": 1}), [{"CPU": 8.0, "slot": 1.0}], ["2", "1 worker", "1 slot"]),
    ],
)
def test_workers_without_room_are_an_error_with_both_numbers(
    workers: ph.RayWorkers, nodes: list[dict[str, float]], numbers: list[str]
) -> None:
    with pytest.raises(InvalidArgument) as raised:
        workers.check_room(nodes, None)
    for number in numbers:
        assert number in str(raised.value)


def test_an_autoscaler_may_add_what_is_missing() -> None:
    workers = ph.RayWorkers(8, num_gpus=1)
    workers.check_room([{"CPU": 8.0}], {"CPU": 16.0, "GPU": 8.0})
    with pytest.raises(
        InvalidArgument, match=r"at most the 4 workers .* an autoscaler that goes up to 16 CPU and 4 GPU"
    ):
        workers.check_room([{"CPU": 8.0}], {"CPU": 16.0, "GPU": 4.0})


def has_room(workers: ph.RayWorkers, nodes: Sequence[Mapping[str, float]]) -> bool:
    """Try every way to put the ranks of all workers on nodes."""
    ranks = [worker for worker in range(workers.least) for _ in range(workers.gang)]
    for places in itertools.product(range(len(nodes)), repeat=len(ranks)):
        used = [{name: need * places.count(node) for name, need in workers.needs.items()} for node in range(len(nodes))]
        if any(
            used[node][name] > nodes[node].get(name, 0.0) + 1e-9 for node in range(len(nodes)) for name in used[node]
        ):
            continue
        of_worker = [
            [place for place, owner in zip(places, ranks, strict=True) if owner == worker]
            for worker in range(workers.least)
        ]
        if workers.placement == "STRICT_PACK" and any(len(set(found)) > 1 for found in of_worker):
            continue
        if workers.placement == "STRICT_SPREAD" and any(len(set(found)) < len(found) for found in of_worker):
            continue
        return True
    return False


AMOUNTS = st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0])


@pytest.mark.parametrize("placement", ["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"])
@given(
    least=st.integers(1, 3),
    gang=st.integers(1, 3),
    needs=st.sampled_from([(0.0, 0.0), (0.3, 0.0), (1.0, 0.0), (1.0, 0.5), (0.0, 1.0), (2.0, 0.0)]),
    nodes=st.lists(st.fixed_dictionaries({"CPU": AMOUNTS}, optional={"GPU": AMOUNTS}), min_size=1, max_size=3),
)
def test_there_is_room_exactly_if_some_way_to_place_the_ranks_exists(
    placement: str, least: int, gang: int, needs: tuple[float, float], nodes: list[dict[str, float]]
) -> None:
    assume(gang > 1 or not placement.startswith("STRICT"))
    assume(gang == 1 or any(needs))
    cpus, gpus = needs
    workers = ph.RayWorkers(min=least, max=5, gang=gang, placement=placement, num_cpus=cpus, num_gpus=gpus)
    try:
        workers.check_room(nodes, None)
    except InvalidArgument:
        assert not has_room(workers, nodes)
    else:
        assert has_room(workers, nodes)


@given(
    least=st.integers(1, 5),
    gang=st.integers(1, 3),
    num_gpus=st.sampled_from([0.0, 0.25, 1.0]),
    nodes=st.lists(st.fixed_dictionaries({"CPU": AMOUNTS, "GPU": AMOUNTS}), max_size=2),
    most=st.fixed_dictionaries({"CPU": AMOUNTS, "GPU": AMOUNTS}),
)
def test_an_autoscaler_makes_room_for_what_its_limits_hold(
    least: int, gang: int, num_gpus: float, nodes: list[dict[str, float]], most: dict[str, float]
) -> None:
    workers = ph.RayWorkers(min=least, max=5, gang=gang, num_gpus=num_gpus)
    ranks = least * gang
    fits = all(
        ranks * need <= max(most[name], sum(node[name] for node in nodes)) for name, need in workers.needs.items()
    )
    try:
        workers.check_room(nodes, most)
    except InvalidArgument:
        assert not fits
    else:
        assert fits


def test_fractions_of_what_an_autoscaler_may_add_are_counted_whole() -> None:
    for count, fraction in ((5, 0.2), (10, 0.1), (3, 1 / 3)):
        ph.RayWorkers(count, num_cpus=0, num_gpus=fraction).check_room([], {"GPU": 1.0})
        with pytest.raises(InvalidArgument, match=f"at most the {count} workers"):
            ph.RayWorkers(count + 1, num_cpus=0, num_gpus=fraction).check_room([], {"GPU": 1.0})


def test_no_error_shows_what_a_runtime_env_holds() -> None:
    assert "SECRET" not in repr(ph.RayWorkers(2, runtime_env={"env_vars": {"KEY": "SECRET"}}))
    with pytest.raises(InvalidArgument) as raised:
        ph.RayWorkers(2, runtime_env={"env-vars": {"KEY": "SECRET"}})
    assert "SECRET" not in str(raised.value)
