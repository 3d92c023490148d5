"""Find hyperparameters that training code reads, but whose optimizer keeps another value.

Code that reads ``trial["lr"]`` to log it, and never applies it, would pass as code that uses it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from phyletic.errors import HyperparameterUnused
from phyletic.records import Value
from phyletic.workers.apply import took
from phyletic.workers.targets import keras_optimizer, torch_optimizer
from phyletic.workers.targets.target import Target, ancestry


@dataclass(frozen=True, slots=True)
class NamedSetting:
    """A setting of an optimizer in the state that has the name of a hyperparameter.

    Attributes:
        path: The hyperparameter.
        setting: The setting's name.
        target: The optimizer.
        before: Its value when the body began.
    """

    path: str
    setting: str
    target: Target
    before: Value


def named_settings(state: Mapping[str, object], paths: Iterable[str]) -> list[NamedSetting]:
    """Return the settings of the optimizers in a state that have the name of a hyperparameter.

    Args:
        state: The entries that ``build`` returned.
        paths: The hyperparameters; the last part of a path is its name.
    """
    found = []
    for target in _optimizers(state.values()):
        for path in paths:
            name = path.rpartition(".")[2]
            setting = target.aliases.get(name, name)
            if setting in target.settings:
                found.append(NamedSetting(path, setting, target, target.settings[setting].read()))
    return found


def unheeded(
    settings: Iterable[NamedSetting], values: Mapping[str, Value], read: Iterable[str], number: int
) -> HyperparameterUnused | None:
    """Return an error for the first value that was read while every optimizer's setting of its name kept another.

    A setting that the body moves, by a schedule of its own, is none of these.

    Args:
        settings: The settings as they were when the body began.
        values: The trial's hyperparameters by path.
        read: The paths that training code read and did not apply.
        number: The trial's number.
    """
    read = set(read)
    for path in sorted({one.path for one in settings} & read):
        same = [one for one in settings if one.path == path]
        if all(_kept_another(one, values[path]) for one in same):
            kept = same[0]
            return HyperparameterUnused(
                f"{path!r} is {values[path]!r} in trial {number} and was read, but {kept.setting} of "
                f"{kept.target.kind} was {kept.before!r} from the beginning of the body to its end, so exploring "
                f"{path!r} changes nothing. Apply it in the loop's body: trial.apply(optimizer). To log values, take "
                "trial.hyperparameters.copy(), which counts as no use. If your code uses the value elsewhere, say so: "
                f"trial.apply(lambda values: {{{path!r}: values[{path!r}]}})"
            )
    return None


def _kept_another(setting: NamedSetting, value: Value) -> bool:
    now = setting.target.settings[setting.setting].read()
    return now == setting.before and not took(value, now)


def _optimizers(entries: Iterable[Any]) -> Iterator[Target]:
    for entry in entries:
        if "Model" in ancestry(entry, "keras"):
            entry = getattr(entry, "optimizer", None)
        if "Optimizer" in ancestry(entry, "torch"):
            described = torch_optimizer.describe(entry, None, None)
        elif ancestry(entry, "keras") & {"Optimizer", "BaseOptimizer"}:
            described = keras_optimizer.describe(entry)
        else:
            continue
        if described is not None:
            yield described
