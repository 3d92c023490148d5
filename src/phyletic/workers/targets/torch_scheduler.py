"""PyTorch's learning rate schedulers: the base rate is what is explored, and the schedule goes on from it."""

from __future__ import annotations

import math
from typing import Any

from phyletic.errors import ApplyFailed
from phyletic.records import Value
from phyletic.workers.targets.target import agreed, ancestry, kind_of

__all__ = ["BaseRates"]


class BaseRates:
    """The base learning rates of an optimizer under a scheduler.

    A scheduler computes the rate of each step from a base rate (``base_lrs``) or from the rate of the step before, so
    a new base rate is set in both, and the current rate is moved to where the schedule has it for the new base.

    Args:
        optimizer: A ``torch.optim.Optimizer``.
        scheduler: Its scheduler; schedulers made of others (``SequentialLR``, ``ChainedScheduler``) too.
        places: Indices of the parameter groups.

    Raises:
        ApplyFailed: The scheduler is another optimizer's, or of a kind that does not start from a base rate.
    """

    def __init__(self, optimizer: Any, scheduler: Any, places: list[int]) -> None:
        self._optimizer = optimizer
        self._places = places
        self._parts = _parts(scheduler)
        for part in self._parts:
            kinds = ancestry(part, "torch")
            if getattr(part, "optimizer", None) is not optimizer:
                raise ApplyFailed(f"scheduler is {kind_of(part)}, which does not schedule this {kind_of(optimizer)}")
            if kinds & {"OneCycleLR", "CyclicLR"}:
                raise ApplyFailed(
                    f"scheduler is {kind_of(part)}, which keeps a highest and a lowest rate instead of a base rate. "
                    "Write the cycle as a LambdaLR, or set its rates in a function: trial.apply(function)"
                )
            if "ReduceLROnPlateau" not in kinds and not hasattr(part, "base_lrs"):
                raise ApplyFailed(f"scheduler is {kind_of(part)}, but must be a torch scheduler with base_lrs")

    def read(self) -> Value:
        """Return the base rate."""
        found: list[Value] = []
        for place in self._places:
            found.append(self._base(place))
            found.extend(_number(part.base_lrs[place]) for part in self._parts if hasattr(part, "base_lrs"))
        return agreed(found)

    def write(self, value: Value) -> None:
        """Set the base rate, and the current rate accordingly."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ApplyFailed(f"a learning rate is {value!r}, but must be a number")
        for place in self._places:
            base = self._base(place)
            group = self._optimizer.param_groups[place]
            current = _number(group["lr"])
            scheduled = self._scheduled(place)
            alone = scheduled is not None and math.isclose(scheduled, current, rel_tol=1e-5, abs_tol=1e-12)
            if not alone and base <= 0:
                raise ApplyFailed(f"the base rate of group {place} is {base}, so no schedule can be scaled from it")
            self._set_base(place, value)
            rescheduled = self._scheduled(place) if alone else None
            rate = current * (value / base) if rescheduled is None else rescheduled
            _set(group, "lr", rate)

    def _base(self, place: int) -> float:
        group = self._optimizer.param_groups[place]
        # ReduceLROnPlateau notes no base rate: before the first apply, it is the rate itself.
        return _number(group.get("initial_lr", group["lr"]))

    def _set_base(self, place: int, value: float) -> None:
        group = self._optimizer.param_groups[place]
        if hasattr(group.get("initial_lr", group["lr"]), "fill_"):
            group.setdefault("initial_lr", group["lr"].clone())
        _set(group, "initial_lr", value)
        for part in self._parts:
            if hasattr(part, "base_lrs"):
                _set(part.base_lrs, place, value)

    def _scheduled(self, place: int) -> float | None:
        """Return the current rate from the schedule's closed form; None where there is none."""
        if len(self._parts) > 1 or not hasattr(self._parts[0], "_get_closed_form_lr"):
            return None
        return _number(self._parts[0]._get_closed_form_lr()[place])


def _parts(scheduler: Any) -> list[Any]:
    parts = getattr(scheduler, "_schedulers", None)
    if parts is None:
        return [scheduler]
    return [leaf for part in parts for leaf in _parts(part)]


def _number(rate: Any) -> float:
    """Return a rate, which may be a tensor, as a number."""
    return float(rate)


def _set(container: Any, key: Any, value: float) -> None:
    """Set a rate; a tensor is filled in place, so that captured CUDA graphs see the new value."""
    old: Any = container.get(key) if isinstance(container, dict) else container[key]
    if hasattr(old, "fill_"):
        old.fill_(value)
    else:
        container[key] = value
