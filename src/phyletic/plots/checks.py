"""Check the arguments of pictures: return a good value, or raise InvalidArgument before anything is drawn."""

from __future__ import annotations

from phyletic.errors import InvalidArgument
from phyletic.evolution.arguments import check_instance, check_number, check_sequence
from phyletic.records import Metric, Trial
from phyletic.records.encodings import is_unicode
from phyletic.space import Space


def check_trials(trials: object, name: str = "trials") -> tuple[Trial, ...]:
    """Return trials, at least one."""
    made = check_sequence(name, trials, "the trials of one study, such as study.trials()")
    for trial in made:
        check_instance(name, trial, Trial, "trials, such as study.trials() returns")
    if not made:
        raise InvalidArgument(name, trials, "at least one trial", "Run the study before plotting it")
    return made


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
    text = check_instance(name, value, str, "text")
    if not is_unicode(text):
        raise InvalidArgument(name, value, "text that can be written")
    return text


def check_seconds(seconds: object) -> None:
    """Raise unless an animation may take so long; a frame of a GIF can stay for at most eleven minutes."""
    check_number("seconds", seconds, least=0.01, most=600)
