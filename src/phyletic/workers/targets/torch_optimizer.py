"""PyTorch optimizers: their parameter groups, and the base rates of learning rate schedulers.

Under a scheduler, PBT explores the base rate, and the schedule goes on from it.
"""

from __future__ import annotations

import math
import sys
from typing import Any

from phyletic.errors import ApplyFailed
from phyletic.records import Value
from phyletic.workers.targets.target import Setting, Target, agreed, ancestry, kind_of, plain

_ALIASES = {"beta1": "betas.0", "beta2": "betas.1", "beta_1": "betas.0", "beta_2": "betas.1"}

_NOT_SETTINGS = {
    *("params", "param_names", "name"),
    # these say how to compute a step, and leave its result alone
    *("foreach", "fused", "capturable", "differentiable"),
    # notes of the schedulers: writing them has no effect, or one that only the scheduler may have
    *("initial_lr", "max_lr", "min_lr", "base_momentum", "max_momentum"),
}

_TAKES = frozenset({"group", "scheduler"})
_ADVICE = (
    "If a learning rate scheduler sets it, return the scheduler from build, so that it is saved and loaded, and say "
    "so: trial.apply(optimizer, scheduler=scheduler)"
)


def describe(target: Any, group: int | str | None, scheduler: object | None) -> Target | None:
    """Describe a ``torch.optim.Optimizer``; returns None for anything else.

    Args:
        target: The target of ``apply``.
        group: Index or ``"name"`` of one parameter group; None for all of them.
        scheduler: The learning rate scheduler that the optimizer is under; its base rate is the setting ``lr``.

    Raises:
        ApplyFailed: The optimizer has no such group, or the scheduler is another optimizer's or has no base rates.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    if isinstance(target, torch.nn.Module):
        raise ApplyFailed(f"{kind_of(target)} is a module, which has no hyperparameters to set: apply to its optimizer")
    if ancestry(target, "torch") & {"LRScheduler", "_LRScheduler", "ReduceLROnPlateau"}:
        raise ApplyFailed(
            f"{kind_of(target)} is a scheduler: return it from build, and apply to its optimizer, "
            "trial.apply(optimizer, scheduler=scheduler)"
        )
    if not isinstance(target, torch.optim.Optimizer):
        return None
    places = _places(target, group)
    shared = set.intersection(*(set(target.param_groups[place]) for place in places)) - _NOT_SETTINGS
    settings: dict[str, Setting] = {}
    for key in sorted(shared):
        values = target.param_groups[places[0]][key]
        if isinstance(values, (tuple, list)):
            for position in range(len(values)):
                settings[f"{key}.{position}"] = _setting(target, places, key, position)
        elif values is None or isinstance(values, (bool, int, float, str, torch.Tensor)):
            settings[key] = _setting(target, places, key)
    if scheduler is not None:
        rates = _BaseRates(target, scheduler, places)
        settings["lr"] = Setting(rates.read, rates.write)
    return Target(kind_of(target), settings, aliases=_ALIASES, takes=_TAKES, advice=_ADVICE, fresh=_is_fresh(target))


def _is_fresh(optimizer: Any) -> bool:
    """Whether an optimizer has made no step, although its kind keeps something between steps."""
    if any(optimizer.state.values()):
        return False
    descends = any(kind.__name__ == "SGD" for kind in type(optimizer).__mro__)
    return not descends or any(group.get("momentum") for group in optimizer.param_groups)


def _places(optimizer: Any, group: int | str | None) -> list[int]:
    groups = optimizer.param_groups
    if group is None:
        return list(range(len(groups)))
    if isinstance(group, str):
        found = [place for place, settings in enumerate(groups) if settings.get("name") == group]
        if not found:
            known = [settings["name"] for settings in groups if "name" in settings]
            raise ApplyFailed(f'group is {group!r}, but the groups of {kind_of(optimizer)} with a "name" are {known}')
        return found
    if isinstance(group, bool) or not isinstance(group, int) or not 0 <= group < len(groups):
        raise ApplyFailed(f"group is {group!r}, but {kind_of(optimizer)} has the groups 0 to {len(groups) - 1}")
    return [group]


def _setting(optimizer: Any, places: list[int], key: str, position: int | None = None) -> Setting:
    """Return one setting of some parameter groups.

    Args:
        optimizer: A ``torch.optim.Optimizer``.
        places: Indices of the parameter groups.
        key: The setting's key in a group.
        position: Index of one element if the group holds a tuple or list; None for the whole value.
    """

    # look up the groups at each use: load_state_dict replaces their dictionaries
    def read() -> Value:
        found = [optimizer.param_groups[place][key] for place in places]
        return agreed(plain(value if position is None else value[position]) for value in found)

    def write(value: Value) -> None:
        for place in places:
            group = optimizer.param_groups[place]
            if position is None:
                _set(group, key, value)
            else:
                elements = list(group[key])
                _set(elements, position, value)
                group[key] = type(group[key])(elements)

    return Setting(read, write)


class _BaseRates:
    """The base learning rates of an optimizer under a scheduler.

    A scheduler computes the rate of each step from a base rate (``base_lrs``) or from the rate of the step before. So
    :meth:`write` sets a new base rate in both, and moves the current rate to its place in the schedule of the new base.

    Args:
        optimizer: A ``torch.optim.Optimizer``.
        scheduler: Its scheduler, which may consist of others (``SequentialLR``, ``ChainedScheduler``).
        places: Indices of the parameter groups.

    Raises:
        ApplyFailed: The scheduler is another optimizer's, or does not start from a base rate.
    """

    def __init__(self, optimizer: Any, scheduler: Any, places: list[int]) -> None:
        self._optimizer = optimizer
        self._places = places
        self._parts = _parts(scheduler)
        self._based = [part for part in self._parts if hasattr(part, "base_lrs")]
        for part in self._parts:
            kinds = ancestry(part, "torch")
            if getattr(part, "optimizer", None) is not optimizer:
                raise ApplyFailed(f"scheduler is {kind_of(part)}, which does not schedule this {kind_of(optimizer)}")
            if kinds & {"OneCycleLR", "CyclicLR"}:
                raise ApplyFailed(
                    f"scheduler is {kind_of(part)}, which keeps a highest and a lowest rate instead of a base rate. "
                    "Write the cycle as a LambdaLR, or set its rates in a function: trial.apply(function)"
                )
            if "ReduceLROnPlateau" not in kinds and part not in self._based:
                raise ApplyFailed(f"scheduler is {kind_of(part)}, but must be a torch scheduler with base_lrs")

    def read(self) -> Value:
        """Return the base rate."""
        noted = [float(part.base_lrs[place]) for part in self._based for place in self._places]
        return agreed([*map(self._base, self._places), *noted])

    def write(self, value: Value) -> None:
        """Set the base rate, and the current rate accordingly."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ApplyFailed(f"a learning rate is {value!r}, but must be a number")
        for place in self._places:
            base = self._base(place)
            group = self._optimizer.param_groups[place]
            current = float(group["lr"])
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
        # ReduceLROnPlateau notes no base rate: before the first apply, it is the rate itself
        return float(group.get("initial_lr", group["lr"]))

    def _set_base(self, place: int, value: float) -> None:
        group = self._optimizer.param_groups[place]
        if hasattr(group.get("initial_lr", group["lr"]), "fill_"):
            group.setdefault("initial_lr", group["lr"].clone())
        _set(group, "initial_lr", value)
        for part in self._based:
            _set(part.base_lrs, place, value)

    def _scheduled(self, place: int) -> float | None:
        """Return the current rate from the schedule's closed form; None if it has none."""
        if len(self._parts) > 1 or not hasattr(self._parts[0], "_get_closed_form_lr"):
            return None
        return float(self._parts[0]._get_closed_form_lr()[place])


def _parts(scheduler: Any) -> list[Any]:
    parts = getattr(scheduler, "_schedulers", None)
    if parts is None:
        return [scheduler]
    return [leaf for part in parts for leaf in _parts(part)]


def _set(container: Any, key: Any, value: Value) -> None:
    """Set a value; fill a tensor in place, so that captured CUDA graphs see the new value.

    Args:
        container: A parameter group, or a list.
        key: Key or index of the value.
        value: The new value.
    """
    old: Any = container.get(key) if isinstance(container, dict) else container[key]
    if hasattr(old, "fill_"):
        old.fill_(value)
    else:
        container[key] = value
