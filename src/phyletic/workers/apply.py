"""Set hyperparameters in the objects that train, and find out whether they took effect.

No general way to set a value exists: SB3's ``model.learning_rate``, the ``lr`` of a torch optimizer under a scheduler
and ``learning_rate_init`` of a fitted ``MLPClassifier`` all read back well and change nothing. So each kind of target
has its own file in :mod:`phyletic.workers.targets`, or the user teaches it with :func:`register`.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from phyletic.errors import ApplyFailed, HyperparameterDrift, InvalidArgument
from phyletic.records import Value
from phyletic.workers.targets import keras_optimizer, optax_state, sklearn_estimator, torch_optimizer
from phyletic.workers.targets.target import Setting, Target, describe_mapping, kind_of, plain

T = TypeVar("T")

ReadBack = Callable[[], Mapping[str, Value]]
_Read = Callable[[Any], Mapping[str, Value]]
_Write = Callable[[Any, str, Value], None]

_taught: dict[type, tuple[_Read, _Write]] = {}


@dataclass(frozen=True, slots=True)
class Applied:
    """The effect of one call of ``apply``.

    Attributes:
        values: The values that took effect, by hyperparameter path.
        target: The target; a function has settings only if it can be read back.
        found: Path and value, as read back, by setting of the target.
        remark: What a person should know about it; empty if nothing.
    """

    values: dict[str, Value]
    target: Target
    found: dict[str, tuple[str, Value]]
    remark: str = ""


def apply(
    hyperparameters: Mapping[str, Value],
    target: object,
    *,
    group: int | str | None = None,
    scheduler: object | None = None,
    names: Mapping[str, str] = {},
    read: ReadBack | None = None,
    parent: int | None = None,
    fresh: bool = False,
) -> Applied:
    """Set hyperparameters in an optimizer, an estimator, a mapping, or with a function.

    Without ``names``, set each hyperparameter whose path, or its last part, is a setting of the target; with ``names``,
    set exactly those. Check all of them before setting the first.

    Args:
        hyperparameters: Values by flat path.
        target: A torch optimizer, an optax state with injected hyperparameters, a Keras optimizer, a scikit-learn
            estimator that trains step by step, a mutable mapping, an object of a class taught with :func:`register`,
            or a function that takes a dictionary of the hyperparameters, sets them, and returns by path the values that
            took effect (it may return None if ``read`` is given).
        group: One parameter group of a torch optimizer, by index or by its ``"name"`` (of an optax state: one injected
            state, by index); None for all.
        scheduler: The torch learning rate scheduler of ``lr``: the value becomes its base rate, and the current rate
            moves to its place in the schedule of the new base.
        names: Hyperparameter paths by the target's own names: ``{"lr": "head_lr"}``.
        read: Returns by path the values that are in force, for a target that is a function; called after it, and at the
            trial's end.
        parent: The number of the trial whose weights the training continues from; None at birth. Then an optimizer
            that should have moments and has none is refused.
        fresh: Whether the optimizer is meant to begin without moments all the same.

    Returns:
        The values that took effect, and a way to read them again.

    Raises:
        ApplyFailed: The target is of an unknown kind, no hyperparameter matches, two match one setting, a setting would
            have no effect, a value did not take, or the optimizer has lost its moments.

    Example:
        >>> parameters = {"eta": 0.3, "max_depth": 6}
        >>> apply({"booster.eta": 0.1, "width": 64}, parameters).values
        {'booster.eta': 0.1}
        >>> parameters
        {'eta': 0.1, 'max_depth': 6}
    """
    # not callable(): modules and layers are callable, but nobody means to call one with hyperparameters
    if inspect.isroutine(target) or isinstance(target, functools.partial):
        if group is not None or scheduler is not None or names or fresh:
            raise ApplyFailed(
                "group=, scheduler=, fresh= and names are not passed on to a function: set them inside it"
            )
        return _apply_function(hyperparameters, target, read)
    if read is not None:
        raise ApplyFailed(f"read= is for a target that is a function, but the target is {kind_of(target)}")
    described = _describe(target, group, scheduler)
    chosen = _named(hyperparameters, described, names) if names else _matching(hyperparameters, described)
    if scheduler is not None and "lr" not in chosen:
        raise ApplyFailed(
            f"scheduler= is given, but no hyperparameter is applied to lr of {described.kind}. The hyperparameters are "
            f'{_listed(hyperparameters)}; one with another name is applied with trial.apply(..., lr="its name")'
        )
    for setting, path in chosen.items():
        if setting in described.refused:
            raise ApplyFailed(
                f"{path!r} cannot be applied to {setting} of {described.kind}: {described.refused[setting]}"
            )
    if described.fresh and parent is not None and not fresh:
        raise ApplyFailed(
            f"{described.kind} has made no step yet, but the trial continues from trial {parent}: its moments are "
            "lost. Return the optimizer from build, so that it is saved and loaded, or load its state before apply. "
            "If it is meant to begin anew in each trial, say so: trial.apply(optimizer, fresh=True)"
        )
    for setting, path in chosen.items():
        try:
            described.settings[setting].write(hyperparameters[path])
        except ApplyFailed:
            raise
        except Exception as error:
            raise ApplyFailed(
                f"{path!r} could not be applied to {setting} of {described.kind} as {hyperparameters[path]!r}: {error}"
            ) from error
    found = {setting: (path, described.settings[setting].read()) for setting, path in chosen.items()}
    for setting, (path, value) in found.items():
        if not took(hyperparameters[path], value):
            raise ApplyFailed(
                f"{path!r} was applied to {setting} of {described.kind} as {hyperparameters[path]!r}, "
                f"but it reads back as {value!r}"
            )
    remark = (
        f"{described.kind} began without moments, as fresh=True says" if described.fresh and parent is not None else ""
    )
    return Applied(dict(found.values()), described, found, remark)


def drift(applied: Iterable[Applied]) -> HyperparameterDrift | None:
    """Read applied values again at a trial's end, and return an error for the first that has changed.

    Args:
        applied: The results of the trial's calls of :func:`apply`, in order. Two calls that set the same setting of the
            same target agree as long as nothing else changed it.

    Example:
        >>> parameters = {"eta": 0.3}
        >>> done = apply({"eta": 0.1}, parameters)
        >>> drift([done]) is None
        True
        >>> parameters["eta"] = 0.05
        >>> print(drift([done]))  # doctest: +ELLIPSIS
        'eta' was applied to eta of dict as 0.1, but is 0.05 at the trial's end. Something in the training code ...
    """
    for one in applied:
        for setting, (path, before) in one.found.items():
            now = one.target.settings[setting].read()
            if now != before and not (now != now and before != before):
                return HyperparameterDrift(
                    f"{path!r} was applied to {setting} of {one.target.kind} as {before!r}, "
                    f"but is {now!r} at the trial's end. {one.target.advice}"
                )
    return None


def register(
    kind: type[T], *, read: Callable[[T], Mapping[str, Value]], write: Callable[[T, str, Value], None]
) -> None:
    """Teach ``apply`` a class, and the classes derived from it.

    Args:
        kind: The class.
        read: Returns an object's current values by setting, from the places where training reads them.
        write: Sets one setting of an object by name, in all places where training reads it.

    Raises:
        InvalidArgument: ``kind`` is not a class.

    Example:
        >>> class Walker:
        ...     step_size = 1.0
        >>> register(
        ...     Walker,
        ...     read=lambda walker: {"step_size": walker.step_size},
        ...     write=lambda walker, name, value: setattr(walker, name, value),
        ... )
        >>> apply({"step_size": 0.5}, Walker()).values
        {'step_size': 0.5}
    """
    if not isinstance(kind, type):
        raise InvalidArgument("kind", kind, "a class")
    _taught[kind] = (read, write)


def _apply_function(hyperparameters: Mapping[str, Value], function: Any, read: ReadBack | None) -> Applied:
    """Call a function that sets values, and read them back if that is possible.

    Args:
        hyperparameters: Values by flat path.
        function: The function; it returns the values that took effect by path, or None if they are read back.
        read: Returns the values in force by path; None if nothing can read them.
    """
    kind = f"the function {getattr(function, '__qualname__', repr(function))}"
    returned = function(dict(hyperparameters))
    if read is not None and returned is None:
        returned = {path: hyperparameters[path] for path in _in_force(hyperparameters, read)}
    if not isinstance(returned, Mapping) or not returned:
        raise ApplyFailed(
            f"{kind} returned {returned!r}, but must return what took effect: a mapping such as {{'lr': 0.1}}"
        )
    for path in returned:
        if path not in hyperparameters:
            raise ApplyFailed(f"{kind} returned {path!r}, but the hyperparameters are {_listed(hyperparameters)}")
    values = {path: plain(value) for path, value in returned.items()}
    if read is None:
        remark = f"{', '.join(map(repr, values))}: set by {kind}, not read back (trial.apply(write, read=...) would)"
        return Applied(values, Target(kind, {}), {}, remark)
    in_force = _in_force(hyperparameters, read)
    for path, value in values.items():
        if path not in in_force or not took(value, in_force[path]):
            raise ApplyFailed(
                f"{path!r} was set by {kind} to {value!r}, but read returns {in_force.get(path, 'no such value')!r}"
            )
    settings = {path: _read_only(hyperparameters, read, path) for path in values}
    return Applied(values, Target(kind, settings), {path: (path, in_force[path]) for path in values})


def _in_force(hyperparameters: Mapping[str, Value], read: ReadBack) -> dict[str, Value]:
    found: object = read()
    if not isinstance(found, Mapping) or not all(path in hyperparameters for path in found) or not found:
        raise ApplyFailed(
            f"read returned {found!r}, but must return a mapping from hyperparameters to the values in force: the "
            f"hyperparameters are {_listed(hyperparameters)}"
        )
    return {path: plain(value) for path, value in found.items()}


def _read_only(hyperparameters: Mapping[str, Value], read: ReadBack, path: str) -> Setting:
    def refuse(value: Value) -> None:
        raise ApplyFailed("a function is called once")

    return Setting(lambda: _in_force(hyperparameters, read).get(path, "(no such value)"), refuse)


def _describe(target: object, group: int | str | None, scheduler: object | None) -> Target:
    """Return the settings of a target, or raise ApplyFailed if its kind is unknown.

    Args:
        target: The target of ``apply``.
        group: As for :func:`apply`.
        scheduler: As for :func:`apply`.
    """
    described = (
        _described_by_user(target)
        or torch_optimizer.describe(target, group, scheduler)
        or optax_state.describe(target, group)
        or keras_optimizer.describe(target)
        or sklearn_estimator.describe(target)
        or describe_mapping(target)
    )
    if described is None:
        raise ApplyFailed(
            f"apply does not know {kind_of(target)}: it knows torch and Keras optimizers, optax states with "
            "inject_hyperparams, scikit-learn estimators that train step by step, and mutable mappings. Give it a "
            "function that sets the values and returns what took effect, or teach it the class with "
            "phyletic.workers.apply.register"
        )
    if scheduler is not None and "scheduler" not in described.takes:
        raise ApplyFailed(f"scheduler= is for torch optimizers, but the target is {described.kind}")
    if group is not None and "group" not in described.takes:
        raise ApplyFailed(f"group= is for torch optimizers and optax states, but the target is {described.kind}")
    return described


def _described_by_user(target: Any) -> Target | None:
    taught = next((_taught[kind] for kind in type(target).__mro__ if kind in _taught), None)
    if taught is None:
        return None
    read, write = taught

    def setting(name: str) -> Setting:
        return Setting(lambda: plain(read(target)[name]), lambda value: write(target, name, value))

    return Target(kind_of(target), {name: setting(name) for name in read(target)})


def _named(hyperparameters: Mapping[str, Value], target: Target, names: Mapping[str, str]) -> dict[str, str]:
    """Return the paths that the user named, by setting.

    Args:
        hyperparameters: Values by flat path.
        target: The description of the target.
        names: Hyperparameter paths by the target's own names: ``{"lr": "head_lr"}``.
    """
    chosen: dict[str, str] = {}
    for name, path in names.items():
        setting = _known(target, name)
        if setting is None:
            raise ApplyFailed(f"{target.kind} has no setting {name!r}: its settings are {_listed(target.settings)}")
        if not isinstance(path, str) or path not in hyperparameters:
            raise ApplyFailed(f"{name}={path!r:.200}, but the hyperparameters are {_listed(hyperparameters)}")
        if setting in chosen:
            raise ApplyFailed(f"{setting} of {target.kind} is named twice: as {chosen[setting]!r} and as {path!r}")
        chosen[setting] = path
    return chosen


def _matching(hyperparameters: Mapping[str, Value], target: Target) -> dict[str, str]:
    chosen: dict[str, str] = {}
    for path in hyperparameters:
        setting = _known(target, path) or _known(target, path.rpartition(".")[2])
        if setting is None:
            continue
        if setting in chosen:
            raise ApplyFailed(
                f"{chosen[setting]!r} and {path!r} both match {setting} of {target.kind}: say which is meant, "
                f'as in trial.apply(..., {setting if setting.isidentifier() else "lr"}="{path}")'
            )
        chosen[setting] = path
    if not chosen:
        raise ApplyFailed(
            f"no hyperparameter matches a setting of {target.kind}: the hyperparameters are "
            f"{_listed(hyperparameters)}, the settings {_listed(target.settings)}. "
            'Name them, as in trial.apply(..., lr="learning_rate")'
        )
    return chosen


def _known(target: Target, name: str) -> str | None:
    name = target.aliases.get(name, name)
    return name if name in target.settings or name in target.refused else None


def took(wanted: Value, found: Value) -> bool:
    """Return whether a value took effect; tensors hold single precision, so the last digits may differ.

    Example:
        >>> took(0.1, 0.10000000149011612), took(0.1, 0.2)
        (True, False)
    """
    if isinstance(wanted, float) and isinstance(found, (int, float)) and not isinstance(found, bool):
        return math.isclose(wanted, found, rel_tol=1e-6)
    return wanted == found and isinstance(wanted, bool) == isinstance(found, bool)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
