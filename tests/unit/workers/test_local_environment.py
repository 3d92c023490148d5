"""What a worker's environment holds before its first import."""

from __future__ import annotations

import pytest

from phyletic.errors import InvalidArgument
from phyletic.workers.environment import THREAD_VARIABLES, check_devices, visible_devices, worker_environment


def test_threads_are_the_same_for_every_numerical_library_and_the_user_has_the_last_word() -> None:
    inherited = {"OMP_NUM_THREADS": "8", "PATH": "/bin"}
    made = worker_environment("a" * 32, devices=None, threads=2, inherited=inherited)
    assert {made[name] for name in THREAD_VARIABLES} == {"2"}
    assert made["PATH"] == "/bin"
    own = worker_environment("a" * 32, devices=None, threads=2, additions={"OMP_NUM_THREADS": "5"}, inherited=inherited)
    assert (own["OMP_NUM_THREADS"], own["MKL_NUM_THREADS"]) == ("5", "2")
    left = worker_environment("a" * 32, devices=None, threads=None, inherited=inherited)
    assert left["OMP_NUM_THREADS"] == "8"
    assert "MKL_NUM_THREADS" not in left


def test_the_session_is_added_to_those_it_runs_under() -> None:
    outer = worker_environment("a" * 32, devices=None, threads=None, inherited={})
    inner = worker_environment("b" * 32, devices=None, threads=None, inherited=outer)
    assert inner["PHYLETIC_SESSION"].split() == ["a" * 32, "b" * 32]


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
def test_devices_of_a_worker(devices: list[object], index: int, seen: str | None, visible: str) -> None:
    inherited = {} if seen is None else {"CUDA_VISIBLE_DEVICES": seen}
    assert visible_devices(devices, index, inherited) == visible


@pytest.mark.parametrize("devices", ["0", [], [0, 1, 2], [-1, 0], [True], [1.5], [""], ["0,1"], [None]])
def test_devices_that_are_none_are_named(devices: object) -> None:
    with pytest.raises(InvalidArgument, match="devices"):
        check_devices(devices, 2)  # type: ignore[arg-type]


def test_a_device_that_this_process_does_not_see_is_named() -> None:
    with pytest.raises(InvalidArgument, match=r"devices\[1\] is 2.*CUDA_VISIBLE_DEVICES is '4,5'"):
        visible_devices([0, 2], 1, {"CUDA_VISIBLE_DEVICES": "4,5"})
