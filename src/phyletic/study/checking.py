"""Find state that no checkpoint holds: see :meth:`Study.check`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from phyletic.checkpoints.comparison import difference
from phyletic.errors import InvalidArgument
from phyletic.evolution import RandomSearch
from phyletic.randomness import RandomStream
from phyletic.records import Budget
from phyletic.study.likely_causes import likely_causes
from phyletic.study.observing import Observer
from phyletic.workers.live_trial import check_steps

if TYPE_CHECKING:
    from phyletic.study.study import Study


def check(study: Study, train: Callable[[Any], object], *, steps: int | None = None) -> list[str]:
    """Compare a trial continued in memory with the same trial continued from its checkpoint; see :meth:`Study.check`.

    Two trials are run twice, with the same seeds: once in one call of ``train``, and once in two, so that the second
    trial begins with a loaded checkpoint. What is in the checkpoints and the metrics must be the same. If it is not,
    the variables that the training code sees at the start of the trial are compared between the runs, and the states
    of the global generators at its end.

    Args:
        study: The study.
        train: The training code.
        steps: Steps of each trial; the algorithm's interval by default.

    Raises:
        InvalidArgument: The algorithm's interval is in seconds and ``steps`` is not given.
    """
    if not callable(train):
        raise InvalidArgument("train", train, "a function that loops over trials")
    if steps is None:
        interval = study.algorithm.birth(study.space, 0, None, None, RandomStream(0)).steps
    else:
        interval = check_steps("steps", steps, 1)
    if interval is None:
        raise InvalidArgument("steps", None, "given, since the algorithm's interval is in seconds")
    remembered = _small_study(study, interval)
    loaded = _small_study(study, interval, checkpoints=remembered.checkpoints.location)
    in_memory, reloaded = Observer(remembered, __name__), Observer(loaded, __name__)
    remembered.set_budget(Budget(trials=2))
    train(in_memory)
    train(reloaded)
    loaded.set_budget(Budget(trials=2))
    train(reloaded)
    for number in (0, 1):
        found = _differences(remembered, number, loaded)
        if found:
            said = "" if number else " (already after the first trial: the training is not determined by trial.seed)"
            seen = in_memory.trials.get(number), reloaded.trials.get(number)
            return [name + said for name in found] + likely_causes(*seen, first=not number)
    return []


def _small_study(study: Study, interval: int, checkpoints: Any = None) -> Study:
    """Return a study in memory with one member and a budget of one trial.

    Args:
        study: The study to take the space, the metrics and the seed from.
        interval: Steps of one trial.
        checkpoints: Folder of the checkpoints; None for a new one.
    """
    from phyletic.study.study import Study

    return Study(
        f"check of {study.name}"[:200],
        space=study.space,
        metric=[metric.name for metric in study.metrics],
        mode=[metric.mode for metric in study.metrics],
        algorithm=RandomSearch(population=1, interval=interval),
        budget=Budget(trials=1),
        checkpoints=checkpoints,
        seed=study.identity.seed,
        initial=study.identity.initial[:1],
    )


def _differences(a: Study, number: int, b: Study) -> list[str]:
    """Return by name what differs between a trial and the same trial of another study.

    Args:
        a: The first study.
        number: The trial's number, in both.
        b: The second.
    """
    one, other = a.trial(number), b.trial(number)
    states: list[str] = []
    if one.checkpoint is not None and other.checkpoint is not None:
        states = difference(a.checkpoints, one.checkpoint, other.checkpoint)
    elif one.checkpoint is not other.checkpoint:
        states = ["checkpoint"]
    names = dict.fromkeys([*one.metrics, *other.metrics])
    # repr, so that NaN equals itself
    return states + [
        f"metrics/{name}" for name in names if repr(one.metrics.get(name)) != repr(other.metrics.get(name))
    ]
