"""The environment of a worker before its first import."""

from __future__ import annotations

import pytest

from phyletic.errors import InvalidArgument
from phyletic.workers.run_options import THREAD_VARIABLES, RunOptions, visible_devices, worker_environment

SESSION = "a" * 32


def test_every_numerical_library_gets_the_same_threads_unless_the_user_overrides_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    monkeypatch.setenv("OTHER", "stays")
    made = worker_environment(RunOptions(threads=2), 0, SESSION)
    assert {made[name] for name in THREAD_VARIABLES} == {"2"}
    assert made["OTHER"] == "stays"
    own = worker_environment(RunOptions(threads=2, environment={"OMP_NUM_THREADS": "5"}), 0, SESSION)
    assert (own["OMP_NUM_THREADS"], own["MKL_NUM_THREADS"]) == ("5", "2")
    left = worker_environment(RunOptions(threads=None), 0, SESSION)
    assert left["OMP_NUM_THREADS"] == "8"
    assert "MKL_NUM_THREADS" not in left


def test_the_session_is_appended_to_the_outer_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHYLETIC_SESSION", SESSION)
    inner = worker_environment(RunOptions(), 0, "b" * 32)
    assert inner["PHYLETIC_SESSION"].split() == [SESSION, "b" * 32]


@pytest.mark.parametrize(
    ("devices", "index", "seen", "visible"),
    [
        ([0, 1], 1, None, "1"),
        ([0, 1], 2, None, "0"),
        ([[0, 1], [2, 3]], 1, None, "2,3"),
        (["cuda:1"], 0, None, "1"),
        ([1], 0, "6,7", "7"),
        (["GPU-8f2e"], 0, "6,7", "GPU-8f2e"),
        ([[]], 0, "6,7", ""),
    ],
)
def test_each_worker_sees_its_devices(
    monkeypatch: pytest.MonkeyPatch, devices: list[object], index: int, seen: str | None, visible: str
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if seen is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen)
    assert visible_devices(devices, index) == visible


@pytest.mark.parametrize("devices", ["0", [], [0, 1, 2], [-1, 0], [True], [1.5], [""], ["0,1"], [None]])
def test_bad_devices_are_named(devices: object) -> None:
    with pytest.raises(InvalidArgument, match="devices"):
        RunOptions(workers=2, devices=devices)  # type: ignore[arg-type]


@pytest.mark.parametrize("variables", [{"": "x"}, {"A=B": "x"}, {"A": 1}, {1: "x"}, {b"A": "x"}, {"A": "\0"}, "A=B"])
def test_impossible_environment_variables_are_named(variables: object) -> None:
    with pytest.raises(InvalidArgument, match="environment"):
        RunOptions(environment=variables)  # type: ignore[arg-type]


def test_a_device_that_this_process_does_not_see_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    with pytest.raises(InvalidArgument, match=r"devices\[1\] is 2.*CUDA_VISIBLE_DEVICES is '4,5'"):
        visible_devices([0, 2], 1)
