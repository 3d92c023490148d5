"""A simulation checks its arguments before it begins, and no allowed argument breaks it later."""

from __future__ import annotations

import math
from typing import Any

import pytest

from phyletic.coordinator.messages import Control, Pin
from phyletic.errors import InvalidArgument
from phyletic.evolution import PBT, Gaussian, GridSearch
from phyletic.records import Budget
from phyletic.simulate import DriftingCurve, Faults, Speeds, simulate
from phyletic.space import Float, Space

BUDGET = Budget(steps=4)


@pytest.mark.parametrize(
    ("planned", "said"),
    [
        ((1.0, Control(population=2)), "controls is 1.0"),
        ([(1.0, Control(population=2), 3)], "controls is .* a list of pairs"),
        ([(1.0,)], "controls is .* a list of pairs"),
        ([(math.nan, Control(population=2))], "controls is nan"),
        ([(-1.0, Control(population=2))], "controls is -1.0"),
        ([("1", Control(population=2))], "controls is '1'"),
        ([(1.0, "pause")], "controls is 'pause', but must be a Control or a Pin"),
        ([(1.0, Control(population=0))], "population is 0"),
        ([(1.0, Control(keep_best=-1))], "keep_best is -1"),
        ([(1.0, Control(max_losses=math.nan))], "max_losses is nan"),  # type: ignore[arg-type]
        ([(1.0, Control(paused="no"))], "paused is 'no'"),  # type: ignore[arg-type]
        ([(1.0, Control(budget=4))], "budget is 4"),  # type: ignore[arg-type]
        ([(1.0, Pin(trial=-1))], "trial is -1"),
        ([(1.0, Pin(trial=0, keep=2))], "keep is 2"),  # type: ignore[arg-type]
    ],
)
def test_a_bad_planned_change_is_named_before_the_simulation(planned: Any, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        simulate(PBT(2, 2), budget=BUDGET, controls=planned)


@pytest.mark.parametrize("limits", [(0.0, 1.0), (-1.0, 1.0)])
def test_a_learning_rate_that_exploration_could_make_0_is_refused(limits: tuple[float, float]) -> None:
    space = Space({"lr": Float(0.1, 1.0, limits=limits)})
    with pytest.raises(InvalidArgument, match="stays above 0"):
        simulate(PBT(2, 2, explore=Gaussian(0.5)), space=space, budget=BUDGET)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lease": 30 * 24 * 3600 + 1}, "lease is 2592001"),
        ({"lease": 1e-3, "detached": 1}, "detection is 5.0, but must be at most 1000 leases"),
        ({"lease": 1, "again": 1001, "detached": 0.1}, "again is 1001, but must be at most 1000 leases"),
    ],
)
def test_waits_that_are_too_long_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        Faults(**options)


@pytest.mark.parametrize(
    "options",
    [{"width": 1e-200}, {"first": 1e-200}, {"last": 1e200}, {"start": 1.7e308}, {"floor": -1.7e308}, {"speed": 1}],
    ids=repr,
)
def test_a_curve_that_would_overflow_is_refused(options: dict[str, float]) -> None:
    (name,) = options
    with pytest.raises(InvalidArgument, match=f"^{name} is "):
        DriftingCurve(**options)  # type: ignore[arg-type]


def test_a_population_that_is_too_large_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="population is 1000000"):
        simulate(GridSearch(2, population=1_000_000), budget=BUDGET)


@pytest.mark.parametrize(
    "options",
    [
        {"curve": DriftingCurve(first=1e100, last=1e-100, width=1e-100)},
        {"curve": DriftingCurve(first=1e-100, last=1e100, horizon=2**53 - 1, speed=1 - 1e-16)},
        {"curve": DriftingCurve(start=1e300, floor=-1e300, noise=1.7e308)},
        {"speeds": Speeds(step=1e9, slowness=1e9, straggler=0.5, spread=10, overhead=1e9, latency=1e9)},
        {"speeds": Speeds(step=5e-324, slowness=5e-324, straggler=0.5)},
        {"faults": Faults(crash=0.5, lease=30 * 24 * 3600, detection=1e9, again=1e9, lose=0.5, detached=0.5)},
        {"faults": Faults(crash=0.5, lease=1, detection=1000, again=1000, lose=0.5, detached=0.5)},
        {"faults": Faults(crash=0.5, detection=1e9, again=1e9)},
        {"faults": Faults(cursed=[2**53 - 1])},  # type: ignore[arg-type]
    ],
    ids=repr,
)
def test_extreme_arguments_are_simulated(options: dict[str, Any]) -> None:
    assert simulate(PBT(3, 2), workers=2, budget=BUDGET, **options).violations == ()
