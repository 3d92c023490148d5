"""PyTorch optimizers: their parameter groups, and the base rates of learning rate schedulers."""

from __future__ import annotations

import sys
from typing import Any

from phyletic.errors import ApplyFailed
from phyletic.records import Value
from phyletic.workers.targets.target import Setting, Target, agreed, ancestry, kind_of, plain
from phyletic.workers.targets.torch_scheduler import BaseRates

__all__ = ["describe"]

_ALIASES = {"beta1": "betas.0", "beta2": "betas.1", "beta_1": "betas.0", "beta_2": "betas.1"}

_NOT_SETTINGS = {
    *("params", "param_names", "name"),
    # How a step is computed, not what it computes.
    *("foreach", "fused", "capturable", "differentiable"),
    # Notes of the schedulers: changing them alone changes nothing, or what only the scheduler may change.
    *("initial_lr", "max_lr", "min_lr", "base_momentum", "max_momentum"),
}

_ADVICE = "Where a learning rate scheduler sets it, say so: trial.apply(optimizer, scheduler=scheduler)"


def describe(target: Any, group: int | str | None, scheduler: object | None) -> Target | None:
    """Describe a ``torch.optim.Optimizer``; returns None for anything else.

    Args:
        target: What was given to ``apply``.
        group: Index or ``"name"`` of one parameter group; None for all of them.
        scheduler: The learning rate scheduler that the optimizer is under; its base rate is the setting ``lr``.

    Raises:
        ApplyFailed: There is no such group, or the scheduler is another optimizer's or of a kind without base rates.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    if isinstance(target, torch.nn.Module):
        raise ApplyFailed(f"{kind_of(target)} is a module, which has no hyperparameters to set: apply to its optimizer")
    if ancestry(target, "torch") & {"LRScheduler", "_LRScheduler", "ReduceLROnPlateau"}:
        raise ApplyFailed(
            f"{kind_of(target)} is a scheduler: apply to its optimizer, trial.apply(optimizer, scheduler=scheduler)"
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
        rates = BaseRates(target, scheduler, places)
        settings["lr"] = Setting(rates.read, rates.write)
    return Target(kind_of(target), settings, aliases=_ALIASES, advice=_ADVICE)


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
    # Groups are looked up at each use: load_state_dict puts new dictionaries in their place.
    def read() -> Value:
        found = [optimizer.param_groups[place][key] for place in places]
        return agreed(plain(value if position is None else value[position]) for value in found)

    def write(value: Value) -> None:
        for place in places:
            group = optimizer.param_groups[place]
            if position is None:
                group[key] = _renewed(group[key], value)
            else:
                elements = list(group[key])
                elements[position] = _renewed(elements[position], value)
                group[key] = type(group[key])(elements)

    return Setting(read, write)


def _renewed(old: Any, value: Value) -> Any:
    """Return the value; where a tensor held it, that tensor, filled, so that captured CUDA graphs see the value."""
    return old.fill_(value) if hasattr(old, "fill_") else value
