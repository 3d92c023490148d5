"""Find hyperparameters that training code reads, but whose optimizer keeps another value.

Code that reads ``trial["lr"]`` to log it, and never applies it, would pass as code that uses it.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from phyletic.errors import HyperparameterUnused
from phyletic.records import Trial, Value
from phyletic.workers.apply import took
from phyletic.workers.targets import keras_optimizer, torch_optimizer
from phyletic.workers.targets.target import Target, ancestry, plain

_RATES = ("lr", "learning_rate")


@dataclass(frozen=True, slots=True)
class NamedSetting:
    """A setting of an optimizer in the state that has the name of a hyperparameter.

    Attributes:
        path: The hyperparameter.
        setting: The setting's name.
        target: What ``apply`` knows of the optimizer.
        optimizer: The optimizer.
        before: Its value when the body began.
    """

    path: str
    setting: str
    target: Target
    optimizer: object
    before: Value


def named_settings(state: Mapping[str, object], trial: Trial) -> list[NamedSetting]:
    """Return the settings of the optimizers in a state that a trial should find another value of its own for.

    These are the settings that have the name of a hyperparameter whose value is new in the trial: any at birth, and
    later those that the decision changed. A setting other than the learning rate that has its class's default value is
    none of them, since code that uses a value in a loss of its own leaves such settings alone.

    Args:
        state: The entries that ``build`` returned.
        trial: The trial; the last part of a hyperparameter's path is its name.
    """
    changed = {change.path for change in trial.decision.changes}
    paths = [path for path in trial.hyperparameters if trial.newborn or path in changed]
    found = []
    for _, optimizer, target in optimizers(state):
        for path in paths:
            name = path.rpartition(".")[2]
            setting = target.aliases.get(name, name)
            if setting not in target.settings:
                continue
            before = target.settings[setting].read()
            if setting in _RATES or before != _default(optimizer, setting):
                found.append(NamedSetting(path, setting, target, optimizer, before))
    return found


def unmoved(settings: Collection[NamedSetting]) -> list[NamedSetting]:
    """Return the settings of those hyperparameters for which no setting has moved since the body began.

    Args:
        settings: The settings as they were when the body began.
    """
    moved = {one.path for one in settings if _now(one) != one.before}
    return [one for one in settings if one.path not in moved]


def unheeded(
    settings: Collection[NamedSetting], state: Mapping[str, object], trial: Trial, read: Collection[str]
) -> HyperparameterUnused | None:
    """Return an error for the first value that was read while every optimizer's setting of its name kept another.

    A setting that the body moves, by a schedule of its own, is none of these, and neither is one of an optimizer that
    the body has replaced.

    Args:
        settings: The settings as they were when the body began.
        state: The entries of the state at the body's end.
        trial: The trial.
        read: The paths that training code read and did not apply.
    """
    values, held = trial.hyperparameters, [id(optimizer) for _, optimizer, _ in optimizers(state)]
    replaced = {one.path for one in settings if id(one.optimizer) not in held}
    kept = [one for one in unmoved(settings) if one.path in read and one.path not in replaced]
    for path in sorted({one.path for one in kept}):
        same = [one for one in kept if one.path == path]
        if not any(took(values[path], one.before) for one in same):
            return HyperparameterUnused(
                f"{path!r} is {values[path]!r} in trial {trial.number} and was read, but {same[0].setting} of "
                f"{same[0].target.kind} was {same[0].before!r} from the beginning of the body to its end, so exploring "
                f"{path!r} changes nothing. Apply it in the loop's body: trial.apply(optimizer). To log values, take "
                "trial.hyperparameters.copy(), which counts as no use. If your code uses the value elsewhere, say so: "
                f"trial.apply(lambda values: {{{path!r}: values[{path!r}]}})"
            )
    return None


def _now(setting: NamedSetting) -> Value:
    return setting.target.settings[setting.setting].read()


def _default(optimizer: object, setting: str) -> Value:
    """Return the value that an optimizer's class gives to a setting by itself; its name in words if it gives none."""
    name, _, place = setting.partition(".")
    try:
        default = inspect.signature(type(optimizer)).parameters[name].default
        return plain(default[int(place)] if place else default)
    except (KeyError, IndexError, TypeError, ValueError):
        return f"no default of {setting}"


def optimizers(state: Mapping[str, object]) -> Iterator[tuple[str, object, Target]]:
    """Return the optimizers that a state holds: the entry's name, the optimizer, and what ``apply`` knows of it.

    Args:
        state: The entries that ``build`` returned; an optimizer is one of them, or an attribute ``optimizer`` of one.
    """
    for name, entry in state.items():
        optimizer = _optimizer_of(entry)
        if "Optimizer" in ancestry(optimizer, "torch"):
            described = torch_optimizer.describe(optimizer, None, None)
        else:
            described = keras_optimizer.describe(optimizer)
        if described is not None:
            yield name, optimizer, described


def _optimizer_of(entry: Any) -> object:
    if "Model" in ancestry(entry, "keras"):
        return getattr(entry, "optimizer", None)
    if "Optimizer" in ancestry(entry, "torch") or ancestry(entry, "keras") & {"Optimizer", "BaseOptimizer"}:
        return entry
    held: object = getattr(entry, "__dict__", {}).get("optimizer")
    if "Optimizer" in ancestry(held, "torch") or ancestry(held, "keras") & {"Optimizer", "BaseOptimizer"}:
        return held
    return None
