"""What a study is: made from the user's arguments, and compared when it is opened again."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import msgspec

from phyletic.errors import InvalidArgument, StudyMismatch
from phyletic.evolution import Algorithm
from phyletic.evolution.arguments import check_seed, check_sequence
from phyletic.evolution.codec import algorithm_from_json, algorithm_to_json
from phyletic.randomness import RandomStream
from phyletic.records import Metric, StudyIdentity
from phyletic.space import Space
from phyletic.space.paths import flatten

__all__ = ["check_name", "create_identity", "make_metrics", "make_space", "require_same"]

Sampling = Literal["random", "sobol", "latin"]


def check_name(name: object) -> str:
    """Return a study's name, or raise InvalidArgument.

    Example:
        >>> check_name("digits")
        'digits'
    """
    allowed = "a name of 1 to 200 printable characters"
    # nothing that is printable is half of a surrogate pair
    if not isinstance(name, str) or not 1 <= len(name) <= 200 or not name.isprintable() or not name.strip():
        raise InvalidArgument("name", name, allowed)
    return name


def make_space(space: object) -> Space:
    """Return the space of a study from what the user gave: a dictionary, or a Space."""
    if isinstance(space, Space):
        return space
    if not isinstance(space, Mapping):
        raise InvalidArgument("space", space, 'a dictionary such as {"lr": ph.Float(1e-4, 1e-1, log=True)}')
    return Space(space)


def make_metrics(metric: object, mode: object) -> tuple[Metric, ...]:
    """Return the metrics of a study from one name and mode, or from a list of each.

    Example:
        >>> make_metrics(["accuracy", "latency"], ["max", "min"])[1]
        Metric(name='latency', mode='min')
    """
    if metric is None:
        raise InvalidArgument("metric", None, "the name under which the training code reports its score")
    names = [metric] if isinstance(metric, str) else metric
    modes = [mode] if isinstance(mode, str) or mode is None else mode
    if not isinstance(names, Sequence) or not names:
        raise InvalidArgument("metric", metric, "a name, or a list of names whose first is ranked by")
    if not isinstance(modes, Sequence) or len(modes) != len(names) or not all(map(_is_mode, modes)):
        raise InvalidArgument("mode", mode, '"max" where higher is better or "min" where lower is, one for each metric')
    metrics = tuple(Metric(name, way) for name, way in zip(names, modes, strict=True))
    if len({item.name for item in metrics}) != len(metrics):
        raise InvalidArgument("metric", metric, "names that differ")
    return metrics


def _is_mode(item: object) -> bool:
    return isinstance(item, str) and item in ("min", "max")


def create_identity(
    name: str,
    *,
    space: Space,
    metrics: tuple[Metric, ...],
    algorithm: Algorithm,
    seed: int | None,
    initial: Sequence[Mapping[str, Any]],
    sampling: Sampling,
) -> StudyIdentity:
    """Return the identity of a new study.

    Raises:
        InvalidArgument: A part cannot be used; for initial values, an InvalidSpace that names the parameter.
    """
    return StudyIdentity(
        uuid=secrets.token_hex(16),
        name=name,
        space=space.to_json(),
        metrics=metrics,
        algorithm=describe_algorithm(algorithm, space),
        seed=secrets.randbits(32) if seed is None else check_seed(seed),
        initial=make_initial(initial, space, algorithm.population_size(space)),
        sampling=check_sampling(sampling),
    )


def describe_algorithm(algorithm: Algorithm, space: Space) -> dict[str, Any]:
    """Return the JSON form of an algorithm, with the population it begins with."""
    return {**algorithm_to_json(algorithm), "population": algorithm.population_size(space)}


def check_sampling(sampling: object) -> Sampling:
    """Return a way of sampling, or raise InvalidArgument."""
    if not isinstance(sampling, str) or sampling not in ("random", "sobol", "latin"):
        raise InvalidArgument("sampling", sampling, '"random", "sobol" or "latin"')
    return cast(Sampling, sampling)


def make_initial(initial: Sequence[Mapping[str, Any]], space: Space, population: int) -> tuple[dict[str, Any], ...]:
    """Return the user's initial values by flat path, checked against the space."""
    initial = check_sequence("initial", initial, "a list of dictionaries, one for each of the first members")
    if len(initial) > population:
        raise InvalidArgument("initial", f"a list of {len(initial)}", f"no longer than the population, {population}")
    made = []
    for place, given in enumerate(initial):
        if not isinstance(given, Mapping):
            raise InvalidArgument(f"initial[{place}]", given, "a dictionary from hyperparameters to values")
        flat = flatten(
            given, [path for path in space.parameters if any(p.startswith(f"{path}.") for p in space.parameters)]
        )
        complete = space.complete(given, RandomStream(0, place))
        made.append({path: complete[path] for path in complete if path in flat})
    return tuple(made)


def require_same(
    stored: StudyIdentity,
    *,
    space: Space | None,
    metrics: tuple[Metric, ...] | None,
    algorithm: dict[str, Any] | None,
    seed: int | None,
    initial: tuple[dict[str, Any], ...] | None,
    sampling: Sampling | None,
) -> None:
    """Raise StudyMismatch, naming the first difference, unless all that is given is what is stored.

    What is None was not given, and is not compared.
    """
    differences = []
    if space is not None:
        difference = Space.from_json(stored.space).difference(space)
        if difference is not None:
            differences.append(f"space: {difference}")
    if algorithm is not None:
        # read and written again, so that what a later version added counts as left at its default
        known = {
            **algorithm_to_json(algorithm_from_json(stored.algorithm)),
            "population": stored.algorithm["population"],
        }
        if algorithm != known:
            differences.append(_first_difference("algorithm", known, algorithm))
    given = {"metric": metrics, "seed": seed, "initial": initial, "sampling": sampling}
    kept = {
        "metric": stored.metrics,
        "seed": stored.seed,
        "initial": stored.initial,
        "sampling": stored.sampling,
    }
    differences.extend(
        f"{part} is {_shown(kept[part])} there and {_shown(value)} here"
        for part, value in given.items()
        if value is not None and value != kept[part]
    )
    if differences:
        raise StudyMismatch(
            f"study {stored.name!r} exists with another identity: {'; '.join(differences)}. "
            "Open it as it is (leave those arguments out), or give the new study another name"
        )


def _first_difference(path: str, stored: Any, given: Any) -> str:
    if isinstance(stored, Mapping) and isinstance(given, Mapping):
        for name in [*stored, *(name for name in given if name not in stored)]:
            if stored.get(name) != given.get(name):
                return _first_difference(f"{path}.{name}", stored.get(name), given.get(name))
    return f"{path} is {_shown(stored)} there and {_shown(given)} here"


def _shown(value: Any) -> str:
    return repr(msgspec.to_builtins(value))
