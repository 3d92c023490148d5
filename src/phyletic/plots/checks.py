"""Checks of arguments of pictures: each returns a good value, or raises InvalidArgument before anything is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from phyletic.errors import InvalidArgument
from phyletic.evolution.arguments import check_instance, check_mapping, check_number, check_sequence
from phyletic.plots.plane import Point, Surface
from phyletic.records import Metric, Trial
from phyletic.records.values import is_unicode
from phyletic.space import Space

__all__ = [
    "check_hyperparameters",
    "check_metric",
    "check_names",
    "check_origin",
    "check_runs",
    "check_seconds",
    "check_space",
    "check_surface",
    "check_target",
    "check_text",
    "check_trials",
]


def check_trials(trials: object, name: str = "trials") -> tuple[Trial, ...]:
    """Return trials, at least one."""
    made = check_sequence(name, trials, "the trials of one study, such as study.trials()")
    for trial in made:
        check_instance(name, trial, Trial, "trials, such as study.trials() returns")
    if not made:
        raise InvalidArgument(name, trials, "at least one trial", "Run the study before plotting it")
    return made


def check_runs(runs: object, kind: type) -> Mapping[Any, tuple[Trial, ...]]:
    """Return the trials of several studies by their keys, which are of type ``kind``."""
    made = check_mapping("runs", runs, "a dictionary of the trials of each study")
    if not made:
        raise InvalidArgument("runs", runs, "one study or more, each with trials", "Run them before plotting")
    for key in made:
        if isinstance(key, bool) or not isinstance(key, kind):
            raise InvalidArgument("runs", key, f"a dictionary whose keys are of type {kind.__name__}")
    return {key: check_trials(trials, f"runs[{key!r}]") for key, trials in made.items()}


def check_space(space: object) -> Space:
    """Return a space."""
    return check_instance("space", space, Space, "the study's space, such as study.space")


def check_metric(metric: object) -> Metric:
    """Return a metric."""
    return check_instance("metric", metric, Metric, "one of the study's metrics, such as study.metrics[0]")


def check_hyperparameters(hyperparameters: object, space: Space) -> tuple[str, ...]:
    """Return flat paths of a space; none for None."""
    known = list(space.parameters)
    if hyperparameters is None:
        return ()
    made = check_sequence("hyperparameters", hyperparameters, "a list of flat paths, or None")
    for path in made:
        if not isinstance(path, str) or path not in known:
            raise InvalidArgument("hyperparameters", path, f"one of the space's paths: {', '.join(known)}")
    return made


def check_names(name: str, value: object, count: int, example: str) -> tuple[str, ...]:
    """Return texts, as many as ``count``.

    Args:
        name: The argument.
        value: Its value.
        count: How many texts.
        example: An example for the error.
    """
    allowed = f"{count} names, such as {example}"
    made = check_sequence(name, value, allowed)
    if len(made) != count or not all(isinstance(text, str) and is_unicode(text) for text in made):
        raise InvalidArgument(name, value, allowed)
    return made


def check_text(name: str, value: object) -> str:
    """Return a text, which may be empty."""
    if not is_unicode(check_instance(name, value, str, "text")):
        raise InvalidArgument(name, value, "text that can be written")
    return str(value)


def check_surface(surface: object) -> Surface:
    """Return a surface."""
    return check_instance("surface", surface, Surface, "what phyletic.plots.plane.surface returns")


def check_origin(origin: object) -> Point | None:
    """Return a point, or None."""
    if origin is None:
        return None
    allowed = "two numbers, or None"
    made = check_sequence("origin", origin, allowed)
    if len(made) != 2:
        raise InvalidArgument("origin", origin, allowed)
    for coordinate in made:
        check_number("origin", coordinate)
    return made


def check_target(target: object) -> None:
    """Raise unless finite or None."""
    if target is not None:
        check_number("target", target)


def check_seconds(seconds: object) -> None:
    """Raise unless an animation may take so long; a frame of a GIF can stay for at most eleven minutes."""
    check_number("seconds", seconds, least=0.01, most=600)
